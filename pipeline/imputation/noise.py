"""Noise: uniform numbers in [0, 1) for every coordinate (report UCB/EECS-2022-85, section 3.3), one draw, no vote."""

from typing import Any

import torch
from torch import Tensor

from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams
from pipeline.imputation.protocol import unfitted
from pipeline.imputation.vectors import Vectors, known
from pipeline.training.run import Run


class NoiseFiller:
    """Draws every coordinate from U(0, 1), whatever the training features are like."""

    def __init__(self, params: FillerParams) -> None:
        """Start without widths."""
        self._widths: dict[str, int] = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Learn which modalities there are; see the protocol."""
        self._widths = {m: vectors[m].shape[1] for m in known(have)}
        return {}

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Draw; see the protocol."""
        if not self._widths:
            raise unfitted("uniform")
        return {m: chance.uniforms(m, n, width).float() for m, width in self._widths.items()}

    def state(self) -> dict[str, Tensor]:
        """The widths."""
        return {m: torch.tensor(width) for m, width in self._widths.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the widths."""
        self._widths = {m: int(width) for m, width in state.items()}
