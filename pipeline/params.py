"""params.yaml: the only configuration. Frozen models, unknown keys refused, every problem printed at once."""

import difflib
import json
from collections.abc import Hashable, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError
from pipeline.paths import PARAMS

NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
FeatureSetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$")]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Modality = Literal["text", "audio", "vision"]
T = TypeVar("T", bound=BaseModel)
Item = TypeVar("Item", bound=Hashable)

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


def _distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"found {shown(repeated[0])} twice, expected no repetition")
    return values


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)]


class Section(BaseModel):
    """A part of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Synthetic(Section):
    """A corpus to generate: `generator` is a package in pipeline/corpora with a `generate` module.

    Args:
        generator: name of the package.
        options: its own parameters, validated by it.
    """

    generator: Name = "demo"
    options: dict[str, Any] = {}


class Decode(Section):
    """How a corpus is decoded.

    Args:
        streams: which of audio, faces, frames to write; text is always written.
        face: find the face in every frame, or take the whole frame where it already is the face.
        face_hz: face crops per second.
        face_px: side of a face crop in pixels.
        frame_hz: frames per second of frames.h5.
        frame_px: short side of a frame in pixels.
        quarantine_budget: share of clips that may be unreadable before the stage fails.
    """

    streams: tuple[Literal["audio", "faces", "frames"], ...] = ("audio", "faces")
    face: Literal["detect", "whole_frame"] = "detect"
    face_hz: PositiveFloat = 5.0
    face_px: PositiveInt = 112
    frame_hz: PositiveFloat = 30.0
    frame_px: PositiveInt = 256
    quarantine_budget: Rate = 0.0


class Corpus(Section):
    """A corpus on disk.

    Args:
        reader: module in pipeline/corpora.
        options: the reader's own parameters, validated by it.
        decode: how its media are decoded.
    """

    reader: Name
    options: dict[str, Any] = {}
    decode: Decode = Decode()


class FeatureSet(Section):
    """One extractor run on one corpus.

    Args:
        corpus: key of `corpora`.
        modality: what the features stand for.
        stream: the decoded stream that the extractor reads.
        extractor: module in pipeline/extractors.
        options: per extractor name its own parameters, so that swapping `extractor` needs no other edit.
        weights: folder or file of the weights, or null.
        weights_sha256: their hash, checked when given.
    """

    corpus: Name
    modality: Modality
    stream: Literal["text", "audio", "faces", "frames"]
    extractor: Name
    options: dict[Name, dict[str, Any]] = {}
    weights: str | None = None
    weights_sha256: str | None = None


class TaskParams(Section):
    """The task of a benchmark.

    Args:
        kind: single-label classification.
        labels: the owner's label -> class, or null to leave such utterances out; classes are numbered alphabetically.
    """

    kind: Literal["classification"] = "classification"
    labels: dict[str, str | None]


class Folds(Section):
    """How utterances are divided.

    Args:
        protocol: see pipeline/splits/folds.py.
        test_speakers: which speaker of the held-out session is tested (the other validates), for
            leave_one_session_out.
        folds: number of folds of k_fold_by_speaker, or of seeds of random_by_clip.
        test_share: share of clips tested, for random_by_clip.
        seeds: one split per seed, for random_by_clip.
    """

    protocol: Literal["leave_one_session_out", "official", "k_fold_by_speaker", "random_by_clip"]
    test_speakers: Literal["F", "M", "both"] = "F"
    folds: PositiveInt = 5
    test_share: Rate = 0.2
    seeds: Seeds = (42, 1, 2, 3, 4)


class FramesMissing(Section):
    """Single steps drop out independently, at each of `rates`, `repeats` times."""

    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    repeats: PositiveInt = 1

    @model_validator(mode="after")
    def _sorted(self) -> "FramesMissing":
        if list(self.rates) != sorted(set(self.rates)):
            raise ValueError(f"found rates {list(self.rates)}, expected ascending ones without repetition")
        return self


class BurstsMissing(FramesMissing):
    """Spans of steps drop out or stay together: a Markov chain whose spans have a mean of `span` steps, at least 1."""

    span: Annotated[float, Field(ge=1.0)] = 5.0


class ModalitiesMissing(Section):
    """Only a named set of modalities is there: t, a, v, ta, tv, av, tav."""

    sets: Annotated[
        tuple[Literal["t", "a", "v", "ta", "tv", "av", "tav"], ...], Field(min_length=1), AfterValidator(_distinct)
    ]


class BernoulliMissing(Section):
    """Whole modalities drop out independently: each condition is (p_text, p_audio, p_vision)."""

    conditions: Annotated[tuple[tuple[Rate, Rate, Rate], ...], Field(min_length=1), AfterValidator(_distinct)]
    repeats: PositiveInt = 1


class AtLeastOneMissing(FramesMissing):
    """Whole modalities drop out independently at a rate, and one chosen at random stays."""


class TestMissing(Section):
    """What is taken away at test time; a pattern that is null is not drawn."""

    __test__ = False

    frames: FramesMissing | None = None
    bursts: BurstsMissing | None = None
    modalities: ModalitiesMissing | None = None
    bernoulli: BernoulliMissing | None = None
    at_least_one: AtLeastOneMissing | None = None

    @model_validator(mode="after")
    def _some(self) -> "TestMissing":
        if not any(value for _, value in self):
            raise ValueError(f"every pattern is null, expected at least one of {', '.join(type(self).model_fields)}")
        return self


class Missing(Section):
    """Missing data of a benchmark. What training drops is a matter of each method's regime."""

    test: TestMissing


class ThreeFeatureSets(Section):
    """The feature set of every modality."""

    text: FeatureSetName
    audio: FeatureSetName
    vision: FeatureSetName


class ThreeLengths(Section):
    """Longest sequence per modality, in steps; longer ones are cut at the end."""

    text: PositiveInt
    audio: PositiveInt
    vision: PositiveInt


class Benchmark(Section):
    """A corpus under one protocol.

    Args:
        corpus: key of `corpora` or `feature_corpora`.
        features: three feature sets of that corpus.
        task: labels.
        folds: protocol.
        seeds: training seeds, or `from_fold` where every fold carries its own.
        max_lengths: where sequences are cut.
        missing: test masks.
    """

    corpus: Name
    features: ThreeFeatureSets
    task: TaskParams
    folds: Folds
    seeds: Seeds | Literal["from_fold"]
    max_lengths: ThreeLengths
    missing: Missing

    @model_validator(mode="after")
    def _seeds_of_folds(self) -> "Benchmark":
        if self.seeds == "from_fold" and self.folds.protocol != "random_by_clip":
            raise ValueError(
                f"seeds is 'from_fold', but the folds of {self.folds.protocol} carry none; write a list of seeds"
            )
        return self


class Training(Section):
    """What all methods of a study share in training; nothing so far, each method's block says its own."""


class Score(Section):
    """What is computed from predictions.

    Args:
        interval: confidence of intervals.
    """

    interval: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95


class Report(Section):
    """What people are shown.

    Args:
        title: of the report.
        primary: the metric of the first table and plot.
    """

    title: str
    primary: Literal["ACC", "UAR", "UF1", "WF1"] = "UAR"


class Params(Section):
    """The whole of params.yaml; the blocks of `methods` are validated by each method's own file."""

    seed: int
    synthetic: dict[Name, Synthetic]
    corpora: dict[Name, Corpus]
    feature_corpora: dict[Name, dict[str, Any]]
    features: dict[Name, FeatureSet]
    benchmarks: dict[Name, Benchmark]
    training: Training
    methods: dict[Name, dict[str, Any]]
    score: Score
    report: Report

    @model_validator(mode="after")
    def _references(self) -> "Params":
        wrong: list[str] = []
        for name, features in self.features.items():
            if features.corpus not in self.corpora:
                wrong.append(_unknown(f"features.{name}.corpus", features.corpus, self.corpora))
            elif features.stream != "text" and features.stream not in self.corpora[features.corpus].decode.streams:
                has = ", ".join(["text", *self.corpora[features.corpus].decode.streams])
                wrong.append(
                    f"features.{name}.stream: found '{features.stream}', but corpora.{features.corpus}.decode.streams "
                    f"gives {has}; add it there or take one of these"
                )
            if (features.stream == "text") != (features.modality == "text") and features.extractor != "absent":
                wrong.append(f"features.{name}.stream: '{features.stream}' does not give {features.modality} features")
        for name, benchmark in self.benchmarks.items():
            wrong += self._benchmark(name, benchmark)
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    def _benchmark(self, name: str, benchmark: Benchmark) -> list[str]:
        where = f"benchmarks.{name}"
        if benchmark.corpus in self.feature_corpora:
            return []
        if benchmark.corpus not in self.corpora:
            return [_unknown(f"{where}.corpus", benchmark.corpus, [*self.corpora, *self.feature_corpora])]
        wrong = []
        for modality, feature_set in benchmark.features:
            key = f"{where}.features.{modality}"
            own = [n for n, f in self.features.items() if f.corpus == benchmark.corpus and f.modality == modality]
            if feature_set not in self.features:
                wrong.append(_unknown(key, feature_set, own))
            elif feature_set not in own:
                other = self.features[feature_set]
                wrong.append(
                    f"{key}: '{feature_set}' is {other.modality} of corpus '{other.corpus}', expected {modality} of "
                    f"'{benchmark.corpus}': one of {', '.join(own) or 'none yet'}"
                )
        return wrong


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: every problem, one a line, each with its place in DVC's grammar.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the root of the checkout") from None
    return parse_params(text, str(path))


def parse_params(text: str, where: str = "params.yaml") -> Params:
    """Check the text of a params.yaml; see `load_params`."""
    try:
        values = YAML(typ="safe", pure=True).load(StringIO(text))
    except YAMLError as error:
        raise ParamsError(f"{where}: not YAML: {' '.join(str(error).partition('To suppress')[0].split())}") from None
    try:
        return Params.model_validate(_tuples(values), strict=True)
    except ValidationError as error:
        raise ParamsError("\n".join(problems(error.errors(), "", Params, where))) from None


def options(model: type[T], values: Mapping[str, Any], where: str) -> T:
    """Validate the options of a corpus or an extractor with its own model.

    Raises:
        ParamsError: every problem, placed under `where`.
    """
    try:
        return model.model_validate(_tuples(dict(values)))
    except ValidationError as error:
        raise ParamsError("\n".join(problems(error.errors(), where, model))) from None


def problems(errors: Iterable[Any], where: str, model: type[BaseModel], file: str = "params.yaml") -> list[str]:
    """Say pydantic's findings in DVC's grammar: `params.yaml: methods.mult.hiden: unknown key, did you mean ...`."""
    internal = ("function-", "tuple[", "literal[", "[key]")
    found = [([str(part) for part in e["loc"] if not str(part).startswith(internal)], e) for e in errors]
    lines: dict[str, list[str]] = {}  # a value that no member of a union admits is one line with several expectations
    for path, error in found:
        at = ": ".join(filter(None, [file, ".".join(filter(None, [where, *path]))]))
        kind, inside = error["type"], [e for p, e in found if e is not error and p[: len(path)] == path]
        if kind == "extra_forbidden":
            lines[f"{at}: unknown key{_suggest(path[-1], _keys(model, error['loc'][:-1]))}"] = []
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


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _unknown(where: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"{where}: no '{name}'{_suggest(name, known)}"


def _suggest(name: str, known: Iterable[str]) -> str:
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
