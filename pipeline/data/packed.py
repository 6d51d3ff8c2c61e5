"""Packed ragged arrays in HDF5: one flat array per field and the offsets of every utterance in it.

The same content gives the same bytes, whoever writes it and however it was buffered: rows come sorted by id, blocks of
one fixed size are written, no time is stored. Chunks carry fletcher32 checksums, so a flipped byte is an error.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.data.hdf5 import new_file
from pipeline.errors import DataError
from pipeline.files import atomic

Array = npt.NDArray[Any]
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Field:
    """One flat array.

    Args:
        dtype: element type.
        width: elements of one step, or None when a step is one number.
        axis: fields of the same axis share their offsets; the dataset of offsets is named after it.
    """

    dtype: type[np.generic]
    width: int | None = None
    axis: str = "offsets"


class PackedWriter:
    """Write rows in ascending order of id. Use `write_packed`, which makes the file appear whole or not at all."""

    def __init__(self, file: h5py.File, fields: Mapping[str, Field]) -> None:
        """Make the empty datasets of `fields` in `file`."""
        self._file = file
        self._fields = dict(fields)
        self._ids: list[str] = []
        self._offsets: dict[str, list[int]] = {field.axis: [0] for field in fields.values()}
        self._pending: dict[str, list[Array]] = {name: [] for name in fields}
        self._waiting = dict.fromkeys(fields, 0)
        self._digest = hashlib.sha256()
        self._block: dict[str, int] = {}
        self._data: dict[str, h5py.Dataset] = {}  # open to the end: closing one writes, and what fails then is lost
        for name, field in fields.items():
            row_bytes = np.dtype(field.dtype).itemsize * (field.width or 1)
            self._block[name] = max(1, _BLOCK_BYTES // row_bytes)
            tail = () if field.width is None else (field.width,)
            self._data[name] = file.create_dataset(
                name,
                shape=(0, *tail),
                maxshape=(None, *tail),
                chunks=(max(1, self._block[name] // 16), *tail),
                dtype=np.dtype(field.dtype),
                fletcher32=True,
            )

    def add(self, utt_id: str, **arrays: Array) -> None:
        """Append one utterance: for every field an array `(steps,)` or `(steps, width)`; zero steps = absent.

        Raises:
            DataError: ids not ascending, a wrong shape, lengths that differ within an axis, or a value not finite.
        """
        if self._ids and utt_id <= self._ids[-1]:
            raise DataError(f"{utt_id}: written after {self._ids[-1]}, expected ascending unique ids; sort the rows")
        steps: dict[str, int] = {}
        self._digest.update(utt_id.encode() + b"\0")
        for name, field in self._fields.items():
            array = np.ascontiguousarray(arrays[name], dtype=field.dtype)
            shape = (len(array),) if field.width is None else (len(array), field.width)
            if array.shape != shape:
                raise DataError(f"{utt_id}: {name} has shape {array.shape}, expected {shape}")
            if steps.setdefault(field.axis, len(array)) != len(array):
                raise DataError(f"{utt_id}: {name} has {len(array)} steps, its neighbours {steps[field.axis]}")
            if np.issubdtype(field.dtype, np.floating) and not np.isfinite(array).all():
                bad = np.argwhere(~np.isfinite(array))[0]
                raise DataError(f"{utt_id}: {name} is {array[tuple(bad)]} at step {bad[0]}, expected finite numbers")
            self._digest.update(f"{name}{array.shape}".encode() + array.tobytes())
            if len(array):
                self._pending[name].append(array)
                self._waiting[name] += len(array)
        for axis, count in steps.items():
            self._offsets[axis].append(self._offsets[axis][-1] + count)
        self._ids.append(utt_id)
        for name in self._fields:
            self._flush(name, last=False)

    def finish(self, attrs: Mapping[str, Any], excluded: Sequence[str]) -> None:
        """Write what is pending, the offsets, ids and attributes."""
        for name in self._fields:
            self._flush(name, last=True)
        for axis, offsets in self._offsets.items():
            self._data[axis] = self._file.create_dataset(
                axis, data=np.asarray(offsets, np.int64), fletcher32=True, chunks=True
            )
            self._data[axis].flush()
        for name, ids in {"utt_ids": self._ids, "excluded": sorted(excluded)}.items():
            self._data[name] = self._file.create_dataset(
                name, data=np.asarray(ids, h5py.string_dtype()), shape=(len(ids),)
            )
            self._data[name].flush()
        self._file.attrs["attributes"] = json.dumps(dict(attrs), sort_keys=True)
        self._file.attrs["content_sha256"] = self._digest.hexdigest()

    def _flush(self, name: str, *, last: bool) -> None:
        block, count = self._block[name], self._waiting[name]
        if not count or (count < block and not last):
            return
        flat = np.concatenate(self._pending[name])
        whole = len(flat) if last else len(flat) // block * block
        dataset = self._data[name]
        for start in range(0, whole, block):
            part = flat[start : min(start + block, whole)]
            dataset.resize(dataset.shape[0] + len(part), axis=0)
            dataset[-len(part) :] = part
            dataset.flush()
        self._pending[name] = [flat[whole:].copy()] if whole < len(flat) else []
        self._waiting[name] = len(flat) - whole


@contextmanager
def write_packed(
    path: Path, fields: Mapping[str, Field], attrs: Mapping[str, Any], excluded: Sequence[str] = ()
) -> Iterator[PackedWriter]:
    """Open a writer; `path` appears when the block ends well.

    Args:
        path: the file to make.
        fields: its flat arrays.
        attrs: provenance (JSON values); part of the bytes, so nothing that varies from run to run.
        excluded: ids of the manifest that have no row here (quarantined); kept so that nothing is silently lost.
    """
    with atomic(path) as temporary, new_file(temporary) as file:
        writer = PackedWriter(file, fields)
        yield writer
        writer.finish(attrs, excluded)


class Packed:
    """Lazy reader of a packed file."""

    def __init__(self, path: Path, fields: Iterable[str]) -> None:
        """Open `path` and check that it has `fields`.

        Raises:
            DataError: the file is missing, is not a packed file, or its index does not fit its arrays.
        """
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file; `dvc repro` makes it")
        try:
            self._file = h5py.File(path, "r")
            self.ids: list[str] = [utt_id.decode() for utt_id in self._file["utt_ids"][:]]
            self.excluded: list[str] = [utt_id.decode() for utt_id in self._file["excluded"][:]]
            self.attrs: dict[str, Any] = json.loads(self._file.attrs["attributes"])
            self.content_sha256 = str(self._file.attrs["content_sha256"])
            self._data = {name: self._file[name] for name in fields}
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{path}: not a readable store ({error}); delete it and run `dvc repro`, or `dvc checkout` it"
            ) from error
        self._index = {utt_id: row for row, utt_id in enumerate(self.ids)}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.ids)

    def __contains__(self, utt_id: object) -> bool:
        """Tell whether there is a row of this id."""
        return utt_id in self._index

    def position(self, utt_id: str) -> int:
        """The row of an id."""
        return self._index[utt_id]

    def offsets(self, axis: str = "offsets") -> npt.NDArray[np.int64]:
        """Offsets `(N + 1,)` of the rows along `axis`."""
        offsets: npt.NDArray[np.int64] = self._read(axis, slice(None))
        return offsets

    def part(self, name: str, start: int, stop: int) -> Array:
        """Steps `start` to `stop` of a field."""
        return self._read(name, slice(start, stop))

    def whole(self, name: str) -> Array:
        """A field over all utterances."""
        return self._read(name, slice(None))

    def _read(self, name: str, part: slice) -> Array:
        try:
            array: Array = self._file[name][part]
        except (OSError, KeyError) as error:
            raise DataError(
                f"{self.path}: {name} is damaged ({error}); delete the file and run `dvc repro`, or `dvc checkout` it"
            ) from error
        return array
