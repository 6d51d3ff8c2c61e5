"""Jobs as tasks of Ray, one processor each: on the cluster at `LACUNA_RAY_ADDRESS`, else on a Ray of our own here.

`LACUNA_RAY_GPUS` is the share of a GPU that a task takes (0.25: four share one), by default a whole one where
`LACUNA_DEVICE` is a GPU. All nodes share a file system (see `elsewhere`). What jobs print goes to Ray's logs.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from pipeline.errors import DataError, ParamsError
from pipeline.execution.elsewhere import Call, Outcome

Job = TypeVar("Job")
Result = TypeVar("Result")

_OBJECT_STORE = 100 << 20  # jobs and results are small


def run(function: Callable[[Job], Result], jobs: Iterator[Job], at_once: int, ahead: int) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; as `run_jobs`.

    Raises:
        ParamsError: there is no Ray at `LACUNA_RAY_ADDRESS`, or no GPU in ours.
        DataError: a worker died.
    """
    return _run(Call.here(function), jobs, at_once, ahead, _gpus())


def asks_for_gpus() -> bool:
    """Whether `LACUNA_RAY_GPUS` asks for GPUs."""
    return _share() > 0


def _run(call: Call, jobs: Iterator[Any], at_once: int, ahead: int, gpus: float) -> Iterator[Any]:
    first = list(islice(jobs, 1))
    if not first:
        return
    import ray

    with _cluster(at_once, gpus):
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_call)
        sent = ray.put(call)
        waiting: deque[Any] = deque(task.remote(sent, job) for job in first)  # every task without a result yet
        running = list(waiting)
        try:
            while waiting:
                room = min(at_once - len(running), ahead * at_once - len(waiting))
                added = [task.remote(sent, job) for job in islice(jobs, room)]
                waiting.extend(added)
                running += added
                if waiting[0] in running:
                    _, running = ray.wait(running, num_returns=1)
                else:
                    yield _outcome(waiting.popleft()).get()
        finally:
            for left in running:
                ray.cancel(left, force=True)


def _call(call: Call, job: Any) -> Outcome:
    return call(job)


def _outcome(reference: Any) -> Outcome:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        outcome: Outcome = ray.get(reference)
    except RayTaskError as error:  # not of the job, whose errors are outcomes
        reason = str(error).strip().splitlines()[-1]
        raise DataError(
            f"a Ray worker cannot run the job ({reason}), expected this checkout at the same path and its environment "
            "on every node; install them there"
        ) from error
    except RayError as error:
        raise DataError(
            f"a Ray worker was killed from outside ({type(error).__name__}; out of memory?); run again to go on, with "
            "LACUNA_JOBS=1 if it happens again"
        ) from error
    return outcome


@contextmanager
def _cluster(at_once: int, gpus: float) -> Iterator[None]:
    """Be connected to Ray; what was started or connected here ends here."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("LACUNA_RAY_ADDRESS")
    try:
        if address:
            ray.init(address, **quiet)
        else:
            processors = at_once if "LACUNA_JOBS" in os.environ else None
            own: dict[str, Any] = {"num_cpus": processors, "object_store_memory": _OBJECT_STORE}
            ray.init("local", include_dashboard=False, **own, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParamsError(
            f"LACUNA_RAY_ADDRESS: found '{address or ''}', but Ray cannot be reached or started there ({reason}); "
            "expected the address of a running cluster, or none to start one here"
        ) from error
    try:
        if not address and gpus > ray.cluster_resources().get("GPU", 0):
            raise ParamsError(f"LACUNA_RAY_GPUS: found {gpus:g} per job, but this machine has no such GPU; set it to 0")
        yield
    finally:
        ray.shutdown()


def _gpus() -> float:
    if os.environ.get("LACUNA_RAY_GPUS"):
        return _share()
    return 1.0 if os.environ.get("LACUNA_DEVICE", "").startswith("cuda") else 0.0


def _share() -> float:
    wanted = os.environ.get("LACUNA_RAY_GPUS") or "0"
    try:
        share = float(wanted)
    except ValueError:
        share = -1.0
    if not (0 <= share <= 1 or (share.is_integer() and share > 0)):
        raise ParamsError(f"LACUNA_RAY_GPUS: found '{wanted}', expected a share of a GPU such as 0.25, or 1, 2 ...")
    return share
