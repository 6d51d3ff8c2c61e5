"""params.yaml: what is wrong is said in DVC's grammar, all at once, with what would be right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import Params, load_params, parse_params
from pipeline.problems import shown
from pipeline.section import options

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
MISSING = "benchmarks.tiny.missing.test"


@pytest.fixture
def findings(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> Callable[[dict[str, Any]], list[str]]:
    """What is wrong with the tiny study after some changes (dotted place -> value)."""

    def find(changes: dict[str, Any]) -> list[str]:
        for place, value in changes.items():
            *above, key = place.split(".")
            part = study
            for name in above:
                part = part[name]
            part[key] = value
        with pytest.raises(ParamsError) as caught:
            parse_params(write_params(study, tmp_path / "p.yaml").read_text())
        return str(caught.value).splitlines()

    return find


def test_the_tiny_study_of_these_tests_is_valid(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    params = load_params(write_params(study, tmp_path / "p.yaml"))
    assert params.benchmarks["tiny"].seeds == (1, 2)
    assert params.features["tiny_text"].weights is None


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "studies").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_every_shipped_study_is_valid(path: Path) -> None:
    assert load_params(path).seed


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("sead", 1, "sead: unknown key, did you mean 'seed'?"),
        ("score.intervall", 0.9, "score.intervall: unknown key, did you mean 'interval'?"),
        ("features.tiny_text.exractor", "x", "features.tiny_text.exractor: unknown key, did you mean 'extractor'?"),
        (
            "corpora.tiny.decode.face_hzz",
            5.0,
            "corpora.tiny.decode.face_hzz: unknown key, did you mean 'face_hz'?",
        ),
        (f"{MISSING}.frames.rate", [0.1], f"{MISSING}.frames.rate: unknown key, did you mean 'rates'?"),
        ("training.q", 1, "training.q: unknown key, expected one of rates"),
        (
            "benchmarks.tiny.max_lengths.zzz",
            1,
            "benchmarks.tiny.max_lengths.zzz: unknown key, expected one of audio, text, vision",
        ),
    ],
)
def test_an_unknown_key_at_any_depth_is_refused_with_the_nearest_known_one(
    findings: Callable[[dict[str, Any]], list[str]], place: str, value: Any, expected: str
) -> None:
    assert findings({place: value}) == [f"params.yaml: {expected}"]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("seed", True, "found true, expected a whole number"),
        ("seed", "3", 'found "3", expected a whole number'),
        ("seed", 3.5, "found 3.5, expected a whole number"),
        ("seed", None, "found null, expected a whole number"),
        ("corpora.tiny.decode.face_hz", "5", 'found "5", expected a number'),
        ("corpora.tiny.decode.face_hz", float("inf"), "found Infinity, expected a finite number"),
        ("corpora.tiny.decode.streams", "audio", 'found "audio", expected a list'),
        ("corpora.tiny.decode.face", "detct", "found \"detct\", expected 'detect' or 'whole_frame'"),
        ("corpora.tiny.decode.face", ["detect"], "found [\"detect\"], expected 'detect' or 'whole_frame'"),
        ("corpora.tiny.options", 3, "found 3, expected a mapping"),
        ("corpora.tiny", [1, 2], "found [1, 2], expected a mapping"),
        ("corpora.tiny.decode", {"face_hz": {}, "streams": ["audio"] * 20}, "face_hz: found {}, expected a number"),
        ("methods.mlp", None, "found null, expected a mapping"),
        ("benchmarks.tiny.seeds", 3, "found 3, expected a list or 'from_fold'"),
        ("benchmarks.tiny.seeds", "from_flod", "found \"from_flod\", expected a list or 'from_fold'"),
        ("benchmarks.tiny.seeds", [], "found [], expected 1 or more of them"),
        ("benchmarks.tiny.seeds", [4, 4], "found 4 twice, expected no repetition"),
        ("benchmarks.tiny.max_lengths.text", 0, "found 0, expected a value greater than 0"),
        ("benchmarks.tiny.task.labels", {"happy": 3}, "happy: found 3, expected text"),
        ("benchmarks.tiny.task.labels", {4: "joy"}, "4: found 4, expected text"),
        ("score.interval", 1, "found 1, expected a value less than 1"),
        ("report.title", ["x" * 80], "found a list, expected text"),
        ("report.title", {"x": "x" * 80}, "found a mapping, expected text"),
        ("score.interval", "x" * 80, "found a long text, expected a number"),
        (f"{MISSING}.frames.rates", 0.5, "found 0.5, expected a list"),
        (f"{MISSING}.frames.rates", [], "found [], expected 1 or more of them"),
        (f"{MISSING}.frames.repeats", 0, "found 0, expected a value greater than 0"),
        (f"{MISSING}.modalities.sets", ["t", "t"], 'found "t" twice, expected no repetition'),
        (
            f"{MISSING}.bursts",
            {"rates": [0.1], "span": 0.5},
            "span: found 0.5, expected a value greater than or equal to 1",
        ),
        (
            f"{MISSING}.bernoulli",
            {"conditions": [[0.1] * 4]},
            "conditions.0: found [0.1, 0.1, 0.1, 0.1], expected 3 values",
        ),
        (f"{MISSING}.bernoulli", {"conditions": [[0.1] * 2]}, "conditions.0.2: missing, expected one more value"),
        (
            f"{MISSING}.bernoulli",
            {"conditions": [[0.1] * 3] * 2},
            "conditions: found [0.1, 0.1, 0.1] twice, expected no repetition",
        ),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused_with_what_was_found_and_expected(
    findings: Callable[[dict[str, Any]], list[str]], place: str, value: Any, expected: str
) -> None:
    (line,) = findings({place: value})
    assert line.startswith(f"params.yaml: {place}")
    assert line.endswith(expected)


def test_an_element_of_a_list_is_named_by_its_place(findings: Callable[[dict[str, Any]], list[str]]) -> None:
    assert findings({"benchmarks.tiny.seeds": [1, "a", True]}) == [
        'params.yaml: benchmarks.tiny.seeds.1: found "a", expected a whole number',
        "params.yaml: benchmarks.tiny.seeds.2: found true, expected a whole number",
    ]


def test_a_missing_key_is_named(study: dict[str, Any], findings: Callable[[dict[str, Any]], list[str]]) -> None:
    del study["report"]["title"]
    del study["feature_corpora"]
    assert sorted(findings({})) == [
        "params.yaml: feature_corpora: missing, expected a value; write the key out",
        "params.yaml: report.title: missing, expected a value; write the key out",
    ]


def test_all_problems_are_said_at_once(findings: Callable[[dict[str, Any]], list[str]]) -> None:
    lines = findings(
        {
            "seed": "x",
            "score.interval": 2.0,
            "features.tiny_text.strem": "text",
            "benchmarks.tiny.folds.protocol": "none",
            f"{MISSING}.frames.rates": [1.5, -1.0],
        }
    )
    places = [line.split(": ")[1] for line in lines]
    assert sorted(places) == [
        "benchmarks.tiny.folds.protocol",
        f"{MISSING}.frames.rates.0",
        f"{MISSING}.frames.rates.1",
        "features.tiny_text.strem",
        "score.interval",
        "seed",
    ]


@pytest.mark.parametrize("pattern", ["frames", "bursts", "at_least_one"])
def test_a_rate_outside_0_and_1_is_refused(findings: Callable[[dict[str, Any]], list[str]], pattern: str) -> None:
    lines = findings({f"{MISSING}.{pattern}": {"rates": [-0.1, 0.5, 1.01]}})
    assert lines == [
        f"params.yaml: {MISSING}.{pattern}.rates.0: found -0.1, expected a value greater than or equal to 0",
        f"params.yaml: {MISSING}.{pattern}.rates.2: found 1.01, expected a value less than or equal to 1",
    ]


@pytest.mark.parametrize("rates", [[0.2, 0.1], [0.1, 0.1]])
def test_an_unsorted_or_repeated_grid_is_refused(
    findings: Callable[[dict[str, Any]], list[str]], rates: list[float]
) -> None:
    (line,) = findings({f"{MISSING}.frames.rates": rates})
    assert line == f"params.yaml: {MISSING}.frames: found rates {rates}, expected ascending ones without repetition"


def test_a_benchmark_without_any_pattern_is_refused(findings: Callable[[dict[str, Any]], list[str]]) -> None:
    (line,) = findings({MISSING: {"frames": None}})
    assert line.startswith(f"params.yaml: {MISSING}: every pattern is null, expected at least one of frames, bursts")


@pytest.mark.parametrize("name", ["Bad", "bad-name", "1st", "dot.ted", ""])
@pytest.mark.parametrize("section", ["methods", "synthetic", "benchmarks"])
def test_a_name_that_dvc_cannot_carry_is_refused(
    study: dict[str, Any], findings: Callable[[dict[str, Any]], list[str]], section: str, name: str
) -> None:
    study[section] = {name: dict(next(iter(study[section].values()), {}))}
    (line,) = findings({})
    assert line.endswith("expected a name of small letters, digits and _ that begins with a letter")


def test_a_benchmark_cannot_name_a_feature_set_of_another_corpus(
    study: dict[str, Any], findings: Callable[[dict[str, Any]], list[str]]
) -> None:
    study["corpora"]["other"] = dict(study["corpora"]["tiny"])
    study["features"]["other_text"] = {**study["features"]["tiny_text"], "corpus": "other"}
    assert findings({"benchmarks.tiny.features.text": "other_text"}) == [
        "params.yaml: benchmarks.tiny.features.text: 'other_text' is text of corpus 'other', expected text of 'tiny': "
        "one of tiny_text"
    ]


def test_a_benchmark_cannot_name_a_feature_set_of_another_modality(
    findings: Callable[[dict[str, Any]], list[str]],
) -> None:
    assert findings({"benchmarks.tiny.features.text": "tiny_audio"}) == [
        "params.yaml: benchmarks.tiny.features.text: 'tiny_audio' is audio of corpus 'tiny', expected text of 'tiny': "
        "one of tiny_text"
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"benchmarks.tiny.corpus": "tinny"}, "benchmarks.tiny.corpus: no 'tinny', did you mean 'tiny'?"),
        (
            {"benchmarks.tiny.features.audio": "tiny_audi"},
            "benchmarks.tiny.features.audio: no 'tiny_audi', did you mean 'tiny_audio'?",
        ),
        (
            {"features.tiny_audio.corpus": "zzz", "benchmarks": {}},
            "features.tiny_audio.corpus: no 'zzz', expected one of tiny",
        ),
        ({"features.tiny_text.stream": "audio"}, "features.tiny_text.stream: 'audio' does not give text features"),
        ({"features.tiny_audio.stream": "text"}, "features.tiny_audio.stream: 'text' does not give audio features"),
        (
            {"features.tiny_vision.stream": "frames"},
            "features.tiny_vision.stream: found 'frames', but corpora.tiny.decode.streams gives text, audio, faces; "
            "add it there or take one of these",
        ),
        (
            {"benchmarks.tiny.seeds": "from_fold"},
            "benchmarks.tiny: seeds is 'from_fold', but the folds of leave_one_session_out carry none; "
            "write a list of seeds",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(
    findings: Callable[[dict[str, Any]], list[str]], changes: dict[str, Any], expected: str
) -> None:
    assert findings(changes) == [f"params.yaml: {expected}"]


def test_a_feature_corpus_brings_its_own_feature_sets(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    study["feature_corpora"] = {"mosi": {"importer": "mosi_utterance", "raw": "mosi"}}
    study["benchmarks"]["tiny"] |= {"corpus": "mosi", "features": {m: f"mosi/{m}" for m in ("text", "audio", "vision")}}
    assert load_params(write_params(study, tmp_path / "p.yaml")).benchmarks["tiny"].features.audio == "mosi/audio"
    study["benchmarks"]["tiny"]["features"]["audio"] = "tiny_audio"
    study["feature_corpora"]["tiny"] = {"importer": "mosi_utterance", "raw": "mosi"}
    with pytest.raises(ParamsError) as caught:
        load_params(write_params(study, tmp_path / "p.yaml"))
    assert "features.audio: found 'tiny_audio', expected 'mosi/audio'" in str(caught.value)
    assert "feature_corpora.tiny: corpora has the same name" in str(caught.value)


def test_an_absent_modality_may_read_any_stream(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    study["features"]["tiny_vision"] |= {"stream": "text", "extractor": "absent"}
    assert load_params(write_params(study, tmp_path / "p.yaml")).features["tiny_vision"].stream == "text"


def test_numbers_are_read_as_yaml_1_2_does(study: dict[str, Any], tmp_path: Path) -> None:
    study["methods"]["mlp"]["learning_rate"] = "@"
    YAML(typ="safe").dump(study, tmp_path / "p.yaml")
    text = (tmp_path / "p.yaml").read_text().replace("'@'", "1e-05") + "\n"
    assert parse_params(text).methods["mlp"]["learning_rate"] == 1e-05


def test_a_whole_number_does_for_a_float_and_lists_become_tuples(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    study["corpora"]["tiny"]["decode"]["face_hz"] = 5
    params = load_params(write_params(study, tmp_path / "p.yaml"))
    assert params.corpora["tiny"].decode.face_hz == 5.0
    assert params.methods["mlp"]["hidden"] == (4,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "params.yaml: found null, expected a mapping"),
        ("[1]", "params.yaml: found [1], expected a mapping"),
        ("a: [", "params.yaml: not YAML: while parsing"),
        ("a: 1\na: 2", 'params.yaml: not YAML: while constructing a mapping in "<file>", line 1'),
    ],
)
def test_what_is_no_mapping_is_refused_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(text)
    assert str(caught.value).startswith(expected)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nothing\.yaml: no such file; run from the root"):
        load_params(tmp_path / "nothing.yaml")


def test_params_cannot_be_changed_afterwards(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    params = load_params(write_params(study, tmp_path / "p.yaml"))
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 3  # type: ignore[misc]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hop: float = 0.1
    widths: tuple[int, ...] = ()


def test_options_of_a_module_are_checked_under_their_place() -> None:
    assert options(_Options, {"hop": 1, "widths": [3]}, "features.x.options.y") == _Options(hop=1.0, widths=(3,))
    with pytest.raises(ParamsError) as caught:
        options(_Options, {"hopp": 1.0, "widths": [True]}, "features.x.options.y")
    assert str(caught.value).splitlines() == [
        "params.yaml: features.x.options.y.widths.0: found true, expected a whole number",
        "params.yaml: features.x.options.y.hopp: unknown key, did you mean 'hop'?",
    ]


def test_values_are_shown_as_they_are_written() -> None:
    assert [shown(value) for value in (None, True, "é", (1, 2.5), {"a": None})] == [
        "null", "true", '"é"', "[1, 2.5]", '{"a": null}',
    ]  # fmt: skip


def test_every_section_of_params_must_be_written_out() -> None:
    assert all(info.is_required() for info in Params.model_fields.values())
