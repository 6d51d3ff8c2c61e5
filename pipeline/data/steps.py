"""Sequences as rows of a table: a step that several of them share, under whatever masks, is there once.

Under 50 masks an utterance is 50 sequences of the same steps, some of them zeros instead; a layer that looks at single
steps computes it once. B batch, T steps, U rows, D features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Steps:
    """B sequences of T steps.

    Args:
        table: `(U, D)`.
        index: `(B, T)` int64, rows of the table; U stands for a step of zeros.
    """

    table: Tensor
    index: Tensor

    @staticmethod
    def of(x: Tensor) -> "Steps":
        """The sequences `x (B, T, D)`, every step a row of its own."""
        rows = torch.arange(x.shape[0] * x.shape[1], device=x.device)
        return Steps(x.flatten(0, 1), rows.view(x.shape[:2]))

    def where(self, there: Tensor) -> "Steps":
        """The same with zeros where `there (B, T)` is False."""
        return replace(self, index=torch.where(there, self.index, len(self.table)))

    def at(self, steps: Tensor) -> "Steps":
        """Of each sequence the steps `(B, Q)` int64."""
        return replace(self, index=self.index.gather(1, steps))

    def dense(self) -> Tensor:
        """The sequences, `(B, T, D)`."""
        rows = len(self.table)
        if not rows:
            return self.table.new_zeros(*self.index.shape, self.table.shape[1])
        nothing = (self.index == rows).unsqueeze(-1)
        return self.table[self.index.clamp(max=rows - 1)].masked_fill_(nothing, 0.0)


def concatenated(parts: Sequence[Steps]) -> Steps:
    """The sequences of all parts, which have equal T; a table that they share stays one."""
    tables = [part.table for part in parts]
    if all(table is tables[0] for table in tables):
        return Steps(tables[0], torch.cat([part.index for part in parts]))
    rows, first, shifted = sum(map(len, tables)), 0, []
    for part in parts:
        shifted.append(torch.where(part.index == len(part.table), rows, part.index + first))
        first += len(part.table)
    return Steps(torch.cat(tables), torch.cat(shifted))


Sequences = TypeVar("Sequences", Tensor, Steps)
"""Sequences of features, or tensors with one entry for every step."""


def at_least_one_step(x: Sequences) -> Sequences:
    """Append one step of padding (0, False) to sequences `(B, 0, ...)`; anything longer is returned as it is."""
    if isinstance(x, Steps):
        return x if x.index.shape[1] else replace(x, index=functional.pad(x.index, (0, 1), value=len(x.table)))
    if x.shape[1]:
        return x
    return functional.pad(x, (0, 0, 0, 1) if x.dim() == 3 else (0, 1))


class Features(Mapping[str, Tensor]):
    """Per modality sequences `(B, T_m, D_m)`, made when they are asked for.

    Args:
        steps: per modality.
    """

    def __init__(self, steps: Mapping[str, Steps]) -> None:
        self.steps = dict(steps)
        self._dense: dict[str, Tensor] = {}

    @staticmethod
    def of(sequences: Mapping[str, Tensor]) -> "Features":
        """Features of sequences that share nothing; what are features already stay what they are."""
        if isinstance(sequences, Features):
            return sequences
        return Features({m: Steps.of(x) for m, x in sequences.items()})

    def where(self, there: Mapping[str, Tensor]) -> "Features":
        """The same with zeros where `there[m] (B, T_m)` is False."""
        return Features({m: steps.where(there[m]) for m, steps in self.steps.items()})

    def __getitem__(self, m: str) -> Tensor:
        """The sequences of a modality."""
        if m not in self._dense:
            self._dense[m] = self.steps[m].dense()
        return self._dense[m]

    def __iter__(self) -> Iterator[str]:
        """The modalities."""
        return iter(self.steps)

    def __len__(self) -> int:
        """How many modalities."""
        return len(self.steps)
