"""Linear: one linear layer on z-scored utterance vectors, a probe of what features say; fillers as in `mlp`.

No paper: multinomial logistic regression, as in scikit-learn's LogisticRegression
(https://scikit-learn.org/stable/modules/generated/sklearn.linear_model.LogisticRegression.html), trained by gradient;
in a regression least absolute deviations.
Follows: softmax of one linear layer, cross-entropy.
Differs: Adam with weight decay for a fixed number of epochs instead of a penalty and a solver.
Handles absence by: `filler`, applied to a modality of which no step is observed; z-scores make `zero` the mean.
"""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.training.filled import FilledClassifier, FilledParams, width


class Params(FilledParams):
    """Parameters of the linear classifier."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(1e-2, ge=0.0)
    monitor: Literal["loss", "acc", "uar", "last"] = "last"


class Linear(FilledClassifier):
    """One linear layer."""

    needs = Needs()

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the layer."""
        super().__init__(nn.Linear(width(spec), spec.task.outputs), params, spec)
