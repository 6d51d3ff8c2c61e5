"""Parameters of fillers, as a method's block in params.yaml says them: which one, and a section for each that learns.

All are of test time: none changes the training of a classifier. What the fit of a filler depends on is `filler_fit`.
Importing this module imports no filler; `make_filler` loads the one module that is needed.
"""

import importlib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline.data.spec import Spec
from pipeline.registry import entry_class
from pipeline.section import Rate, Section
from pipeline.training.params import TEST_TIME, MethodParams

if TYPE_CHECKING:
    from pipeline.imputation.protocol import Filler

Name = Literal[
    "zero", "mean", "uniform", "gaussian_mixture", "gan", "vae", "neighbours", "same_class", "other_class", "class_mean"
]  # fmt: skip

ORACLES = ("same_class", "other_class", "class_mean")
_MODULES = {"zero": "constant", "mean": "constant", "uniform": "noise"} | dict.fromkeys(ORACLES, "oracle")
"""Modules of the fillers that are not called like them."""
_GENERATING = ("gan", "vae")
_JOINT = ("gan", "vae", "neighbours")


class GaussianMixtureParams(Section):
    """Of `gaussian_mixture`.

    Args:
        components: at most so many Gaussians.
    """

    components: PositiveInt = 2


class GanParams(Section):
    """Of `gan`.

    Args:
        latent: width of the noise z.
        epochs: over the training part.
        batch_size: utterances per step, at most.
        learning_rate: of both Adams.
        betas: of both Adams.
        output: `linear` learns z-scored features and takes the scores back; `tanh` learns raw features and squeezes its
            samples into [-1, 1].
    """

    latent: PositiveInt = 100
    epochs: PositiveInt = 200
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 2e-4
    betas: tuple[Rate, Rate] = (0.5, 0.999)
    output: Literal["linear", "tanh"] = "linear"


class VaeParams(Section):
    """Of `vae`.

    Args:
        latent: width of z.
        hidden: width of the layer in encoder and decoder.
        epochs: over the training part.
        batch_size: utterances per step, at most.
        learning_rate: of Adam.
        standardize: learn z-scored features and take the scores back, for features in units of very different size.
    """

    latent: PositiveInt = 256
    hidden: PositiveInt = 512
    epochs: PositiveInt = 2000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    standardize: bool = False


class NeighboursParams(Section):
    """Of `neighbours`.

    Args:
        k: so many nearest training utterances are averaged.
    """

    k: PositiveInt = 10


class FillerParams(MethodParams):
    """What stands in for a missing modality at test time.

    Args:
        filler: zero, mean, uniform, gaussian_mixture, gan, vae or neighbours; or an oracle, which sees the test part:
            same_class, other_class, class_mean.
        votes: `gan` and `vae` fill so many times and the class of most votes is predicted; other fillers once.
        splice: what is there is kept; false replaces the whole vector of an utterance with a hole.
        gaussian_mixture: parameters of that filler.
        gan: parameters of that filler.
        vae: parameters of that filler.
        neighbours: parameters of that filler.
    """

    filler: Name = Field("zero", json_schema_extra=TEST_TIME)
    votes: PositiveInt = Field(20, json_schema_extra=TEST_TIME)
    splice: bool = Field(True, json_schema_extra=TEST_TIME)
    gaussian_mixture: GaussianMixtureParams = Field(GaussianMixtureParams(), json_schema_extra=TEST_TIME)
    gan: GanParams = Field(GanParams(), json_schema_extra=TEST_TIME)
    vae: VaeParams = Field(VaeParams(), json_schema_extra=TEST_TIME)
    neighbours: NeighboursParams = Field(NeighboursParams(), json_schema_extra=TEST_TIME)

    @property
    def draws(self) -> int:
        """How often a hole is filled."""
        return self.votes if self.filler in _GENERATING else 1

    @property
    def oracle(self) -> bool:
        """Whether the filler sees the test part."""
        return self.filler in ORACLES

    @property
    def filler_fit(self) -> dict[str, Any] | None:
        """What the fit of the filler depends on; how many neighbours are averaged is decided when filling."""
        section = getattr(self, self.filler, None) if self.filler != "neighbours" else None
        return {"filler": self.filler, "section": section.model_dump(mode="json") if section else {}}

    @property
    def filler_module(self) -> str | None:
        """The module of the filler."""
        return f"pipeline.imputation.{_MODULES.get(self.filler, self.filler)}"

    @property
    def filler_stacks(self) -> bool:
        """Whether several fits of the filler can be done in one go."""
        return self.filler in _GENERATING

    def unmet(self, spec: Spec) -> str | None:
        """Why the filler cannot be had on a benchmark, or None."""
        if self.filler in _JOINT and len(spec.available) < 2:
            there = ", ".join(spec.available) or "none"
            return f"filler {self.filler} fills from other modalities and needs 2, the benchmark has {there}"
        if self.oracle and not spec.task.labels:
            return f"filler {self.filler} needs classes, the benchmark is a regression"
        return None


def make_filler(params: FillerParams) -> "Filler":
    """The filler that the parameters name, not fitted."""
    module = importlib.import_module(str(params.filler_module))
    filler: Filler = entry_class(module, "fit", "sample", "state", "load")(params)
    return filler
