"""PredictionStore: what every row of a table predicted for every test utterance, so that a new metric never re-infers.

Layout: /folds/{i} has utt_ids and labels; /rows/{i} has the facts of a row; /rows/{i}/{fold}/{seed}/{pattern} has the
scores. The bytes follow from the calls and their order alone: no time is stored, chunks carry fletcher32 checksums.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.data.hdf5 import new_file
from pipeline.errors import DataError
from pipeline.files import atomic

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class RowInfo:
    """One row of a table.

    Args:
        row: `method` or `method:variant`.
        parameters: trained numbers of one model.
        macs: multiply-accumulate operations of one prediction.
        regime: what the method was trained on.
        params: its validated parameters, JSON values.
        oracle: a bound that sees test labels; it is shown apart and never competes.
        not_applicable: why the benchmark cannot give what the method needs, else None.
    """

    row: str
    parameters: int = 0
    macs: int = 0
    regime: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    oracle: bool = False
    not_applicable: str | None = None


@dataclass(frozen=True)
class FoldInfo:
    """The test part of one fold.

    Args:
        name: of the fold.
        utt_ids: the n test utterances.
        labels: `(n,)` int64, index of the class.
    """

    name: str
    utt_ids: list[str]
    labels: npt.NDArray[np.int64]


class PredictionWriter:
    """Write folds, then rows, then scores. Use `write_predictions`, which makes the file appear whole or not at all."""

    def __init__(self, file: h5py.File) -> None:
        """Start with neither folds nor rows."""
        self._file = file
        self._folds: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, int] = {}
        self._absent: set[str] = set()
        for name in ("folds", "rows"):
            file.create_group(name)

    def fold(self, name: str, utt_ids: list[str], labels: npt.NDArray[np.int64]) -> None:
        """Declare a fold, once, before its scores.

        Args:
            name: of the fold.
            utt_ids: its n test utterances.
            labels: `(n,)` int64.

        Raises:
            DataError: a repeated name or id, no utterance, or not one label per utterance.
        """
        if name in self._folds:
            raise DataError(f"fold '{name}': declared twice, expected once")
        if not utt_ids or len(set(utt_ids)) != len(utt_ids) or np.shape(labels) != (len(utt_ids),):
            raise DataError(
                f"fold '{name}': {len(utt_ids)} ids, {len(set(utt_ids))} of them different, labels of shape "
                f"{np.shape(labels)}; expected at least one utterance, unique ids and one label each"
            )
        group = self._file["folds"].create_group(f"{len(self._folds):04d}")
        group.attrs["name"] = name
        group.create_dataset("utt_ids", data=np.asarray(utt_ids, h5py.string_dtype()))
        group.create_dataset("labels", data=np.asarray(labels, np.int64), fletcher32=True, chunks=(len(utt_ids),))
        self._folds[name] = (len(self._folds), len(utt_ids))

    def row(
        self, row: str, *, parameters: int, macs: int, regime: str, params: dict[str, Any], oracle: bool = False
    ) -> None:
        """Declare a row, once, before its scores; nothing that varies from run to run.

        Args:
            row: `method` or `method:variant`.
            parameters: trained numbers of one model.
            macs: multiply-accumulate operations of one prediction.
            regime: what the method was trained on.
            params: JSON values.
            oracle: it sees test labels.
        """
        facts = {"parameters": int(parameters), "macs": int(macs), "regime": regime, "params": params}
        self._declare(row, {**facts, "oracle": oracle})

    def not_applicable(self, row: str, reason: str) -> None:
        """Declare a row that the benchmark cannot have, and why."""
        self._declare(row, {"not_applicable": reason})
        self._absent.add(row)

    def add(
        self, row: str, fold: str, seed: int, pattern: str, conditions: list[str], scores: npt.NDArray[np.floating]
    ) -> None:
        """Store the predictions of one trained model under one pattern.

        Args:
            row: a declared row.
            fold: a declared fold of n utterances.
            seed: training seed.
            pattern: kind of missing data.
            conditions: names of the C conditions of that pattern.
            scores: `(C, R, n, K)` class probabilities for R repeats and K classes.

        Raises:
            DataError: an undeclared row or fold, a wrong shape, or a score that is not finite.
        """
        where = f"{row}, fold '{fold}', seed {seed}, pattern '{pattern}'"
        if row not in self._rows or row in self._absent or fold not in self._folds:
            raise DataError(f"{where}: scores of an undeclared row or fold; declare both first")
        index, count = self._folds[fold]
        values = np.ascontiguousarray(scores, np.float32)
        if values.ndim != 4 or values.shape[0] != len(conditions) or values.shape[2] != count or not values.size:
            raise DataError(
                f"{where}: scores have shape {values.shape}, expected ({len(conditions)}, repeats, {count}, classes)"
            )
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))[0]
            raise DataError(f"{where}: {values[tuple(bad)]} under {conditions[bad[0]]}, expected finite probabilities")
        name = f"rows/{self._rows[row]:04d}/{index:04d}/{seed}/{pattern}"
        if name in self._file:
            raise DataError(f"{where}: written twice, expected once")
        per_chunk = max(1, min(len(conditions), _CHUNK_BYTES // values[0].nbytes))
        dataset = self._file.create_dataset(
            name, data=values, chunks=(per_chunk, *values.shape[1:]), fletcher32=True, track_times=False
        )
        dataset.attrs["conditions"] = json.dumps(conditions)

    def _declare(self, row: str, facts: dict[str, Any]) -> None:
        if row in self._rows:
            raise DataError(f"row '{row}': declared twice, expected once")
        group = self._file["rows"].create_group(f"{len(self._rows):04d}")
        group.attrs["facts"] = json.dumps({"row": row, **facts}, sort_keys=True)
        self._rows[row] = len(self._rows)


@contextmanager
def write_predictions(path: Path) -> Iterator[PredictionWriter]:
    """Open a writer; `path` appears when the block ends well.

    Raises:
        DataError: something does not fit; names the file and the place.
    """
    try:
        with atomic(path) as temporary, new_file(temporary) as file:
            yield PredictionWriter(file)
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from None


class PredictionStore:
    """Lazy reader of one method's predictions on one benchmark."""

    def __init__(self, path: Path) -> None:
        """Open the store and read its folds and rows.

        Raises:
            DataError: it is missing or damaged.
        """
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file; `dvc repro` makes it")
        try:
            self._file = h5py.File(path, "r")
            self.folds = [_fold(group) for group in self._file["folds"].values()]
            self.rows = [RowInfo(**json.loads(group.attrs["facts"])) for group in self._file["rows"].values()]
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not a readable prediction store ({error}); delete it and run `dvc repro` or `dvc checkout`"
            ) from error
        self._fold_index = {info.name: f"{index:04d}" for index, info in enumerate(self.folds)}
        self._row_index = {info.row: f"{index:04d}" for index, info in enumerate(self.rows)}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def seeds(self, row: str, fold: str) -> list[int]:
        """Training seeds of a row in a fold, ascending; none where it was not evaluated.

        Raises:
            DataError: there is no such row or fold.
        """
        group = self._group(row)
        return sorted(int(seed) for seed in group.get(self._index(self._fold_index, fold), ()))

    def patterns(self, row: str) -> list[str]:
        """Patterns that a row was evaluated under, sorted.

        Raises:
            DataError: there is no such row.
        """
        runs = (run for fold in self._group(row).values() for run in fold.values())
        return sorted({pattern for run in runs for pattern in run})

    def scores(self, row: str, fold: str, seed: int, pattern: str) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Names of the C conditions, and class probabilities `(C, R, n, K)` float32.

        Raises:
            DataError: there are none, or they are damaged.
        """
        group, index = self._group(row), self._index(self._fold_index, fold)
        try:
            dataset = group[f"{index}/{seed}/{pattern}"]
            values: npt.NDArray[np.float32] = dataset[:]
            return list(json.loads(dataset.attrs["conditions"])), values
        except KeyError:
            raise DataError(
                f"{self.path}: {row} has no '{pattern}' in fold '{fold}' with seed {seed}; run `dvc repro`"
            ) from None
        except OSError as error:
            raise DataError(
                f"{self.path}: {row}, fold '{fold}', seed {seed}, '{pattern}' is damaged ({error}); delete the file "
                "and run `dvc repro` or `dvc checkout`"
            ) from error

    def _group(self, row: str) -> h5py.Group:
        return self._file[f"rows/{self._index(self._row_index, row)}"]

    def _index(self, known: dict[str, str], name: str) -> str:
        if name not in known:
            raise DataError(f"{self.path}: no '{name}', expected one of {', '.join(known) or 'none'}")
        return known[name]


def _fold(group: h5py.Group) -> FoldInfo:
    return FoldInfo(
        name=str(group.attrs["name"]),
        utt_ids=[utt_id.decode() for utt_id in group["utt_ids"][:]],
        labels=group["labels"][:],
    )
