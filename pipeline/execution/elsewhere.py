"""What a job of another engine needs around it: the folder and the settings of the caller, and a way home for errors.

Every node must see the checkout, its environment and the data at the same paths (a shared file system): jobs run in
the caller's folder. All `LACUNA_` variables of the caller count there, too, but for three: the job's own jobs run
locally and one at a time, and `LACUNA_DEVICE` is spelled out.
"""

import os
import pickle
import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.errors import DataError, LacunaError
from pipeline.execution.jobs import device_elsewhere
from pipeline.execution.threads import one_thread

_OURS = "LACUNA_"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its result, or what it raised."""

    result: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """Give the result.

        Raises:
            Exception: what the job raised, its type kept.
        """
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(frozen=True)
class Call:
    """A function that finds, in another process, the settings of this one.

    Args:
        function: of one job; importable by name.
        settings: the `LACUNA_` variables.
        folder: to work in.
    """

    function: Callable[[Any], Any]
    settings: dict[str, str]
    folder: Path

    @classmethod
    def here(cls, function: Callable[[Any], Any]) -> Self:
        """A call with the settings of this process."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(_OURS) and name != "LACUNA_WORKER"}
        fixed = {"LACUNA_ENGINE": "local", "LACUNA_JOBS": "1", "LACUNA_DEVICE": device_elsewhere()}
        return cls(function, ours | fixed, Path.cwd())

    def __call__(self, job: Any) -> Outcome:
        """Do a job as the caller would; what it raises is part of the outcome."""
        for name in [name for name in os.environ if name.startswith(_OURS)]:
            del os.environ[name]
        os.environ.update(self.settings)
        try:
            self._enter()
            one_thread()
            return Outcome(self.function(job))
        except Exception as error:
            return Outcome(error=_portable(error))

    def _enter(self) -> None:
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise DataError(
                f"{self.folder}: not there on {platform.node()} ({error.strerror}), expected a file system that all "
                "nodes share; run from a folder on one"
            ) from None


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, unless its message is all that is meant to be read."""
    if not isinstance(error, LacunaError):
        error.add_note(f"on {platform.node()}:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        stand_in = RuntimeError(f"{type(error).__name__}: {error}")
        stand_in.add_note(f"on {platform.node()}:\n{traceback.format_exc()}")
        return stand_in
    return error
