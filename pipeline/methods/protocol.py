"""What a method is: `Params` and one class in a file of pipeline/methods, and how its variants are named."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.problems import NAME, problems, shown
from pipeline.registry import entry_class, load
from pipeline.training.params import TEST_TIME, MethodParams

if TYPE_CHECKING:
    from pipeline.training.run import Run


@dataclass(frozen=True)
class Output:
    """What a method predicts.

    Args:
        scores: `(B, K)` float32 class probabilities; in a regression values `(B, 1)`.
    """

    scores: Tensor


@dataclass(frozen=True)
class Needs:
    """What a method cannot do without; a benchmark that lacks it gives a row "not applicable, because".

    Args:
        modalities: so many modalities must be available.
        steps: some modality must be a sequence, not a single vector per utterance.
    """

    modalities: int = 1
    steps: bool = False

    def unmet(self, spec: Spec) -> str | None:
        """Why a benchmark will not do, or None."""
        if len(spec.available) < self.modalities:
            return f"needs {self.modalities} modalities, the benchmark has {', '.join(spec.available) or 'none'}"
        if self.steps and all(spec.max_lengths[m] == 1 for m in spec.available):
            return "needs sequences, the benchmark has one vector per utterance"
        return None


class Method(Protocol):
    """A method. Its file has a `Params` (a MethodParams) and this class, the only one in the file with fit and predict.

    `needs` is a class attribute. `network` is the trained part, or None where nothing is trained by gradient;
    parameters and operations are counted on it.
    """

    needs: Needs
    network: torch.nn.Module | None

    def __init__(self, params: Any, spec: Spec) -> None:
        """Build from numbers alone; the weights' chance comes from the global torch seed that the caller has set."""

    def fit(self, train: Dataset, valid: Dataset | None, run: "Run") -> dict[str, Any]:
        """Train; select on `valid` (without one, take the last epoch); return a history of JSON values."""

    def predict(self, batch: Batch) -> Output:
        """Predict in evaluation mode; no randomness, no dependence on the other utterances of the batch."""

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Args:
        row: `method` or `method:variant`.
        method: name of the file.
        params: validated parameters.
    """

    row: str
    method: str
    params: MethodParams

    @property
    def folder(self) -> str:
        """The row as a folder name."""
        return self.row.partition(":")[2] or "base"

    def training_params(self) -> dict[str, Any]:
        """The parameters that training depends on; `one_to_one` at rate 0 is `complete`."""
        fields = type(self.params).model_fields
        apart = {name for name, info in fields.items() if info.json_schema_extra == TEST_TIME} | self.params.idle()
        values = {k: v for k, v in self.params.model_dump(mode="json").items() if k not in apart}
        return values | ({"regime": "complete"} if self.params.trains_on_complete else {})


def variants(method: str, block: Mapping[str, Any]) -> list[Variant]:
    """The rows of one method's block in params.yaml: itself, then each of its `variants`.

    Raises:
        ParamsError: unknown keys or wrong types in the block or a variant, all at once.
    """
    params_class: type[MethodParams] = load("methods", method).Params
    base = {key: value for key, value in block.items() if key != "variants"}
    own = block.get("variants") or {}
    if not isinstance(own, dict):
        raise ParamsError(f"params.yaml: methods.{method}.variants: found {shown(own)}, expected a mapping of names")
    found: list[str] = []
    rows: list[Variant] = []
    of_base: list[tuple[Any, ...]] = []  # what is wrong with the block itself is not said again for every variant
    for name, override in [(None, {}), *own.items()]:
        where = f"methods.{method}" + (f".variants.{name}" if name is not None else "")
        if name is not None and (name == "base" or not re.fullmatch(NAME, str(name))):
            found.append(f"params.yaml: {where}: expected a name of small letters, digits and _, and not 'base'")
            continue
        if not isinstance(override, dict):
            found.append(f"params.yaml: {where}: found {shown(override)}, expected a mapping of parameters")
            continue
        try:
            params = params_class.model_validate({**base, **override})
        except ValidationError as error:
            said = {(e["loc"], e["type"], repr(e["input"])): e for e in error.errors()}
            found += problems([e for key, e in said.items() if key not in of_base], where, params_class)
            of_base = list(said) if name is None else of_base
            continue
        rows.append(Variant(f"{method}:{name}" if name else method, method, params))
    if found:
        raise ParamsError("\n".join(found))
    return rows


def models(variant: Variant, rates: Sequence[float]) -> dict[str, Variant]:
    """The models behind a row, by what their files' names have after the seed: one, or one per rate.

    Args:
        variant: the row.
        rates: `training.rates`.

    Raises:
        ParamsError: `one_to_one` without rates.

    >>> list(models(Variant("mlp", "mlp", MethodParams(regime="one_to_one")), [0.0, 0.5]))
    ['@0.0', '@0.5']
    """
    if variant.params.regime != "one_to_one":
        return {"": variant}
    if not rates:
        raise ParamsError(
            f"params.yaml: training.rates: empty, but {variant.row} trains one_to_one, a model per rate; name the rates"
        )
    return {
        f"@{float(rate)}": replace(variant, params=variant.params.model_copy(update={"p_miss": float(rate)}))
        for rate in sorted(rates)
    }


def not_applicable(variant: Variant, spec: Spec) -> str | None:
    """Why a row cannot be had on a benchmark, or None."""
    needs: Needs = _entry(variant.method).needs
    return needs.unmet(spec) or variant.params.unmet(spec)


def build(variant: Variant, spec: Spec) -> Method:
    """An untrained method for one row."""
    method: Method = _entry(variant.method)(variant.params, spec)
    return method


def _entry(method: str) -> Any:
    return entry_class(load("methods", method), "fit", "predict", "state", "load")
