"""MaskBank: the test masks of a benchmark, drawn once, packed to bits, with a hash."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.data.hdf5 import new_file
from pipeline.data.modalities import MODALITIES
from pipeline.errors import DataError
from pipeline.files import atomic
from pipeline.missing.patterns import Keep, conditions, draw, repeats, requested
from pipeline.schema import TestMissing
from pipeline.seeding import stream

Lengths = dict[str, dict[str, int]]
"""Steps per modality of every utterance."""


@dataclass(frozen=True)
class Masks:
    """Masks of the test part of one fold under one pattern.

    Args:
        utt_ids: n utterances, in the order of the packed steps.
        conditions: C conditions.
        keep: per modality `(C, R, S_m)` bool; the steps of all utterances one after the other.
    """

    utt_ids: list[str]
    conditions: list[str]
    keep: dict[str, Keep]


def draw_masks(
    path: Path, missing: TestMissing, folds: dict[str, list[str]], lengths: Lengths, words: tuple[int | str, ...]
) -> None:
    """Draw and write the bank.

    Args:
        path: file to make.
        missing: the patterns of the benchmark.
        folds: ids of the test part of every fold.
        lengths: steps of every utterance.
        words: root seed and benchmark; every draw's stream begins with them.
    """
    with atomic(path) as temporary, new_file(temporary) as file:
        digest = hashlib.sha256()
        for fold, ids in sorted(folds.items()):
            for name, pattern in sorted(requested(missing).items()):
                named = partial(stream, *words, "mask", fold, name)
                rows = [draw(pattern, lengths[utt_id], partial(named, utt_id)) for utt_id in ids]
                group = file.create_group(f"{fold}/{name}")
                group.attrs["conditions"] = json.dumps(conditions(pattern))
                group.create_dataset("utt_ids", data=np.asarray(ids, h5py.string_dtype()), shape=(len(ids),))
                digest.update(json.dumps([fold, name, conditions(pattern), ids]).encode())
                for m in MODALITIES:
                    keep = np.concatenate([row[m] for row in rows], axis=2)
                    bits = np.packbits(keep, axis=2)
                    digest.update(bits.tobytes())
                    checked = {"fletcher32": True, "chunks": True} if bits.size else {}
                    dataset = group.create_dataset(m, data=bits, **checked)
                    dataset.attrs["steps"] = keep.shape[2]
                    dataset.attrs["repeats"] = repeats(pattern)
        file.attrs["sha256"] = digest.hexdigest()


class MaskBank:
    """Lazy reader of a bank."""

    def __init__(self, path: Path) -> None:
        """Open the bank.

        Raises:
            DataError: missing or damaged.
        """
        self.path = path
        try:
            self._file: Any = h5py.File(path, "r")
            self.sha256 = str(self._file.attrs["sha256"])
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; `dvc repro` makes it") from None
        except (OSError, KeyError) as error:
            raise DataError(f"{path}: not a mask bank ({error}); delete it and run `dvc repro`") from error

    @property
    def folds(self) -> list[str]:
        """Names of the folds."""
        return sorted(self._file)

    def patterns(self, fold: str) -> list[str]:
        """Names of the patterns.

        Raises:
            DataError: the bank was drawn for other folds.
        """
        return sorted(self._group(fold))

    def conditions(self, fold: str, pattern: str) -> list[str]:
        """Conditions of a pattern."""
        found: list[str] = json.loads(self._group(fold, pattern).attrs["conditions"])
        return found

    def masks(self, fold: str, pattern: str) -> Masks:
        """The masks of one fold under one pattern.

        Raises:
            DataError: the file is damaged, or was drawn for other folds.
        """
        group = self._group(fold, pattern)
        try:
            bits = {m: group[m][:] for m in MODALITIES}
        except (OSError, KeyError) as error:
            raise DataError(f"{self.path}: damaged ({error}); delete it and run `dvc repro`") from error
        keep = {m: np.unpackbits(bits[m], axis=2, count=int(group[m].attrs["steps"])).astype(bool) for m in MODALITIES}
        ids = [utt_id.decode() for utt_id in group["utt_ids"][:]]
        return Masks(ids, json.loads(group.attrs["conditions"]), keep)

    def _group(self, fold: str, pattern: str | None = None) -> Any:
        wanted = f"fold '{fold}'" + (f", pattern '{pattern}'" if pattern else "")
        group = self._file.get(fold)
        if pattern and group is not None:
            group = group.get(pattern)
        if group is None:
            raise DataError(f"{self.path}: no masks for {wanted}; run the mask stage again")
        return group
