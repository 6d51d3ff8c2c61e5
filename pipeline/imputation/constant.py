"""Constant fillers: zeros, or the mean of the training vectors (seed report UCB/EECS-2022-85, section 3.3)."""

from typing import Literal

import torch
from torch import Tensor

from pipeline.errors import ContractError
from pipeline.imputation.protocol import Vectors


class ConstantFiller:
    """Puts the same vector into every hole."""

    def __init__(self, kind: Literal["zero", "mean"]) -> None:
        """Choose the constant."""
        self._kind = kind
        self._means: Vectors = {}

    def fit(self, vectors: Vectors, have: Vectors) -> None:
        """Take the mean of what is there; see the protocol."""
        self._means = {
            m: x[have[m]].mean(0) if bool(have[m].any()) else torch.zeros_like(x[:1]).sum(0) for m, x in vectors.items()
        }

    def sample(self, vectors: Vectors, have: Vectors, generator: torch.Generator | None = None, n: int = 1) -> Vectors:
        """Fill; see the protocol.

        Raises:
            ContractError: not fitted.
        """
        if not self._means:
            raise ContractError("filler: sample before fit; fit it on the training part or load its state")
        filled = {}
        for m, x in vectors.items():
            constant = self._means[m].to(x.device) if self._kind == "mean" else torch.zeros_like(self._means[m])
            filled[m] = torch.where(have[m][:, None], x, constant.to(x)).expand(n, -1, -1)
        return filled

    def state(self) -> dict[str, Tensor]:
        """The means."""
        return dict(self._means)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the means."""
        self._means = dict(state)
