"""MLP: one classifier of utterance vectors, trained on complete data; at test time a filler stands in for what is gone.

Jhamb, "Hallucination Is All You Need: Using Generative Models for Test Time Data Augmentation", UC Berkeley Technical
Report EECS-2022-85, 2022, http://www2.eecs.berkeley.edu/Pubs/TechRpts/2022/EECS-2022-85.html

Follows: sections 3.2 and 3.3 (batch normalisation, feed-forward classifier, Adam 1e-4 with weight decay 1e-5, tenfold
decay every 250 of 1000 epochs, last epoch kept; zero padding and training mean as fillers).
Differs: sequences become vectors by their mean over observed steps; three modalities instead of two; widths 512 and 128
and batch 64 are our choice, since the report's figures with them are lost.
Handles absence by: `filler`, applied to a modality of which no step is observed.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Column, Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.imputation.constant import ConstantFiller
from pipeline.imputation.protocol import Vectors
from pipeline.methods.protocol import TEST_TIME, Needs, NeuralParams, Output, Spec
from pipeline.nn.heads import BatchNorm
from pipeline.training.batches import by_length
from pipeline.training.loop import fit_network
from pipeline.training.run import Run

_POOL_BATCH = 256


class Params(NeuralParams):
    """Parameters of the MLP.

    Args:
        hidden: widths of the hidden layers.
        filler: what stands in for a missing modality at test time; zeros or the mean of the training vectors.
        text_missing: `zero` alone, since the filler says what stands in for missing text.
    """

    epochs: PositiveInt = 1000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    weight_decay: float = Field(1e-5, ge=0.0)
    monitor: Literal["loss", "acc", "uar", "last"] = "last"
    decay_every: PositiveInt | None = 250
    standardize: bool = False
    hidden: tuple[PositiveInt, ...] = (512, 128)
    text_missing: Literal["zero"] = "zero"
    filler: Literal["zero", "mean"] = Field("zero", json_schema_extra=TEST_TIME)


class MLP:
    """Batch normalisation, hidden layers with ReLU, one linear output."""

    needs = Needs()

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        self.params, self._task = params, spec.task
        widths = [sum(spec.dims.values()), *params.hidden]
        layers: list[nn.Module] = [BatchNorm(widths[0])]
        for width, following in pairwise(widths):
            layers += [nn.Linear(width, following), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], spec.task.outputs))
        self._filler = ConstantFiller(params.filler)
        self._training_filler = ConstantFiller("mean")

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Fit the fillers, then train the classifier, all on the training part.

        What is missing while training is the mean, whatever the filler, so that all fillers share one training.
        """
        vectors = _vector_dataset(train)
        batch = vectors.batch(torch.arange(len(vectors)))
        for filler in (self._filler, self._training_filler):
            filler.fit(*_vectors(batch))
        if self.params.trains_on_complete:  # nothing is masked, so the means can be taken once
            train, valid = vectors, _vector_dataset(valid) if valid else None

        def logits(batch: Batch) -> Tensor:
            return self._logits(batch, self._training_filler)

        def loss(batch: Batch, epoch: int) -> Tensor:
            return self._task.loss(logits(batch), batch.labels)

        return fit_network(self.network, loss, logits, train, valid, run, self.params)

    def predict(self, batch: Batch) -> Output:
        """Fill what is missing, then classify."""
        self.network.eval()
        with torch.no_grad():
            return Output(self._task.predict(self._logits(batch, self._filler)))

    def state(self) -> dict[str, Tensor]:
        """Weights and filler."""
        weights = {f"network.{name}": x.clone() for name, x in self.network.state_dict().items()}
        return weights | {f"filler.{name}": x for name, x in self._filler.state().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore weights and filler."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "filler": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        self.network.load_state_dict(parts["network"])
        self._filler.load(parts["filler"])

    def _logits(self, batch: Batch, filler: ConstantFiller) -> Tensor:
        filled = filler.sample(*_vectors(batch), None, 1)
        logits: Tensor = self.network(torch.cat([filled[m][0] for m in MODALITIES], dim=-1))  # (B, K)
        return logits


def _vector_dataset(data: Dataset) -> Dataset:
    """The dataset with every sequence replaced by its mean: one step, or none."""
    order = torch.cat(list(by_length(data, _POOL_BATCH)))
    parts = [_vectors(data.batch(index)) for index in torch.split(order, _POOL_BATCH)]
    back = order.argsort()
    columns = {}
    for m in data.columns:
        have = torch.cat([own[m] for _, own in parts])[back]
        values = torch.cat([vectors[m] for vectors, _ in parts])[back][have]
        lengths = have.long()
        columns[m] = Column(values, torch.ones_like(have[have]), lengths.cumsum(0) - lengths, lengths, None)
    return replace(data, columns=columns)


def _vectors(batch: Batch) -> tuple[Vectors, Vectors]:
    """Mean over observed steps, and whether there was any."""
    vectors, have = {}, {}
    for m, features in batch.features.items():
        count = batch.observed[m].sum(1)
        have[m] = count > 0
        vectors[m] = features.sum(1) / count.clamp(min=1)[:, None]  # (B, D_m)
    return vectors, have
