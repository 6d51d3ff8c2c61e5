"""New HDF5 files that fail cleanly."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """An empty HDF5 file; when the block fails, what HDF5 has not written yet never reaches the disk.

    HDF5 cannot give up a file. Where the disk is full it writes again as it closes and once more as the interpreter
    exits, and crashes. So its descriptor is turned to a file in memory (a few MiB), where it can close in peace.
    """
    file = h5py.File(path, "w", libver="latest", track_order=False)
    try:
        yield file
        file.flush()
    except BaseException:
        nowhere = os.memfd_create("given up") if sys.platform == "linux" else os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, file.id.get_vfd_handle())
        os.close(nowhere)
        with suppress(OSError, RuntimeError):  # the first error is the one to tell
            file.close()
        raise
    file.close()
