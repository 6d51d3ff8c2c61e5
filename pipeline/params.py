"""params.yaml: the only configuration, read whole and checked whole, every problem printed at once."""

from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError
from pipeline.paths import PARAMS
from pipeline.problems import problems, unknown
from pipeline.schema import (
    Benchmark,
    Corpus,
    FeatureCorpus,
    FeatureSet,
    Report,
    Score,
    Synthetic,
    Training,
)
from pipeline.section import Name, Section, tuples


class Params(Section):
    """The whole of params.yaml; the blocks of `methods` are validated by each method's own file."""

    seed: int
    synthetic: dict[Name, Synthetic]
    corpora: dict[Name, Corpus]
    feature_corpora: dict[Name, FeatureCorpus]
    features: dict[Name, FeatureSet]
    benchmarks: dict[Name, Benchmark]
    training: Training
    methods: dict[Name, dict[str, Any]]
    score: Score
    report: Report

    @model_validator(mode="after")
    def _references(self) -> "Params":
        wrong = [
            f"feature_corpora.{name}: corpora has the same name, expected names that differ"
            for name in self.feature_corpora
            if name in self.corpora
        ]
        for name, features in self.features.items():
            if features.corpus not in self.corpora:
                wrong.append(unknown(f"features.{name}.corpus", features.corpus, self.corpora))
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
        for key in ("published", "beware"):
            strangers = getattr(self.report, key).keys() - self.benchmarks
            wrong += [unknown(f"report.{key}", name, self.benchmarks) for name in sorted(strangers)]
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    def _benchmark(self, name: str, benchmark: Benchmark) -> list[str]:
        where = f"benchmarks.{name}"
        if benchmark.corpus in self.feature_corpora:
            return [
                f"{where}.features.{modality}: found '{found}', expected '{benchmark.corpus}/{modality}', which the "
                "feature corpus brings"
                for modality, found in benchmark.features
                if found != f"{benchmark.corpus}/{modality}"
            ]
        if benchmark.corpus not in self.corpora:
            return [unknown(f"{where}.corpus", benchmark.corpus, [*self.corpora, *self.feature_corpora])]
        wrong = []
        for modality, feature_set in benchmark.features:
            key = f"{where}.features.{modality}"
            own = [n for n, f in self.features.items() if f.corpus == benchmark.corpus and f.modality == modality]
            if feature_set not in self.features:
                wrong.append(unknown(key, feature_set, own))
            elif feature_set not in own:
                other = self.features[feature_set]
                wrong.append(
                    f"{key}: '{feature_set}' is {other.modality} of corpus '{other.corpus}', expected {modality} of "
                    f"'{benchmark.corpus}': one of {', '.join(own) or 'none yet'}"
                )
        return wrong


def load_params(path: Path = PARAMS, **wanted: str) -> Params:
    """Read and check params.yaml.

    Args:
        path: of the file.
        wanted: by section, the name that the caller is going to look up there.

    Raises:
        ParamsError: every problem, one a line, each with its place in DVC's grammar.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the root of the checkout") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    params = parse_params(text, str(path))
    for section, name in wanted.items():
        if name not in (known := getattr(params, section)):
            raise ParamsError(f"{path}: {unknown(section, name, known)}")
    return params


def read_sections(path: Path) -> dict[str, Any]:
    """The sections of a params.yaml as they stand, unchecked; empty where the file cannot be read."""
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError):
        return {}
    return tuples(found) if isinstance(found, dict) else {}


def parse_params(text: str, where: str = "params.yaml") -> Params:
    """Check the text of a params.yaml; see `load_params`."""
    try:
        values = YAML(typ="safe", pure=True).load(StringIO(text))
    except YAMLError as error:
        raise ParamsError(f"{where}: not YAML: {' '.join(str(error).partition('To suppress')[0].split())}") from None
    try:
        return Params.model_validate(tuples(values), strict=True)
    except ValidationError as error:
        raise ParamsError("\n".join(problems(error.errors(), "", Params, where))) from None
