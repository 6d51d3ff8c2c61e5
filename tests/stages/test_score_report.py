"""Stages score, report and costs on a small study in a temporary folder."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cli
from pipeline.data.predictions import write_predictions
from pipeline.errors import DataError
from pipeline.files import read_csv, write_csv, write_json
from stages.costs import costs
from stages.report import report
from stages.score import score

LABELS = ["anger", "calm", "joy"]
SETS = ("t", "a", "v", "ta", "tv", "av", "tav")
RATES = ["0.0", "0.3", "0.6", "0.9"]
PARAMS = """
seed: 1
synthetic: {{}}
corpora: {{c: {{reader: demo}}}}
feature_corpora: {{}}
features:
  t: {{corpus: c, modality: text, stream: text, extractor: minilm}}
  a: {{corpus: c, modality: audio, stream: audio, extractor: mfcc}}
  v: {{corpus: c, modality: vision, stream: faces, extractor: hog_face}}
benchmarks: {benchmarks}
training: {{}}
methods: {methods}
score: {{interval: 0.9}}
report: {{title: A small study, primary: WF1}}
"""
BENCHMARK = """
  b:
    corpus: c
    features: {text: t, audio: a, vision: v}
    task: {labels: {anger: anger, calm: calm, joy: joy}}
    folds: {protocol: leave_one_session_out}
    seeds: [1, 2]
    max_lengths: {text: 5, audio: 5, vision: 5}
    missing: {test: {frames: {rates: [0.0, 0.3, 0.6, 0.9]}}}
"""
ARTIFACTS = ("scores/b.json", "curves/b.csv", "auilc.json", "report.md", "report.html")
EXTRACTION = {
    "extractor": "mfcc",
    "clips": 1300,
    "hours": 0.5,
    "seconds": 4.0,
    "workers": 2,
    "device": "cpu",
    "precision": None,
    "batch": None,
    "absent": 3,
    "quarantined": 1,
}
UTTERANCES = [f"u{i:02d}" for i in range(12)]
LABEL = {utt_id: i % 3 for i, utt_id in enumerate(UTTERANCES)}
TEST = {"one": UTTERANCES[:6], "two": UTTERANCES[6:]}


def write_params(benchmarks: str = BENCHMARK, methods: str = "{majority: {}, mlp: {}}") -> None:
    Path("params.yaml").write_text(PARAMS.format(benchmarks=benchmarks, methods=methods))


def write_benchmark() -> None:
    folder = Path("data/benchmarks/b")
    rows = [
        {"utt_id": u, "label": LABELS[LABEL[u]], "label_index": LABEL[u], "speaker": f"s{i % 4}", "duration": 3.0}
        | {"absent_text": int(i == 0), "absent_audio": 0, "absent_vision": int(i < 2)}
        | {f"planted_{name}": LABELS[LABEL[u] if "t" in name else 0] for name in SETS}
        for i, u in enumerate(UTTERANCES)
    ]
    write_csv(folder / "labels.csv", list(rows[0]), rows)
    features = {m: {"feature_set": m[0], "extractor": "x", "options": {}} for m in ("text", "audio", "vision")}
    task = {"kind": "classification", "labels": LABELS, "max_lengths": {"text": 5, "audio": 5, "vision": 5}}
    counts = {"manifest": 13, "used": 12, "quarantined": 1, "label_left_out": 0}
    write_json(folder / "task.json", {**task, "synthetic": True, "corpus": "c", "features": features, "counts": counts})
    other = {"one": "two", "two": "one"}
    folds = [{"name": f, "seed": None, "train": TEST[other[f]], "valid": [], "test": TEST[f]} for f in TEST]
    facts = {"protocol": "leave_one_session_out", "speaker_independent": True, "note": ""}
    write_json(folder / "folds.json", {**facts, "folds": folds})


def write_method(
    method: str, tests: dict[str, list[str]] = TEST, labels: dict[str, int] = LABEL, seed: int = 0
) -> None:
    random = np.random.default_rng(seed)
    with write_predictions(Path(f"data/predictions/b/{method}.h5")) as writer:
        for fold, ids in tests.items():
            writer.fold(fold, ids, np.array([labels.get(u, 0) for u in ids]))
        writer.row(method, parameters=10, macs=20, regime="complete", params={})
        writer.not_applicable(f"{method}:raw", "it needs raw waveforms")
        for fold, ids in tests.items():
            for number in (1, 2):
                scores = random.dirichlet(np.ones(3), (4, 2, len(ids)))
                if method == "majority":
                    scores[:] = [1, 0, 0]
                writer.add(method, fold, number, "frames", RATES, scores)
    cost = {
        "trained_with": None,
        "seconds": 3.0,
        "filler_seconds": 0.0,
        "peak_memory_mib": 100.0,
        "models": 4,
        "epochs": 40,
        "workers": 2,
        "device": "cpu",
    }
    write_json(Path(f"metrics/costs/b/{method}.json"), {"rows": {method: cost}})
    write_json(Path(f"data/reconstructions/b/{method}.json"), {})


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params()
    write_benchmark()
    for method in ("mlp", "majority"):
        write_method(method)
    for name in ("t", "a", "v"):
        write_json(Path(f"metrics/costs/{name}.json"), EXTRACTION | ({"hours": None} if name == "t" else {}))
    return tmp_path


def read(path: str) -> Any:
    return json.loads(Path(path).read_text())


def test_a_study_is_scored_and_reported(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score("b")
    report()
    scores = read("metrics/scores/b.json")
    assert [row["row"] for row in scores["rows"]] == ["majority", "majority:raw", "mlp", "mlp:raw"]
    assert scores["confidence"] == 0.9
    assert scores["counts"]["tested"] == 12
    assert scores["classes"] == {"anger": 4, "calm": 4, "joy": 4}
    assert scores["absent"] == {"text": 1, "audio": 0, "vision": 2}
    assert (scores["speakers"], scores["hours"]) == (4, 0.01)
    assert scores["planted_optimum"]["tav"]["ACC"]["mean"] == 1.0
    assert scores["planted_optimum"]["av"]["UAR"]["mean"] == pytest.approx(1 / 3, abs=1e-6)
    majority = scores["rows"][0]
    assert majority["degenerate"]["frames"] == dict.fromkeys(RATES, 1.0)
    assert majority["auilc"]["frames"]["metrics"]["ACC"]["area"]["mean"] == pytest.approx(0.3)
    assert majority["auilc"]["frames"]["metrics"]["WF1"]["height"]["mean"] == pytest.approx(2 / 9 / (4 / 3), abs=1e-6)
    assert scores["rows"][1]["not_applicable"] == "it needs raw waveforms"
    curves = read_csv(Path("metrics/curves/b.csv"))
    assert [(line["row"], line["rate"]) for line in curves] == [
        (r, rate) for r in ("majority", "mlp") for rate in RATES
    ]
    assert read("metrics/auilc.json")["b"]["majority"]["UAR"] == pytest.approx(0.3)
    assert set(read("metrics/auilc.json")["b"]) == {"majority", "mlp"}
    printed = capsys.readouterr().out
    assert "Synthetic corpus" in printed.replace("\n", " ")
    assert "metrics/report.html" in printed
    assert "A small study" in Path("metrics/report.html").read_text()


def test_a_regression_is_scored_and_reported_beside_a_classification(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {utt_id: 1.0 + i % 5 for i, utt_id in enumerate(UTTERANCES)}
    rows = read_csv(Path("data/benchmarks/b/labels.csv"))
    kept = [c for c in rows[0] if not c.startswith("planted_") and c != "label_index"]
    lines = [{name: row[name] for name in kept} | {"value": values[row["utt_id"]]} for row in rows]
    write_csv(Path("data/benchmarks/r/labels.csv"), [*kept, "value"], lines)
    task = read("data/benchmarks/b/task.json")
    write_json(Path("data/benchmarks/r/task.json"), task | {"kind": "regression", "labels": [], "positive_from": 3.0})
    write_json(Path("data/benchmarks/r/folds.json"), read("data/benchmarks/b/folds.json"))
    random = np.random.default_rng(0)
    for method, noise in (("mlp", 0.5), ("majority", 0.0)):
        with write_predictions(Path(f"data/predictions/r/{method}.h5")) as writer:
            for fold, ids in TEST.items():
                writer.fold(fold, ids, np.float32([values[u] for u in ids]))
            writer.row(method, parameters=1, macs=1, regime="complete", params={}, models=4, epochs=7)
            for fold, ids in TEST.items():
                true = np.array([values[u] for u in ids])
                for seed in (1, 2):
                    guess = (
                        true + random.normal(size=(4, 2, len(ids))) * noise if noise else np.full((4, 2, len(ids)), 3.3)
                    )
                    writer.add(method, fold, seed, "frames", RATES, guess[..., None])
        write_json(Path(f"metrics/costs/r/{method}.json"), read(f"metrics/costs/b/{method}.json"))
        write_json(Path(f"data/reconstructions/r/{method}.json"), {})
    write_params(BENCHMARK + BENCHMARK.replace("  b:", "  r:"))
    for benchmark in ("b", "r"):
        score(benchmark)
    report()
    costs()
    scores = read("metrics/scores/r.json")
    assert (scores["kind"], scores["main"], scores["classes"]) == ("regression", "MAE", {})
    assert scores["values"]["positive"] == 0.5
    majority, mlp = scores["rows"]
    assert majority["degenerate"]["frames"] == dict.fromkeys(RATES, 1.0)
    assert majority["auilc"]["frames"]["metrics"]["Corr"]["area"]["mean"] == 0
    assert mlp["auilc"]["frames"]["metrics"]["MAE"]["area"]["mean"] < 0.5
    assert set(read("metrics/auilc.json")["r"]["mlp"]) == {"MAE", "Corr", "ACC2", "F1", "ACC2_non0", "F1_non0"}
    assert read_csv(Path("metrics/curves/r.csv"))[0].keys() >= {"row", "rate", "MAE", "MAE_low", "F1_non0_high"}
    assert list(read_csv(Path("metrics/curves/r.csv"))[0])[-1] == "MAE"
    markdown = Path("metrics/report.md").read_text()
    assert "- Values: 1 to 5, mean 2.750" in markdown
    assert "MAE (lower is better) on r over missing rates" in markdown
    assert "majority is degenerate" not in markdown, "the floor is constant by design"
    order = markdown[markdown.index("## Benchmark r") :]
    assert order.index("| mlp |") < order.index("| majority |"), "the smaller error comes first"
    assert "Calibration on b" in markdown
    assert "Calibration on r" not in markdown
    assert "AUILC (MAE)" in Path("metrics/costs.md").read_text()
    assert "less is better" in capsys.readouterr().out.replace("\n", " ")


def test_a_second_run_gives_the_same_bytes(study: Path) -> None:
    def run() -> dict[str, bytes]:
        score("b")
        report()
        return {name: Path("metrics", name).read_bytes() for name in ARTIFACTS}

    first = run()
    for name in ARTIFACTS:
        Path("metrics", name).unlink()
    write_params(methods="{mlp: {}, majority: {}}")  # the order of a mapping means nothing
    assert run() == first


def test_costs_do_not_reach_the_report(study: Path) -> None:
    score("b")
    report()
    evaluated = {"seconds": 1.25, "peak_memory_mib": 321.0, "device": "cpu", "workers": 2}
    write_json(Path("metrics/costs/b/majority.evaluate.json"), {"rows": {"majority": evaluated}})
    costs()
    before = Path("metrics/report.html").read_bytes()
    area = 100 * read("metrics/auilc.json")["b"]["mlp"]["WF1"]
    assert f"| mlp | {area:.2f} | 3.0 | 0.75 | 100 | 4 | 40 | 2 | cpu | – | – |" in Path("metrics/costs.md").read_text()
    assert (
        "| majority | 15.00 | 3.0 | 0.75 | 100 | 4 | 40 | 2 | cpu | 1.2 | 321 |" in Path("metrics/costs.md").read_text()
    )
    assert (
        "| a | mfcc | 1,300 | 0.500 | 4.0 | 325.0 | 450 | 3 | 1 | 2 | cpu | – | – |"
        in Path("metrics/costs.md").read_text()
    )
    assert "| t | mfcc | 1,300 | – | 4.0 | 325.0 | – |" in Path("metrics/costs.md").read_text()
    assert 'href="report.html"' in Path("metrics/costs.html").read_text()
    changed = read("metrics/costs/b/mlp.json")
    changed["rows"]["mlp"]["seconds"] = 99.0
    write_json(Path("metrics/costs/b/mlp.json"), changed)
    costs()
    report()
    assert f"| mlp | {area:.2f} | 99.0 |" in Path("metrics/costs.md").read_text()
    assert Path("metrics/report.html").read_bytes() == before


def test_fitting_fillers_has_a_column_where_any_row_did(study: Path) -> None:
    score("b")
    costs()
    assert "fitting fillers" not in Path("metrics/costs.md").read_text()
    changed = read("metrics/costs/b/mlp.json")
    changed["rows"]["mlp"]["filler_seconds"] = 7.25
    write_json(Path("metrics/costs/b/mlp.json"), changed)
    costs()
    page = Path("metrics/costs.md").read_text()
    assert "| device | fitting fillers (s) | evaluation (s) |" in page
    assert "| 40 | 2 | cpu | 7.2 | – | – |" in page
    assert "| majority | 15.00 | 3.0 | 0.75 | 100 | 4 | 40 | 2 | cpu | – | – | – |" in page


def filled_runs(kind: str) -> list[dict[str, Any]]:
    """What evaluate writes of two folds and two seeds for a filler of audio and vision; the last run has none."""
    random = np.random.default_rng(0)
    real = random.normal(size=(6, 2)).round(3).tolist()
    drawn = random.normal(size=(6, 2)).round(3).tolist() if kind == "drawn" else [[0.5, 0.0]] * 6
    runs = [
        {
            "errors": {"audio": {"audio": e}, "vision": {"vision": e}, "audio+vision": {"audio": e, "vision": e}},
            "labels": [0, 1, 2, 0, 1, 2],
            "real": real,
            "filled": {"audio": real, "vision": real, "audio+vision": drawn},
        }
        for e in (1.0, 1.2, 1.4)
    ]
    return [*runs, None]


def test_what_fillers_put_into_holes_is_scored_and_reported(study: Path) -> None:
    write_json(Path("data/reconstructions/b/mlp.json"), {"mlp": filled_runs("drawn")})
    score("b")
    report()
    rows = {row["row"]: row["reconstruction"] for row in read("metrics/scores/b.json")["rows"]}
    assert {name for name, found in rows.items() if found} == {"mlp"}
    found = rows["mlp"]["errors"]["audio+vision"]["vision"]
    assert (found["mean"], found["sd"], found["n"]) == (1.2, 0.2, 3)
    assert rows["mlp"]["projection"]["labels"] == [0, 1, 2, 0, 1, 2]
    assert "| mlp | 1.200 [0.863, 1.537] |" in Path("metrics/report.md").read_text()
    assert 'id="projections-b"' in Path("metrics/report.html").read_text()


def test_fillings_of_another_number_of_runs_are_refused(study: Path) -> None:
    write_json(Path("data/reconstructions/b/mlp.json"), {"mlp": filled_runs("drawn")[:3]})
    with pytest.raises(DataError, match=r"mlp\.json: mlp: 3 runs, expected 4, as data/predictions/b/mlp\.h5 has them"):
        score("b")
    write_json(Path("data/reconstructions/b/mlp.json"), {"mlp:vae": filled_runs("drawn")})
    with pytest.raises(DataError, match=r"mlp:vae: 4 runs, expected 0"):
        score("b")


def test_a_filler_that_is_the_same_for_all_has_a_table_and_no_projections(study: Path) -> None:
    write_json(Path("data/reconstructions/b/mlp.json"), {"mlp": filled_runs("constant")})
    score("b")
    report()
    assert "No projections: every filler puts the same" in Path("metrics/report.md").read_text()
    assert 'id="errors-b"' in Path("metrics/report.html").read_text()
    assert 'id="projections-b"' not in Path("metrics/report.html").read_text()


def test_a_cost_that_is_missing_is_named(study: Path) -> None:
    score("b")
    write_json(Path("metrics/costs/b/mlp.json"), {"rows": {"mlp": {"trained_with": None, "seconds": 1.0}}})
    with pytest.raises(DataError, match=r"mlp\.json: KeyError\('filler_seconds'\), expected trained_with, seconds"):
        costs()
    Path("metrics/costs/b/mlp.json").unlink()
    with pytest.raises(DataError, match=r"mlp\.json: no such file"):
        costs()
    write_json(Path("metrics/costs/a.json"), {"extractor": "mfcc", "clips": 3, "hours": 0.1})
    with pytest.raises(
        DataError, match=r"a\.json: KeyError\('seconds'\), expected extractor, clips, .*; extract again"
    ):
        costs()


def test_a_benchmark_without_methods_is_scored_and_reported(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params(methods="{}")
    score("b")
    report()
    costs()
    assert read("metrics/scores/b.json")["rows"] == []
    assert read_csv(Path("metrics/curves/b.csv")) == []
    assert read("metrics/auilc.json") == {"b": {}}
    assert "names no method" in Path("metrics/report.md").read_text()
    assert "nothing was trained" in Path("metrics/costs.md").read_text()
    assert "no AUILC" in capsys.readouterr().out


def test_a_study_without_benchmarks_is_reported(study: Path) -> None:
    write_params(benchmarks="{}")
    report()
    costs()
    assert read("metrics/auilc.json") == {}
    assert "names no benchmark" in Path("metrics/report.html").read_text()
    assert "nothing was trained" in Path("metrics/costs.html").read_text()


@pytest.mark.parametrize(
    ("tests", "labels", "message"),
    [
        ({"one": [*TEST["one"], "u99"], "two": TEST["two"]}, LABEL, r"utterance 'u99' is not in .*labels\.csv"),
        ({"one": TEST["one"][1:], "two": TEST["two"]}, LABEL, "5 utterances, folds.json tests 6, first .* 'u00'"),
        ({"one": TEST["two"], "two": TEST["one"]}, LABEL, "first that differs 'u00'"),
        ({"one": TEST["one"]}, LABEL, r"folds are \['one'\], folds.json has \['one', 'two'\]"),
        (TEST, LABEL | {"u07": 0}, r"utterance 'u07' has label 0, labels\.csv says 1"),
    ],
)
def test_predictions_that_do_not_fit_the_benchmark_are_refused_and_earlier_scores_stay(
    study: Path, tests: dict, labels: dict, message: str
) -> None:
    score("b")
    before = Path("metrics/scores/b.json").read_bytes()
    write_method("mlp", tests, labels)
    with pytest.raises(DataError, match=message) as caught:
        score("b")
    assert str(caught.value).startswith("data/predictions/b/mlp.h5: ")
    assert "dvc repro" in str(caught.value)
    assert Path("metrics/scores/b.json").read_bytes() == before


def test_a_missing_predictions_file_ends_with_one_line(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data/predictions/b/mlp.h5").unlink()
    monkeypatch.setattr(sys, "argv", ["score", "--benchmark", "b"])
    with pytest.raises(SystemExit) as caught:
        cli.run(score, "benchmark")
    assert caught.value.code == "error: data/predictions/b/mlp.h5: no such file; `dvc repro` makes it"
    assert not Path("metrics/scores").exists()


def test_missing_scores_and_an_empty_benchmark_are_named(study: Path) -> None:
    with pytest.raises(DataError, match=r"metrics/scores/b\.json: no such file"):
        report()
    Path("data/benchmarks/b/labels.csv").write_text("utt_id,label,label_index\n")
    with pytest.raises(DataError, match=r"labels\.csv: no utterance, expected at least one"):
        score("b")
