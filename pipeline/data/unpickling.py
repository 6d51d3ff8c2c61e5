"""Pickles of strangers, opened through an allow-list: arrays, numbers and containers, and nothing that runs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

from pipeline.errors import DataError


def _encode(text: str, encoding: str) -> bytes:
    """How protocols below 3 write bytes; no other codec is let in."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the codec {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.multiarray", name): getattr(multiarray, name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}
"""What arrays and numbers of numpy 1 and 2 are made with; Python's own containers and numbers need no name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}")
        return _ALLOWED[module, name]


def read_pickle(path: Path) -> Any:
    """Read a pickle that holds containers, text, numbers and numpy arrays of plain types.

    Raises:
        DataError: the file is missing, damaged, or asks for anything else; nothing of it has run.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put it there (docs/corpora.md says where to get it)") from None
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise DataError(
            f"{path}: not read ({error}); expected containers, text, numbers and numpy arrays alone, since a pickle "
            "may run any code; get the file again, or convert it where you trust it"
        ) from None
    return found
