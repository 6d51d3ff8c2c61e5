"""The task of a benchmark: what its labels are, which loss trains it and how outputs become predictions."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Task:
    """Single-label classification, or regression of one value per utterance.

    Args:
        labels: class names; their order is the index of the class everywhere. Empty in a regression.
        kind: of the task.
        positive_from: values at or above it count as positive in the binary metrics of a regression.
    """

    labels: tuple[str, ...]
    kind: Kind = "classification"
    positive_from: float = 0.0

    @property
    def is_regression(self) -> bool:
        """Whether labels are values."""
        return self.kind == "regression"

    @property
    def outputs(self) -> int:
        """Width K of a model's last layer: one per class, or 1."""
        return 1 if self.is_regression else len(self.labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of `logits (B, K)` and `labels (B,)`; in a regression the mean absolute error."""
        if self.is_regression:
            return functional.l1_loss(logits.squeeze(-1), labels)
        return functional.cross_entropy(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """Class probabilities `(B, K)`, or values `(B, 1)`, float32."""
        return logits.float() if self.is_regression else torch.softmax(logits.float(), dim=-1)
