"""Neighbours: the mean of what the k nearest training utterances have, by distance over what is there.

Rajan, "Learning from Audio, Vision and Language Modalities for Affect Recognition Tasks", PhD thesis, Queen Mary
University of London, 2022, section 4.4.2: Euclidean distance, k of 5, 10 or 100. Our choice: with several modalities
there, the distance is that of their concatenation; among equally near ones the first; with nothing there, the mean of
all. Vectors are utterance vectors, or intermediate ones of a network, which is the thesis' form.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.errors import DataError
from pipeline.imputation.chance import Chance
from pipeline.imputation.params import NeighboursParams
from pipeline.imputation.protocol import unfitted
from pipeline.imputation.vectors import JOINT_ORDER, Vectors, complete_rows
from pipeline.training.run import Run

_ROWS = 256
"""Utterances that are compared with the training part at once."""


class HasNeighbours(Protocol):
    """Parameters with a section `neighbours`."""

    @property
    def neighbours(self) -> NeighboursParams:
        """The section."""


class NeighboursFiller:
    """Keeps the training vectors."""

    def __init__(self, params: HasNeighbours) -> None:
        """Keep k."""
        self._k = params.neighbours.k
        self._store: Vectors = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Keep the utterances that have every modality; see the protocol.

        Raises:
            DataError: there are none.
        """
        self._store = {m: x.clone() for m, x in complete_rows(vectors, have, "neighbours").items()}
        return {"stored": len(next(iter(self._store.values())))}

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance | None, n: int) -> Vectors:
        """Average the neighbours; see the protocol. Nothing is drawn: all `n` are the same.

        Raises:
            DataError: fewer than k utterances are stored.
        """
        if not self._store:
            raise unfitted("neighbours")
        store = {m: x.to(vectors[m]) for m, x in self._store.items()}
        stored = len(next(iter(store.values())))
        if stored < self._k:
            raise DataError(
                f"filler 'neighbours': k is {self._k}, but {stored} training utterances have every modality; lower "
                "neighbours.k"
            )
        parts = []
        first = vectors[next(iter(store))]
        for rows in torch.split(torch.arange(len(first), device=first.device), _ROWS):
            distance = first.new_zeros(len(rows), stored)
            for m, x in store.items():
                # Without matrix products: these would make a distance depend on the other rows.
                own = torch.cdist(vectors[m][rows], x, compute_mode="donot_use_mm_for_euclid_dist").square()
                distance += own.masked_fill(~have[m][rows, None], 0.0)
            nearest = distance.argsort(dim=1, stable=True)[:, : self._k]  # (b, k)
            alone = ~torch.stack([have[m][rows] for m in store]).any(0)
            means = {m: torch.where(alone[:, None], x.mean(0), x[nearest].mean(1)) for m, x in store.items()}
            parts.append(means)
        return {m: torch.cat([part[m] for part in parts]).expand(n, -1, -1) for m in store}

    def state(self) -> dict[str, Tensor]:
        """The stored vectors."""
        return dict(self._store)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the stored vectors."""
        self._store = {m: state[m] for m in JOINT_ORDER if m in state}
