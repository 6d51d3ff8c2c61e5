"""What is wrong with parameters, said in DVC's grammar with a suggestion: pydantic's findings made readable."""

import difflib
import json
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel

NAME = r"^[a-z][a-z0-9_]*$"
"""Names of corpora, feature sets, benchmarks, methods and variants: DVC joins them with - and walks with . ."""

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "name": "a name of small letters, digits and _ that begins with a letter",
}
"""pydantic's kinds of errors in words: what was expected."""


def problems(errors: Iterable[Any], where: str, model: type[BaseModel], file: str = "params.yaml") -> list[str]:
    """Say pydantic's findings in DVC's grammar: `params.yaml: methods.mult.hiden: unknown key, did you mean ...`."""
    internal = ("function-", "tuple[", "literal[", "[key]")
    found = [([str(part) for part in e["loc"] if not str(part).startswith(internal)], e) for e in errors]
    lines: dict[str, list[str]] = {}  # a value that no member of a union admits is one line with several expectations
    for path, error in found:
        at = ": ".join(filter(None, [file, ".".join(filter(None, [where, *path]))]))
        kind, inside = error["type"], [e for p, e in found if e is not error and p[: len(path)] == path]
        if kind == "extra_forbidden":
            lines[f"{at}: unknown key{suggest(path[-1], _keys(model, error['loc'][:-1]))}"] = []
        elif kind == "missing":
            wanted = "one more value" if isinstance(error["loc"][-1], int) else "a value; write the key out"
            lines[f"{at}: missing"] = [wanted]
        elif kind == "value_error":
            lines |= {f"{at}: {line}": [] for line in str(error["ctx"]["error"]).splitlines()}
        elif not (inside and isinstance(error["input"], tuple) and (kind == "literal_error" or error["input"])):
            lines.setdefault(f"{at}: found {shown(error['input'])}", []).append(_expected(error))
    return [f"{line}, expected {' or '.join(wanted)}" if wanted else line for line, wanted in lines.items()]


def shown(value: Any) -> str:
    """A value as it is written in params.yaml, or what it is where that would be long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) < 60:
        return text
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, tuple) else "a long text"


def _expected(error: Any) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        named = limits["pattern"] == NAME
        return _KINDS["name"] if named else f"text that matches {limits['pattern']}"
    if kind in {"too_short", "too_long"}:
        return f"{limits['min_length']} or more of them" if kind == "too_short" else f"{limits['max_length']} values"
    if kind == "literal_error":
        return str(limits["expected"])
    message = str(error["msg"])
    return _KINDS.get(kind, message.replace("Input should be", "a value", 1))


def unknown(where: str, name: str, known: Iterable[str]) -> str:
    """Say that there is no such name, and which one may be meant."""
    known = list(known)
    return f"{where}: no '{name}'{suggest(name, known)}"


def suggest(name: str, known: Iterable[str]) -> str:
    """The known name that is close, or all of them, as the end of a sentence."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1)
    return f", did you mean '{close[0]}'?" if close else f", expected one of {', '.join(known) or 'none'}"


def _keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that `model` admits at `location`, found by walking its annotations."""
    current: Any = model
    for part in location:
        current = _inside(current, str(part))
    found = _model_in(current)
    return list(found.model_fields) if found else []


def _inside(annotation: Any, part: str) -> Any:
    """What stands at a key of a model, or of `Model | None`, `dict[Name, Model]` and the like; None if nothing does."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = annotation.model_fields.get(part)
        return info.annotation if info else None
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return next((found for arg in get_args(annotation) if (found := _inside(arg, part))), None)


def _model_in(annotation: Any) -> Any:
    """The model inside `Model | None`, `dict[Name, Model]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
