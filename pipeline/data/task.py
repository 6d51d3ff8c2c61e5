"""The task of a benchmark: what its labels are, which loss trains it and how outputs become predictions."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Task:
    """Single-label classification.

    Args:
        labels: class names; their order is the index of the class everywhere.
    """

    labels: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Width K of a model's last layer."""
        return len(self.labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of `logits (B, K)` and `labels (B,)`."""
        return functional.cross_entropy(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """Class probabilities `(B, K)`, float32."""
        return torch.softmax(logits.float(), dim=-1)
