"""What every method that is one network has in common: predict, save, restore."""

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.task import Task
from pipeline.methods.protocol import Output


class NetworkClassifier:
    """Base of methods whose `network(batch)` gives logits `(B, K)`; they add `fit`.

    Args:
        network: the trained part.
        task: labels and loss.
    """

    def __init__(self, network: nn.Module, task: Task) -> None:
        """Keep both."""
        self.network = network
        self.task = task

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
