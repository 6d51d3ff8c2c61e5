"""Run independent jobs, each on one thread; results come in the order of the jobs, whatever runs them.

`LACUNA_ENGINE` says what does: `local` (the default: worker processes of this machine), `slurm` or `ray`. `LACUNA_JOBS`
is how many run at once: by default one per processor here, up to 64 elsewhere. Neither ever changes a result.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pipeline.errors import ParamsError
from pipeline.execution.on_local import run

Job = TypeVar("Job")
Result = TypeVar("Result")

_PACKAGES = {"slurm": "submitit", "ray": "ray"}
_ELSEWHERE = 64


def engine() -> str:
    """`LACUNA_ENGINE`: local, slurm or ray.

    Raises:
        ParamsError: it is none of these.
    """
    wanted = os.environ.get("LACUNA_ENGINE") or "local"
    if wanted != "local" and wanted not in _PACKAGES:
        raise ParamsError(f"LACUNA_ENGINE: found '{wanted}', expected local, slurm or ray")
    return wanted


def workers(at_most: int | None = None) -> int:
    """How many jobs run at once: `LACUNA_JOBS`, else one per processor (elsewhere 64) but not above `at_most`.

    Raises:
        ParamsError: `LACUNA_JOBS` is not a positive whole number.
    """
    wanted = os.environ.get("LACUNA_JOBS")
    if wanted is None:
        usual = _processors() if engine() == "local" else _ELSEWHERE
        return min(usual, at_most or usual)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ParamsError(f"LACUNA_JOBS: found '{wanted}', expected a positive whole number")
    return int(wanted)


def run_jobs(
    function: Callable[[Job], Result], jobs: Iterable[Job], at_most: int | None = None, ahead: int = 3
) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; jobs are taken and results wait only a little ahead.

    Args:
        function: importable by name (it is sent to other processes).
        jobs: small picklable descriptions; workers read the data themselves.
        at_most: upper bound of workers unless `LACUNA_JOBS` is set.
        ahead: so many jobs per worker are taken before the result whose turn it is, at most. More keeps workers busy
            behind a long job, where results are small. Slurm takes its jobs in arrays instead.

    Raises:
        ParamsError: the engine is unknown, not installed or not here.
        DataError: a worker was killed from outside.
        Exception: whatever a job raises, its type kept; the others are cancelled.
    """
    at_once = workers(at_most)
    if engine() == "local":
        return run(function, iter(jobs), at_once, ahead)
    results: Iterator[Result] = _elsewhere().run(function, iter(jobs), at_once, ahead)
    return results


def device_elsewhere() -> str:
    """Where jobs of another engine compute: `LACUNA_DEVICE`, else `cuda` if that engine is asked for GPUs."""
    return os.environ.get("LACUNA_DEVICE") or ("cuda" if _elsewhere().asks_for_gpus() else "cpu")


def _elsewhere() -> Any:
    """The module of the engine; found by name, so that no stage is run again because an engine was edited."""
    name = engine()
    if importlib.util.find_spec(_PACKAGES[name]) is None:
        raise ParamsError(
            f"LACUNA_ENGINE: '{name}' needs {_PACKAGES[name]}, which is not installed; pip install {_PACKAGES[name]}"
        )
    return importlib.import_module(f"pipeline.execution.on_{name}")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
