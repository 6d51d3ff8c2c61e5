"""Dataset: a benchmark packed once into flat tensors on the device; an epoch does no I/O and no per-item Python."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.modalities import MODALITIES
from pipeline.data.reencoding import Reencoder
from pipeline.data.steps import Features, Steps
from pipeline.data.store import FeatureStore
from pipeline.data.task import Task
from pipeline.errors import DataError
from pipeline.files import read_csv, read_json
from pipeline.seeding import stream_seed


@dataclass(frozen=True)
class Column:
    """One modality of all utterances, packed along time.

    Args:
        values: `(S, D)` float32, S = sum of all lengths; 0 where not present.
        present: `(S,)` bool.
        offsets: `(N,)` int64, first step of every utterance.
        lengths: `(N,)` int64.
        hop: seconds between steps, or None.
        tokens: `(S,)` int32, what each step stands for, where the store says it.
        reencoder: encodes texts that lack tokens anew; None leaves zeros where a step is dropped.
    """

    values: Tensor
    present: Tensor
    offsets: Tensor
    lengths: Tensor
    hop: float | None
    tokens: Tensor | None = None
    reencoder: Reencoder | None = None

    def to(self, device: torch.device) -> "Column":
        """Move to a device."""
        moved = {name: getattr(self, name).to(device) for name in ("values", "present", "offsets", "lengths")}
        return replace(self, **moved, tokens=None if self.tokens is None else self.tokens.to(device))

    def take(self, index: Tensor) -> "Column":
        """The column of some utterances, packed anew."""
        lengths = self.lengths[index]
        offsets = torch.cumsum(lengths, 0) - lengths
        steps = torch.arange(int(lengths.sum()), device=lengths.device)
        steps += torch.repeat_interleave(self.offsets[index] - offsets, lengths)
        tokens = None if self.tokens is None else self.tokens[steps]
        return Column(self.values[steps], self.present[steps], offsets, lengths, self.hop, tokens, self.reencoder)


@dataclass(frozen=True)
class Dataset:
    """All N utterances of a benchmark.

    Args:
        columns: per modality.
        labels: `(N,)` int64, index of the class; float32 values in a regression.
        ids: utterance ids, sorted.
        rows: labels.csv, one mapping per utterance (speaker, session, dialogue, turn, duration, planted optimum ...).
        task: what the labels mean.
        max_lengths: longest sequence that the benchmark admits, per modality.
    """

    columns: dict[str, Column]
    labels: Tensor
    ids: list[str]
    rows: list[dict[str, str]]
    task: Task
    max_lengths: dict[str, int]

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.labels.device

    @cached_property
    def keys(self) -> Tensor:
        """`(N,)` int64: what names an utterance wherever it stands, a hash of its id."""
        return torch.tensor([stream_seed(utt_id) for utt_id in self.ids], dtype=torch.int64, device=self.device)

    def to(self, device: torch.device) -> "Dataset":
        """Move everything to a device."""
        columns = {m: column.to(device) for m, column in self.columns.items()}
        return replace(self, columns=columns, labels=self.labels.to(device))

    def positions(self, ids: list[str]) -> Tensor:
        """Rows `(len(ids),)` int64 of some ids, on the device.

        Raises:
            DataError: an id that the benchmark does not have.
        """
        index = {utt_id: row for row, utt_id in enumerate(self.ids)}
        unknown = [utt_id for utt_id in ids if utt_id not in index]
        if unknown:
            raise DataError(f"fold: utterance '{unknown[0]}' is not in the benchmark; run the split stage again")
        return torch.tensor([index[utt_id] for utt_id in ids], dtype=torch.int64, device=self.device)

    def take(self, index: Tensor) -> "Dataset":
        """A dataset of these rows alone, packed anew: what code that fits is given, so that it cannot see the rest.

        Args:
            index: `(n,)` int64 rows.
        """
        columns = {m: column.take(index) for m, column in self.columns.items()}
        chosen = index.tolist()
        return replace(
            self,
            columns=columns,
            labels=self.labels[index],
            ids=[self.ids[row] for row in chosen],
            rows=[self.rows[row] for row in chosen],
        )

    def batch(self, index: Tensor, keep: dict[str, Tensor] | None = None, *, complete: bool = False) -> Batch:
        """Gather and pad some utterances.

        Args:
            index: `(B,)` int64 rows; an utterance that stands there several times in a row is gathered once.
            keep: per modality `(S,)` bool over the packed steps, False = masked out; None masks nothing. May also be
                `(B, T_m)` for masks drawn for this batch.
            complete: also give the features before masking.
        """
        valid, present, observed = {}, {}, {}
        steps, filled = {}, {}
        _, which, counts = torch.unique_consecutive(index, return_inverse=True, return_counts=True)
        first = counts.cumsum(0) - counts
        for m, column in self.columns.items():
            lengths = column.lengths[index]
            time = torch.arange(int(lengths.max()) if len(index) else 0, device=self.device)
            valid[m] = time < lengths[:, None]
            flat = torch.where(valid[m], column.offsets[index][:, None] + time, 0)
            if not len(column.values):
                steps[m] = Steps(column.values, flat)
                present[m] = observed[m] = valid[m]
                continue
            present[m] = valid[m] & column.present[flat]
            observed[m] = present[m]
            if keep is not None:
                observed[m] = present[m] & (keep[m][flat] if keep[m].dim() == 1 else keep[m])
            own = Steps.of(column.values[flat[first]])
            steps[m] = Steps(own.table, own.index[which])
            if keep is not None and column.reencoder is not None and column.tokens is not None:
                tokens = column.tokens[flat]
                observed[m] = observed[m] | (present[m] & column.reencoder.frames(tokens))
                dropped = present[m] & ~observed[m]
                whole = steps[m].where(present[m]).dense()
                filled[m] = Steps.of(column.reencoder.fill(whole, tokens, valid[m], dropped))
        return Batch(
            Features(steps | filled),
            valid,
            present,
            observed,
            self.labels[index],
            index,
            complete=Features(steps).where(present) if complete else None,
            reencoded=frozenset(filled),
            keys=self.keys[index],
        )


def load_dataset(folder: Path) -> Dataset:
    """Load a benchmark folder onto the CPU.

    Raises:
        DataError: a part is missing, damaged, or does not fit the others.
    """
    rows = read_csv(folder / "labels.csv")
    description = read_json(folder / "task.json")
    ids = [row["utt_id"] for row in rows]
    columns = {}
    for m in MODALITIES:
        with FeatureStore(folder / f"{m}.h5") as store:
            if store.ids != ids:
                raise DataError(f"{store.path}: its ids are not those of labels.csv; run the split stage again")
            lengths = store.lengths()
            present = torch.from_numpy(store.whole("present"))
            values = torch.from_numpy(store.whole("values"))
            tokens = torch.from_numpy(store.whole("tokens")) if store.provenance.tokens else None
            columns[m] = Column(
                values=values.masked_fill_(~present[:, None], 0.0),
                present=present,
                offsets=torch.from_numpy(np.cumsum(lengths) - lengths),
                lengths=torch.from_numpy(lengths),
                hop=store.provenance.hop,
                tokens=tokens,
            )
    task = Task(tuple(description["labels"]), description["kind"], description["positive_from"] or 0.0)
    return Dataset(
        columns=columns,
        labels=_labels(rows, task),
        ids=ids,
        rows=rows,
        task=task,
        max_lengths=description["max_lengths"],
    )


def _labels(rows: list[dict[str, str]], task: Task) -> Tensor:
    if task.is_regression:
        return torch.tensor([float(row["value"]) for row in rows], dtype=torch.float32)
    return torch.tensor([int(row["label_index"]) for row in rows])
