"""What a filler is: it learns from complete training vectors and fills the blocks that are missing."""

from typing import Protocol

import torch
from torch import Tensor

Vectors = dict[str, Tensor]


class Filler(Protocol):
    """Fills holes in utterance vectors."""

    def fit(self, vectors: Vectors, have: Vectors) -> None:
        """Learn from training data alone.

        Args:
            vectors: per modality `(N, D_m)`.
            have: per modality `(N,)` bool, False where the vector is missing.
        """

    def sample(self, vectors: Vectors, have: Vectors, generator: torch.Generator | None, n: int) -> Vectors:
        """Fill the holes `n` times; what is there is returned as it is.

        Args:
            vectors: per modality `(B, D_m)`.
            have: per modality `(B,)` bool.
            generator: chance, for fillers that draw.
            n: draws.

        Returns:
            Per modality `(n, B, D_m)`.
        """

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
