"""Utterance vectors: one per modality, the mean over its observed steps; what fillers learn from and fill."""

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Column, Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.errors import DataError
from pipeline.training.batches import by_length

Vectors = dict[str, Tensor]

JOINT_ORDER = tuple(reversed(MODALITIES))
"""Vision, audio, text: the order of the report's joint vector."""

_POOL_BATCH = 256


def utterance_vectors(batch: Batch) -> tuple[Vectors, Vectors]:
    """Per modality the mean over observed steps `(B, D_m)`, 0 where there is none, and whether there was any `(B,)`."""
    vectors, have = {}, {}
    for m, features in batch.features.items():
        count = batch.observed[m].sum(1)
        have[m] = count > 0
        vectors[m] = features.sum(1) / count.clamp(min=1)[:, None]  # (B, D_m)
    return vectors, have


def vector_dataset(data: Dataset) -> Dataset:
    """The dataset with every sequence replaced by its mean: one step, or none."""
    order = torch.cat(list(by_length(data, _POOL_BATCH)))
    parts = [utterance_vectors(data.batch(index)) for index in torch.split(order, _POOL_BATCH)]
    back = order.argsort()
    columns = {}
    for m in data.columns:
        have = torch.cat([own[m] for _, own in parts])[back]
        values = torch.cat([vectors[m] for vectors, _ in parts])[back][have]
        lengths = have.long()
        columns[m] = Column(values, torch.ones_like(have[have]), lengths.cumsum(0) - lengths, lengths, None)
    return replace(data, columns=columns)


def whole_vectors(data: Dataset) -> tuple[Vectors, Vectors]:
    """`utterance_vectors` of a dataset, without its padding in memory at once."""
    vectors = vector_dataset(data)
    return utterance_vectors(vectors.batch(torch.arange(len(vectors), device=vectors.device)))


def known(have: Vectors) -> tuple[str, ...]:
    """The modalities that any training utterance has, in the order of the joint vector."""
    return tuple(m for m in JOINT_ORDER if m in have and bool(have[m].any()))


def complete_rows(vectors: Vectors, have: Vectors, who: str, at_least: int = 1) -> Vectors:
    """The training vectors of the utterances that have every known modality.

    Raises:
        DataError: there are fewer than `at_least`.
    """
    names = known(have)
    rows = torch.stack([have[m] for m in names]).all(0) if names else torch.zeros(0, dtype=torch.bool)
    if int(rows.sum()) < at_least:
        raise DataError(
            f"filler '{who}': {int(rows.sum())} training utterances have {' and '.join(names) or 'any modality'}, "
            f"expected at least {at_least}; choose a filler that needs none (zero, mean)"
        )
    return {m: vectors[m][rows] for m in names}


def constant_columns(vectors: Vectors, have: Vectors) -> dict[str, list[int]]:
    """Columns that have one value in all training vectors, by modality: harmless, but worth knowing.

    Raises:
        DataError: all columns of a modality are constant although two or more utterances have it.
    """
    found = {}
    for m in known(have):
        own = vectors[m][have[m]]
        still = (own == own[0]).all(0)
        if len(own) > 1 and bool(still.all()):
            raise DataError(
                f"training part: {m} is the same in all {len(own)} utterances that have it, expected features that "
                "vary; repair its feature set, or use the extractor `absent` for it"
            )
        if len(own) > 1 and bool(still.any()):
            found[m] = still.nonzero().flatten().tolist()
    return found
