"""Order and batches of utterances: shuffled, but with neighbours of similar length, so that little is padding."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.data.dataset import Dataset

_WINDOW = 8
"""Batches that are sorted by length together; more gives less padding and less shuffling."""


def total_lengths(data: Dataset) -> Tensor:
    """Steps of all modalities together, `(N,)`."""
    return torch.stack([column.lengths for column in data.columns.values()]).sum(0)


def shuffled(data: Dataset, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Every utterance once, in batches of at most `batch_size` whose sizes differ by one at most.

    Equal sizes keep batch statistics meaningful: from `batch_size` 3 on there is never a rest of one utterance.

    Args:
        data: the training part.
        batch_size: upper bound of B.
        generator: source of the order.

    Yields:
        Indices `(B,)` int64.
    """
    order = torch.randperm(len(data), generator=generator).to(data.device)
    lengths = total_lengths(data)
    windows = [window[lengths[window].argsort(stable=True)] for window in torch.split(order, _WINDOW * batch_size)]
    batches = torch.cat(windows).tensor_split(-(-len(data) // batch_size))
    for position in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[position]


def by_length(data: Dataset, batch_size: int) -> Iterator[Tensor]:
    """Every utterance once, from short to long, in batches of at most `batch_size`: for evaluation."""
    yield from torch.split(total_lengths(data).argsort(stable=True), batch_size)
