"""What a method's block in params.yaml may say: regime and missing data, and for trained networks the optimisation."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from pipeline.data.spec import Spec
from pipeline.section import Rate, Section

Regime = Literal["complete", "one_to_one", "dynamic", "moddrop"]

TEST_TIME: dict[str, Any] = {"test_time": True}
"""`Field(json_schema_extra=TEST_TIME)`: the value changes predictions, not training; such variants share a training."""


class MethodParams(Section):
    """What every method's block in params.yaml may say.

    Args:
        regime: `complete` trains on complete data; `one_to_one` trains a model per rate of `training.rates`, on frame
            masks that are drawn once; `dynamic` draws new frame masks for every epoch; `moddrop` shows every utterance
            with all modalities and without each of them.
        p_miss: rate of `dynamic`; in `one_to_one` each model has its own.
        standardize: features are z-scored with the statistics of the training part (present steps only).
        text_missing: what a dropped step of text is: `zero`, or `unk`: [UNK] takes the token's place and the whole text
            is encoded anew by the extractor of the feature set, in training (an encoder's pass in every step) and in
            test alike; the marks around a text are never dropped.
        ramp_epochs: epochs over which the share of masked samples grows from 0 to 1 in `dynamic`; 1 = no ramp.
    """

    regime: Regime = "complete"
    p_miss: Rate = 0.2
    ramp_epochs: PositiveInt = 5
    standardize: bool = True
    text_missing: Literal["zero", "unk"] = "zero"

    @property
    def trains_on_complete(self) -> bool:
        """Whether nothing is masked in training: regime `complete`, and `one_to_one` at rate 0."""
        return self.regime == "complete" or (self.regime == "one_to_one" and self.p_miss == 0)

    def idle(self) -> set[str]:
        """Names of the parameters that a training with these values never looks at: changing them trains nothing."""
        ramp = set() if self.regime == "dynamic" else {"ramp_epochs"}
        rate = {"p_miss"} if self.trains_on_complete or self.regime == "moddrop" else set()
        text = {"text_missing"} if self.trains_on_complete else set()
        return ramp | rate | text

    @property
    def oracle(self) -> bool:
        """Whether predictions see the test part, labels included: a bound, not a method."""
        return False

    @property
    def filler_fit(self) -> dict[str, Any] | None:
        """What the fit of a filler depends on, which is a job apart from the training; None without a filler."""
        return None

    @property
    def filler_module(self) -> str | None:
        """The module of the filler, loaded by name so that the training does not depend on it."""
        return None

    @property
    def filler_needs_weights(self) -> bool:
        """Whether the filler is fitted to what the trained network makes of the training part."""
        return False

    @property
    def filler_stacks(self) -> bool:
        """Whether several fits of the filler can be done in one go."""
        return False

    def unmet(self, spec: Spec) -> str | None:
        """Why these parameters cannot be had on a benchmark, or None."""
        return None


class NeuralParams(MethodParams):
    """What every method trained by the one loop may say; a method's file sets the defaults of its paper.

    Args:
        epochs: at most so many.
        batch_size: utterances per step.
        learning_rate: of the optimiser.
        weight_decay: of the optimiser.
        optimizer: adam or adamw.
        patience: epochs without a better validation score before training stops.
        monitor: what selects the best epoch on the validation part; `last` takes the last epoch. In a regression acc
            and uar stand for the loss.
        clip_value: gradient values are clipped to this, or None.
        clip_norm: the norm of all gradients together is clipped to this, or None.
        plateau_patience: epochs without a better validation loss before the rate is cut to a tenth, or None.
        decay_every: epochs after which the rate is cut to a tenth, or None.
    """

    epochs: PositiveInt = 40
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(0.0, ge=0.0)
    optimizer: Literal["adam", "adamw"] = "adam"
    patience: PositiveInt = 8
    monitor: Literal["loss", "acc", "uar", "last"] = "loss"
    clip_value: PositiveFloat | None = None
    clip_norm: PositiveFloat | None = None
    plateau_patience: PositiveInt | None = None
    decay_every: PositiveInt | None = None


class Kernels(Section):
    """Steps that each modality's convolution sees."""

    text: PositiveInt = 1
    audio: PositiveInt = 1
    vision: PositiveInt = 1


class AttentionParams(NeuralParams):
    """What MCT-HFR and the baselines that its authors adapted to it have in common, with their defaults.

    Args:
        width: D of all sequences.
        heads: of attention; divide `width`.
    """

    learning_rate: PositiveFloat = 1e-4
    weight_decay: float = Field(0.01, ge=0.0)
    optimizer: Literal["adam", "adamw"] = "adamw"
    clip_value: PositiveFloat | None = 0.8
    width: PositiveInt = 128
    heads: PositiveInt = Field(4, validate_default=True)

    @field_validator("heads")
    @classmethod
    def _divide_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads)
        if width % heads:
            raise ValueError(f"found {heads} heads for width {width}, expected a divisor of the width")
        return heads
