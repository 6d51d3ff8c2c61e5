"""Constant fillers: zeros, or the mean of the training vectors (report UCB/EECS-2022-85, section 3.3)."""

from typing import Any

import torch
from torch import Tensor

from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams
from pipeline.imputation.protocol import unfitted
from pipeline.imputation.vectors import Vectors, known
from pipeline.training.run import Run


class ConstantFiller:
    """Puts the same vector into every hole; with n > 1, n times."""

    def __init__(self, params: FillerParams) -> None:
        """Choose the constant, `zero` or `mean`."""
        self._name = params.filler
        self._constants: Vectors = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Take the mean of what is there; see the protocol."""
        means = {m: vectors[m][have[m]].mean(0) for m in known(have)}
        self._constants = means if self._name == "mean" else {m: torch.zeros_like(x) for m, x in means.items()}
        return {}

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """The constants; see the protocol."""
        if not self._constants:
            raise unfitted(self._name)
        return {m: x.to(vectors[m]).expand(n, len(vectors[m]), -1) for m, x in self._constants.items()}

    def state(self) -> dict[str, Tensor]:
        """The constants."""
        return dict(self._constants)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the constants."""
        self._constants = dict(state)
