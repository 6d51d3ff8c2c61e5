"""A small synthetic benchmark in memory, of ragged sequences with natural absence, whose classes can be told apart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.batch import MODALITIES
from pipeline.data.dataset import Column, Dataset
from pipeline.data.task import Task

DIMS = {"text": 6, "audio": 5, "vision": 4}
LONGEST = {"text": 7, "audio": 13, "vision": 5}


def make_dataset(
    n: int = 24, seed: int = 0, steps: int | None = None, lacking: tuple[str, ...] = (), whole: bool = False
) -> Dataset:
    """`n` utterances of three classes; every step is its class' vector plus noise.

    Args:
        n: utterances.
        seed: of the noise and lengths; the classes' vectors are always the same.
        steps: length of every sequence, or None for ragged ones.
        lacking: modalities that no utterance has.
        whole: no natural absence. Otherwise utterances 1, 2, 3 each lack one modality, utterance 4 lacks all, and some
            steps of vision are not present.
    """
    rng, classes = np.random.default_rng(seed), np.random.default_rng(99)
    labels = np.arange(n) % 3
    columns = {}
    for position, m in enumerate(MODALITIES):
        centres = 2 * classes.standard_normal((3, DIMS[m]))
        lengths = rng.integers(1, LONGEST[m] + 1, n) if steps is None else np.full(n, steps)
        lengths[0] = LONGEST[m] if steps is None else steps
        if not whole:
            lengths[[i for i in (1 + position, 4) if i < n]] = 0
        if m in lacking:
            lengths[:] = 0
        values = centres[labels].repeat(lengths, axis=0) + 0.5 * rng.standard_normal((lengths.sum(), DIMS[m]))
        present = np.ones(len(values), bool)
        if m == "vision" and not whole:
            present[rng.random(len(values)) < 0.2] = False
        columns[m] = Column(
            values=torch.from_numpy(values).float().masked_fill(~torch.from_numpy(present)[:, None], 0.0),
            present=torch.from_numpy(present),
            offsets=torch.from_numpy(np.cumsum(lengths) - lengths),
            lengths=torch.from_numpy(lengths),
            hop=0.1,
        )
    ids = [f"u{i:03}" for i in range(n)]
    return Dataset(
        columns=columns,
        labels=torch.from_numpy(labels),
        ids=ids,
        rows=[{"utt_id": utt_id} for utt_id in ids],
        task=Task(("angry", "happy", "sad")),
        max_lengths=LONGEST,
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make() -> Callable[..., Dataset]:
    return make_dataset


@pytest.fixture(scope="session")
def data() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def noise() -> Dataset:
    """32 utterances whose labels have nothing to do with their features."""
    data, draw = make_dataset(n=32, seed=3, whole=True), torch.Generator().manual_seed(0)
    columns = {m: replace(c, values=torch.randn(c.values.shape, generator=draw)) for m, c in data.columns.items()}
    return replace(data, columns=columns)
