"""MLP: one classifier of utterance vectors, trained on complete data; at test time a filler stands in for what is gone.

Jhamb, "Hallucination Is All You Need: Using Generative Models for Test Time Data Augmentation", UC Berkeley Technical
Report EECS-2022-85, 2022, http://www2.eecs.berkeley.edu/Pubs/TechRpts/2022/EECS-2022-85.html

Follows: sections 3.2 to 3.4 and Algorithm 1 (batch normalisation, feed-forward classifier, Adam 1e-4 with weight decay
1e-5, tenfold decay every 250 of 1000 epochs, last epoch kept; zero padding, training mean, uniform noise, Gaussian
mixture, GANs and VAEs as fillers, the last two with a majority vote of 20; three oracles as bounds).
Differs: sequences become vectors by their mean over observed steps; any number of modalities instead of two; widths 512
and 128 and batch 64 are our choice, since the report's figures with them are lost; `neighbours` is a filler of ours.
Handles absence by: `filler`, applied to a modality of which no step is observed.
"""

from itertools import pairwise
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.nn.heads import BatchNorm
from pipeline.training.filled import FilledClassifier, FilledParams, width


class Params(FilledParams):
    """Parameters of the MLP.

    Args:
        hidden: widths of the hidden layers.
    """

    epochs: PositiveInt = 1000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    weight_decay: float = Field(1e-5, ge=0.0)
    monitor: Literal["loss", "acc", "uar", "last"] = "last"
    decay_every: PositiveInt | None = 250
    standardize: bool = False
    hidden: tuple[PositiveInt, ...] = (512, 128)


class MLP(FilledClassifier):
    """Batch normalisation, hidden layers with ReLU, one linear output."""

    needs = Needs()

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        widths = [width(spec), *params.hidden]
        layers: list[nn.Module] = [BatchNorm(widths[0])]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(nn.Sequential(*layers, nn.Linear(widths[-1], spec.task.outputs)), params, spec)
