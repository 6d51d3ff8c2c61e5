"""The task of a benchmark: what its labels are, which loss trains it and how outputs become predictions."""

from dataclasses import dataclass, replace
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
        centre: in a regression, the value that an output of 0 stands for; see `fitted`.
        scale: in a regression, what an output of 1 adds to it.
    """

    labels: tuple[str, ...]
    kind: Kind = "classification"
    positive_from: float = 0.0
    centre: float = 0.0
    scale: float = 1.0

    def fitted(self, labels: Tensor) -> "Task":
        """The task as a training sees it: a network's output counts from the median of its labels, in deviations.

        Else a network would have to learn where ratings from 1 to 5 lie before it learns anything of them. Losses,
        labels and predictions stay in the units of the labels.

        Args:
            labels: `(N,)` of the training part.
        """
        if not self.is_regression:
            return self
        own = labels.double().cpu()
        spread = own.std(correction=0).item()
        return replace(self, centre=own.quantile(0.5).item(), scale=spread or 1.0)

    def state(self) -> dict[str, Tensor]:
        """What `load` needs; nothing in a classification."""
        numbers = {"centre": self.centre, "scale": self.scale} if self.is_regression else {}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}

    def load(self, state: dict[str, Tensor]) -> "Task":
        """The task with what `state` gave.

        Raises:
            KeyError: a regression without its numbers.
        """
        if not self.is_regression:
            return self
        return replace(self, centre=state["centre"].item(), scale=state["scale"].item())

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
            return functional.l1_loss(self._values(logits).squeeze(-1), labels)
        return functional.cross_entropy(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """Class probabilities `(B, K)`, or values `(B, 1)`, float32."""
        return self._values(logits.float()) if self.is_regression else torch.softmax(logits.float(), dim=-1)

    def _values(self, logits: Tensor) -> Tensor:
        return self.centre + self.scale * logits
