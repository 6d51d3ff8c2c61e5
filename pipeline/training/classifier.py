"""What every method that is one network has in common: train on its logits, predict, save, restore."""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.task import Task
from pipeline.methods.protocol import Output
from pipeline.training.loop import fit_network
from pipeline.training.params import NeuralParams
from pipeline.training.run import Run


class NetworkClassifier:
    """Base of methods whose `network(batch)` gives logits `(B, K)`.

    Args:
        network: the trained part.
        task: labels and loss.
        params: optimisation and regime.
    """

    def __init__(self, network: nn.Module, task: Task, params: NeuralParams) -> None:
        """Keep them."""
        self.network = network
        self.task = task
        self.params = params

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train; select by the task alone."""
        return fit_network(self.network, self._loss, self.network, train, valid, run, self.params)

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        """Objective of a masked batch in an epoch (from 1): the task's, unless a method has more to say."""
        return self.task.loss(self.network(batch), batch.labels)

    def predict(self, batch: Batch) -> Output:
        """Class probabilities, in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            return Output(self.task.predict(self.network(batch)))

    def state(self) -> dict[str, Tensor]:
        """Weights."""
        return {name: x.detach().clone() for name, x in self.network.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore weights."""
        self.network.load_state_dict(state)
