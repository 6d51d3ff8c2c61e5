"""Jobs as job arrays of a Slurm cluster, by submitit.

`LACUNA_SLURM` holds what sbatch shall ask for, such as `partition=gpu,timeout_min=600,gpus_per_node=1`: submitit's own
names (https://github.com/facebookincubator/submitit), 600 minutes unless it says so. `LACUNA_JOBS` of an array run at
once. With `cluster=local` submitit runs them on this machine instead: to try the settings out without a cluster.

All nodes share a file system (see `elsewhere`); submitit's files are in `.scratch/slurm`, those of jobs that went well
are removed. A caller that is killed outright leaves its jobs running; what they finish is there for the next run.
"""

import difflib
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pipeline import paths
from pipeline.errors import DataError, ParamsError
from pipeline.execution.elsewhere import Call, Outcome

Job = TypeVar("Job")
Result = TypeVar("Result")

_SHARED = {"name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "stderr_to_stdout"}
_OURS = {"nodes", "tasks_per_node", "ntasks_per_node", "array_parallelism", "num_gpus", "time"}
_NOT_TEXT = {"setup", "teardown", "additional_parameters", "srun_args"}
_DEFAULTS = {"name": "lacuna", "timeout_min": 600}
_WAVES = 8
_LARGEST_ARRAY = 1000  # Slurm's MaxArraySize is 1001 unless the cluster's owner changes it


def run(function: Callable[[Job], Result], jobs: Iterator[Job], at_once: int, ahead: int) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; as `run_jobs`.

    Raises:
        ParamsError: `LACUNA_SLURM` is wrong, sbatch refuses it, or there is no Slurm here.
        DataError: a job ended without a result.
    """
    settings = _settings()
    executor, local = _executor(settings, at_once), settings.get("cluster") == "local"
    return _run(executor, Call.here(function), jobs, at_once if local else min(_LARGEST_ARRAY, _WAVES * at_once))


def asks_for_gpus() -> bool:
    """Whether `LACUNA_SLURM` asks for GPUs."""
    settings = _settings()
    return bool(settings.get("gpus_per_node") or settings.get("gpus_per_task") or "gpu" in f"{settings.get('gres')}")


def _run(executor: Any, call: Call, jobs: Iterator[Any], size: int) -> Iterator[Any]:
    while block := list(islice(jobs, size)):
        handles = _submit(executor, call, block)
        _remove_script(handles[0].paths.submission_file)
        waiting = deque(handles)
        try:
            while waiting:
                outcome = _outcome(waiting[0])
                _remove(waiting.popleft())
                yield outcome.get()
        finally:
            _cancel(list(waiting))


def _submit(executor: Any, call: Call, block: list[Any]) -> list[Any]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        handles: list[Any] = executor.map_array(call, block)
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line for line in str(error).splitlines() if "sbatch" in line] or str(error).splitlines()
        raise ParamsError(f"LACUNA_SLURM: jobs were not accepted ({lines[-1].strip()}); correct it") from error
    return handles


def _outcome(handle: Any) -> Outcome:
    from submitit.core.utils import UncompletedJobError

    try:
        outcome: Outcome = handle.result()
    except UncompletedJobError as error:
        raise DataError(
            f"job {handle.job_id}: ended without a result ({handle.state}), its log {handle.paths.stderr} ends in "
            f"'{_last_line(handle)}'; if it was killed, ask for more memory or time in LACUNA_SLURM; run again to go on"
        ) from error
    return outcome


def _cancel(handles: list[Any]) -> None:
    """End what runs or waits and remove the files of all but those that ended without a result."""
    going_on = [handle for handle in handles if not handle.done()]
    arrays = {handle.job_id.partition("_")[0] for handle in going_on if "_" in handle.job_id}
    if arrays:
        subprocess.call(["scancel", *arrays])  # one by one takes long
    else:
        for handle in going_on:
            handle.cancel(check=False)
    for handle in handles:
        if handle in going_on or handle.paths.result_pickle.exists():
            _remove(handle)


def _last_line(handle: Any) -> str:
    lines: list[str] = []
    with suppress(OSError):
        lines = handle.paths.stderr.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _remove(handle: Any) -> None:
    files = handle.paths
    for path in (files.submitted_pickle, files.result_pickle, files.stdout, files.stderr):
        path.unlink(missing_ok=True)


def _remove_script(script: Path) -> None:
    for link in script.parent.glob(".submission_file_*.sh"):  # submitit's other name for it
        if link.is_symlink() and link.readlink() == script:
            link.unlink()
    script.unlink(missing_ok=True)


def _executor(settings: dict[str, Any], at_once: int) -> Any:
    import submitit

    cluster = settings.get("cluster", "slurm")
    if cluster not in {"slurm", "local"}:
        raise ParamsError(f"LACUNA_SLURM: cluster={cluster}, expected local, or no such entry on a Slurm cluster")
    if cluster == "slurm" and shutil.which("srun") is None:
        raise ParamsError(
            "LACUNA_ENGINE: found slurm, but there is no srun here, expected a machine of a Slurm cluster; go to one, "
            "or try it here with LACUNA_SLURM=cluster=local"
        )
    known = (_SHARED | submitit.SlurmExecutor._valid_parameters()) - _OURS - _NOT_TEXT
    asked = {name: value for name, value in settings.items() if name != "cluster"}
    for name in asked:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(sorted(known))}"
            raise ParamsError(f"LACUNA_SLURM: '{name}' cannot be asked for, {hint}")
    values = {name if name in _SHARED else f"slurm_{name}": value for name, value in (_DEFAULTS | asked).items()}
    executor = submitit.AutoExecutor(folder=paths.scratch() / "slurm", cluster=cluster)
    try:
        executor.update_parameters(**values, slurm_array_parallelism=at_once)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ParamsError(f"LACUNA_SLURM: {str(error).splitlines()[0]}; correct that value") from error
    return executor


def _settings() -> dict[str, Any]:
    """`LACUNA_SLURM` as names and values; a part without '=' belongs to the value before it (`exclude=n1,n2`)."""
    found: dict[str, str] = {}
    name = ""
    for part in filter(None, os.environ.get("LACUNA_SLURM", "").split(",")):
        key, equals, value = part.partition("=")
        if equals:
            name = key.strip()
            found[name] = value.strip()
        elif name:
            found[name] += f",{part.strip()}"
        if not name or not found[name]:
            raise ParamsError(f"LACUNA_SLURM: found '{part}', expected name=value as in partition=gpu,timeout_min=600")
    return {name: value if name == "name" else _typed(value) for name, value in found.items()}


def _typed(value: str) -> int | float | bool | str:
    if value.lower() in {"true", "false"}:
        return value.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(value)
    return value
