"""Majority: the class shares of the training part, whatever the input; in a regression its median. The floor.

No paper: the constant predictor, as in scikit-learn's DummyClassifier
(https://scikit-learn.org/stable/modules/generated/sklearn.dummy.DummyClassifier.html).
Follows: argmax of the training prior; the median is what no other constant beats in absolute error.
Differs: nothing.
Handles absence by: never looking at the input.
"""

from typing import Any

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs, Output
from pipeline.training.params import MethodParams
from pipeline.training.run import Run


class Params(MethodParams):
    """Nothing of its own."""


class Majority:
    """Predicts the training prior, or the training median."""

    needs = Needs()
    network = None

    def __init__(self, params: Params, spec: Spec) -> None:
        """Start from the uniform prior."""
        self._prior = torch.full((spec.task.outputs,), 1.0 / spec.task.outputs)

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Count the classes, or take the median."""
        if train.task.is_regression:
            self._prior = train.labels.cpu().double().quantile(0.5).float()[None]
            return {"median": self._prior.item()}
        counts = torch.bincount(train.labels.cpu(), minlength=len(self._prior))
        self._prior = counts.float() / counts.sum()
        return {"prior": self._prior.tolist()}

    def predict(self, batch: Batch) -> Output:
        """The same for everyone."""
        return Output(self._prior.to(batch.labels.device).expand(len(batch), -1))

    def state(self) -> dict[str, Tensor]:
        """The prior."""
        return {"prior": self._prior}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the prior."""
        self._prior = state["prior"]
