"""Ready-made studies: checked against code and data before anything is touched, then put in place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import paths
from pipeline.errors import DataError, ParamsError
from pipeline.params import Params, load_params
from pipeline.studies import code_problems, data_problems, stale_artifacts
from stages.check import check
from stages.study import study as put_in_place

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]


@pytest.fixture
def loaded(
    study: dict[str, Any], write_params: Callable[[Any, Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Params]:
    """The tiny study as a test has changed it, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda: load_params(write_params(study, paths.PARAMS))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_fits_the_code(path: Path) -> None:
    assert code_problems(load_params(path), planned=path.name != "params.yaml") == []


def test_the_shipped_params_are_the_study_demo() -> None:
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "studies" / "demo.yaml").read_bytes()


def test_what_each_module_says_of_its_own_block_is_gathered(
    study: dict[str, Any], loaded: Callable[[], Params]
) -> None:
    study["synthetic"] = {"tiny": {"generator": "demo", "options": {"clipps": 3}}, "made": {"generator": "dmo"}}
    study["corpora"]["tiny"]["options"] = {"colour": 1}
    study["features"]["tiny_audio"]["options"] = {"mfcc": {"hopp": 0.1}, "egemaps": {"hop": "x"}}
    study["features"]["tiny_text"]["extractor"] = "minilmm"
    study["methods"] |= {"mctt_hfr": {}}
    study["methods"]["mlp"] |= {"hiden": [3], "variants": {"mean": {"filler": "median"}}}
    lines = code_problems(loaded())
    assert all(line.startswith("params.yaml: ") for line in lines)
    for part in (
        "synthetic.tiny.options.clipps: unknown key, did you mean 'clips'?",
        "'dmo' has no file pipeline/corpora/dmo.py, did you mean 'demo'?",
        "corpora.tiny.options.colour: unknown key",
        "features.tiny_audio.options.mfcc.hopp: unknown key, did you mean 'hop'?",
        'features.tiny_audio.options.egemaps.hop: found "x", expected a number',
        "'minilmm' has no file pipeline/extractors/minilmm.py, did you mean 'minilm'?",
        "'mctt_hfr' has no file pipeline/methods/mctt_hfr.py, did you mean 'mct_hfr'?",
        "methods.mlp.hiden: unknown key, did you mean 'hidden'?",
        "methods.mlp.variants.mean.filler: found \"median\", expected 'zero', 'mean', 'uniform'",
    ):
        assert len([line for line in lines if part in line]) == 1, part
    assert len(lines) == 9


def test_a_corpus_that_is_only_read_cannot_be_generated(study: dict[str, Any], loaded: Callable[[], Params]) -> None:
    study["synthetic"] = {"tiny": {"generator": "ravdess"}}
    (line,) = code_problems(loaded())
    assert line.startswith("params.yaml: synthetic.tiny.generator: 'ravdess' cannot be generated, it is only read")


def test_a_benchmark_needs_a_method(study: dict[str, Any], loaded: Callable[[], Params]) -> None:
    study["methods"] = {}
    assert code_problems(loaded()) == [
        "params.yaml: methods: empty while there are benchmarks; name at least one, majority for example"
    ]
    study["benchmarks"] = {}
    assert code_problems(loaded()) == []


def test_what_one_to_one_is_tested_on_must_be_trained(study: dict[str, Any], loaded: Callable[[], Params]) -> None:
    study["methods"]["mlp"]["variants"] = {"each": {"regime": "one_to_one"}}
    (line,) = code_problems(loaded())
    assert line.startswith("params.yaml: training.rates: empty, but mlp:each trains one_to_one, a model per rate")
    study["training"] = {"rates": [0.0, 0.9]}
    (line,) = code_problems(loaded())
    assert "training.rates: mlp:each trains one_to_one, and benchmarks.tiny tests 0.5 as well" in line
    study["training"] = {"rates": [0.0, 0.5, 0.9]}
    assert code_problems(loaded()) == []


def test_a_corpus_that_is_missing_or_empty_is_named_and_one_to_be_generated_is_not(
    study: dict[str, Any], loaded: Callable[[], Params]
) -> None:
    (line,) = data_problems(loaded())
    assert line.startswith("data/raw/tiny: not there or empty; put the corpus 'demo' there as its owner ships it")
    paths.raw("tiny").mkdir(parents=True)
    assert len(data_problems(loaded())) == 1
    (paths.raw("tiny") / "clip.mp4").touch()
    assert data_problems(loaded()) == []
    study["synthetic"] = {"tiny": {"generator": "demo"}}
    (paths.raw("tiny") / "clip.mp4").unlink()
    assert data_problems(loaded()) == []


def test_weights_that_are_missing_are_named_unless_they_are_random(
    study: dict[str, Any], loaded: Callable[[], Params]
) -> None:
    study["synthetic"] = {"tiny": {"generator": "demo"}}
    study["features"]["tiny_text"] |= {"extractor": "bert", "weights": "weights/bert"}
    study["features"]["tiny_audio"] |= {"extractor": "wav2vec2", "weights": "random"}
    assert code_problems(loaded()) == []
    (line,) = data_problems(loaded())
    assert line.startswith("weights/bert: no config.json, expected bert-base-uncased (params.yaml: features.tiny_text")


def test_what_an_extractor_cannot_do_with_its_stream_or_weights_is_said_before_anything_runs(
    study: dict[str, Any], loaded: Callable[[], Params]
) -> None:
    study["features"]["tiny_text"]["extractor"] = "bert"
    study["features"]["tiny_audio"] |= {"extractor": "mfcc", "weights": "somewhere"}
    study["features"]["tiny_vision"]["extractor"] = "slowfast"
    study["corpora"]["tiny"]["decode"]["streams"] = ["audio", "faces"]
    lines = code_problems(loaded())
    for part in (
        "features.tiny_text.weights: found null, expected where bert-base-uncased is; get it from https://",
        "features.tiny_audio.weights: extractor 'mfcc' has none, expected weights and weights_sha256 to be null",
        "features.tiny_vision.stream: found 'faces', expected 'frames', which extractor 'slowfast' reads",
        "features.tiny_vision.weights: found null, expected where",
    ):
        assert len([line for line in lines if part in line]) == 1, part
    assert len(lines) == 4


def test_artifacts_that_are_no_longer_in_the_graph_are_found(loaded: Callable[[], Params]) -> None:
    kept = [
        paths.predictions("tiny", "mlp"), paths.scores("tiny"), paths.curves("tiny"), paths.costs("tiny", "majority"),
        paths.evaluation_costs("tiny", "mlp"),
        Path("metrics/scores/.gitkeep"),
    ]  # fmt: skip
    stale = [
        paths.predictions("tiny", "gone"), paths.predictions("old", "mlp"), paths.scores("old"), paths.curves("old"),
        paths.costs("tiny", "gone"), paths.evaluation_costs("tiny", "gone"),
    ]  # fmt: skip
    assert stale_artifacts(loaded()) == []
    for path in [*kept, *stale]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert stale_artifacts(loaded()) == sorted(stale)


@pytest.fixture
def shelf(study: dict[str, Any], write_params: Callable[[Any, Path], Path], loaded: Callable[[], Params]) -> Path:
    """A working folder with params.yaml and two studies: `good` is complete, `bad` is not."""
    loaded()
    paths.STUDIES.mkdir()
    study["report"]["title"] = "Another study"
    study["synthetic"] = {"tiny": {"generator": "demo"}}
    write_params(study, paths.STUDIES / "good.yaml")
    study["methods"]["mlp"]["hiden"] = 3
    study["synthetic"] = {}
    write_params(study, paths.STUDIES / "bad.yaml")
    return paths.STUDIES


def test_a_complete_study_becomes_params_and_stale_artifacts_go(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = paths.scores("old")
    old.parent.mkdir(parents=True)
    old.touch()
    put_in_place("good")
    assert paths.PARAMS.read_bytes() == (shelf / "good.yaml").read_bytes()
    assert not old.exists()
    assert "params.yaml is now the study 'good'" in capsys.readouterr().out


def test_an_incomplete_study_says_all_that_is_missing_and_changes_nothing(shelf: Path) -> None:
    before = paths.PARAMS.read_bytes()
    with pytest.raises(DataError) as caught:
        put_in_place("bad")
    first, *rest = str(caught.value).splitlines()
    assert first == "bad: not complete, params.yaml stays as it is:"
    assert [line.split(": ")[:2] for line in rest] == [
        ["studies/bad.yaml", "methods.mlp.hiden"],
        ["data/raw/tiny", "not there or empty; put the corpus 'demo' there as its owner ships it, a symbolic link will "
         "do (docs/corpora.md says how to get it)"],
    ]  # fmt: skip
    assert paths.PARAMS.read_bytes() == before


def test_an_unknown_study_is_refused_with_those_there_are(shelf: Path) -> None:
    with pytest.raises(ParamsError, match=r"studies/great\.yaml: no such study, expected one of bad, good"):
        put_in_place("great")


def test_check_names_the_file_of_every_problem(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shelf / "broken.yaml").write_text(json.dumps({"seed": 1}))
    with pytest.raises(ParamsError) as caught:
        check()
    files = {line.split(": ")[0] for line in str(caught.value).splitlines()[1:]}
    assert files == {"studies/bad.yaml", "studies/broken.yaml"}
    (shelf / "broken.yaml").unlink()
    (shelf / "bad.yaml").unlink()
    check()
    assert capsys.readouterr().out == "params: ok\n"
