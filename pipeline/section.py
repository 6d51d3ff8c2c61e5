"""What every part of params.yaml is: a frozen model that refuses unknown keys and wrong types."""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipeline.errors import ParamsError
from pipeline.problems import NAME, problems, shown

Name = Annotated[str, StringConstraints(pattern=NAME)]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Item = TypeVar("Item", bound=Hashable)
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A part of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """The values, for a validator.

    Raises:
        ValueError: one of them stands there twice.
    """
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"found {shown(repeated[0])} twice, expected no repetition")
    return values


def options(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate the options of a corpus or an extractor with its own model.

    Raises:
        ParamsError: every problem, placed under `where`.
    """
    try:
        return model.model_validate(tuples(dict(values)))
    except ValidationError as error:
        raise ParamsError("\n".join(problems(error.errors(), where, model))) from None


def tuples(value: Any) -> Any:
    """YAML's lists as tuples, which strict models expect, however deep."""
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value
