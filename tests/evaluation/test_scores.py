"""Scores from stored predictions, against what is computed by hand from the same predictions."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.errors import DataError
from pipeline.evaluation.classification import METRICS, classification
from pipeline.evaluation.comparison import curves
from pipeline.evaluation.facts import Benchmark
from pipeline.evaluation.regression import regression
from pipeline.evaluation.scores import curve_columns, curve_rows, read_runs, score_planted, score_row

RATES = ["0.0", "0.4", "0.8"]
FOLDS = {"one": np.array([0, 1, 2, 0, 1]), "two": np.array([2, 2, 1, 0])}
SEEDS = (7, 8)


def one_hot(predicted: np.ndarray) -> np.ndarray:
    return np.eye(3)[predicted]


@pytest.fixture
def predicted() -> dict[tuple[str, int], np.ndarray]:
    random = np.random.default_rng(1)
    found = {(f, s): random.integers(0, 3, (3, 2, len(y))) for f, y in FOLDS.items() for s in SEEDS}
    for classes in found.values():
        classes[2] = 1  # at the highest rate only one class is left
    found["one", 7][0] = FOLDS["one"]
    return found


@pytest.fixture
def store(tmp_path: Path, predicted: dict[tuple[str, int], np.ndarray]) -> PredictionStore:
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold, labels in FOLDS.items():
            writer.fold(fold, [f"{fold}{i}" for i in range(len(labels))], labels)
        writer.row("m", parameters=5, macs=6, regime="complete", params={"layers": 1})
        writer.row("half", parameters=5, macs=6, regime="complete", params={})
        writer.not_applicable("n", "it needs text")
        for (fold, seed), classes in predicted.items():
            writer.add("m", fold, seed, "frames", RATES, one_hot(classes))
            writer.add("m", fold, seed, "bursts", RATES[:1], one_hot(classes[:1]))
            writer.add("m", fold, seed, "modalities", ["t", "tav"], one_hot(classes[:2]))
        writer.add("half", "one", 7, "frames", RATES, one_hot(predicted["one", 7]))
    return PredictionStore(tmp_path / "m.h5")


@pytest.fixture
def row(store: PredictionStore) -> dict:
    return score_row(store, store.rows[0], classification(3), 0.95)


def test_every_value_is_the_mean_over_folds_and_seeds_with_repeats_averaged_inside(row: dict, predicted: dict) -> None:
    for c, condition in enumerate(row["patterns"]["frames"]["conditions"]):
        runs = [
            np.mean([balanced_accuracy_score(FOLDS[fold], repeat) for repeat in classes[c]])
            for (fold, _), classes in predicted.items()
        ]
        found = condition["metrics"]["UAR"]
        assert found["mean"] == pytest.approx(np.mean(runs), abs=1e-6)
        assert found["sd"] == pytest.approx(np.std(runs, ddof=1), abs=1e-6)
        assert found["low"] < found["mean"] < found["high"] or found["sd"] == 0
        assert found["n"] == 4
        assert condition["condition"] == RATES[c]


def test_pooled_values_join_the_folds_of_a_seed_before_measuring(row: dict, predicted: dict) -> None:
    labels = np.concatenate(list(FOLDS.values()))
    for c, condition in enumerate(row["patterns"]["frames"]["conditions"]):
        seeds = [
            f1_score(labels, np.concatenate([predicted[fold, seed][c, r] for fold in FOLDS]), average="macro")
            for seed in SEEDS
            for r in range(2)
        ]
        assert condition["metrics"]["UF1"]["pooled"] == pytest.approx(np.mean(seeds), abs=1e-6)


def test_confusions_count_every_fold_seed_and_repeat(row: dict) -> None:
    expected = sum(np.bincount(labels, minlength=3) for labels in FOLDS.values()) * len(SEEDS) * 2
    for condition in row["patterns"]["frames"]["conditions"]:
        np.testing.assert_array_equal(np.sum(condition["confusion"], axis=1), expected)
    assert np.array(row["patterns"]["frames"]["conditions"][2]["confusion"])[:, [0, 2]].sum() == 0


def test_the_auilc_is_that_of_the_mean_curve_and_carries_grid_and_direction(row: dict) -> None:
    assert set(row["auilc"]) == {"frames"}, "one rate makes no curve, modality sets are no rates"
    curve = row["auilc"]["frames"]
    assert curve["rates"] == [0.0, 0.4, 0.8]
    for name in METRICS:
        heights = [c["metrics"][name]["mean"] for c in row["patterns"]["frames"]["conditions"]]
        pooled = [c["metrics"][name]["pooled"] for c in row["patterns"]["frames"]["conditions"]]
        found = curve["metrics"][name]
        assert found["direction"] == "higher"
        assert found["area"]["mean"] == pytest.approx(np.trapezoid(heights, curve["rates"]), abs=2e-6)
        assert found["area"]["pooled"] == pytest.approx(np.trapezoid(pooled, curve["rates"]), abs=2e-6)
        assert found["height"]["mean"] == pytest.approx(found["area"]["mean"] / 0.8, abs=2e-6)
        assert found["area"]["n"] == 4
        assert found["area"]["low"] < found["area"]["mean"] < found["area"]["high"]


def test_conditions_where_a_single_class_is_predicted_are_listed_with_their_share(row: dict) -> None:
    assert row["degenerate"]["frames"]["0.8"] == 1.0
    assert "0.0" not in row["degenerate"]["frames"]


def test_a_row_that_is_not_applicable_keeps_its_reason_and_has_no_scores(store: PredictionStore) -> None:
    row = score_row(store, store.rows[2], classification(3), 0.95)
    assert row["not_applicable"] == "it needs text"
    assert (row["patterns"], row["auilc"], row["seeds"]) == ({}, {}, [])


def test_a_single_run_has_no_interval(tmp_path: Path) -> None:
    with write_predictions(tmp_path / "m.h5") as writer:
        writer.fold("f", ["a", "b"], np.array([0, 1]))
        writer.row("m", parameters=0, macs=0, regime="complete", params={})
        writer.add("m", "f", 1, "frames", ["0.0", "0.5"], np.full((2, 1, 2, 2), 0.5))
    with PredictionStore(tmp_path / "m.h5") as store:
        row = score_row(store, store.rows[0], classification(2), 0.95)
    found = row["auilc"]["frames"]["metrics"]["ACC"]["area"]
    assert found == {"mean": 0.25, "pooled": 0.25, "n": 1, "sd": None, "low": None, "high": None}


def test_a_fold_without_predictions_is_an_error(store: PredictionStore) -> None:
    with pytest.raises(DataError, match=r"m\.h5: half, 'frames': nothing for fold 'two'"):
        score_row(store, store.rows[1], classification(3), 0.95)


def test_runs_that_differ_in_conditions_or_classes_are_an_error(tmp_path: Path, store: PredictionStore) -> None:
    with pytest.raises(DataError, match="4 scores"):
        read_runs(store, "m", "frames", classification(4))
    with write_predictions(tmp_path / "x.h5") as writer:
        writer.fold("f", ["a"], np.array([0]))
        writer.row("m", parameters=0, macs=0, regime="complete", params={})
        writer.add("m", "f", 1, "frames", ["0.0"], np.ones((1, 1, 1, 2)))
        writer.add("m", "f", 2, "frames", ["0.1"], np.ones((1, 1, 1, 2)))
    with (
        PredictionStore(tmp_path / "x.h5") as other,
        pytest.raises(DataError, match=r"seed 2 has conditions \['0.1'\]"),
    ):
        read_runs(other, "m", "frames", classification(2))


def test_curves_have_a_line_per_row_and_rate_and_leave_out_rows_without_a_curve(row: dict) -> None:
    table = curve_rows([row, {"row": "n", "patterns": {}}], classification(3))
    assert [(line["row"], line["rate"]) for line in table] == [("m", rate) for rate in RATES]
    assert all(set(line) == set(curve_columns(classification(3))) for line in table)
    assert all(line["WF1_low"] <= line["WF1"] <= line["WF1_high"] for line in table)


def test_the_last_column_of_the_curves_is_the_main_metric() -> None:
    for measures in (classification(3), regression(0.0)):
        assert curve_columns(measures)[-1] == measures.main
        assert len(curve_columns(measures)) == 2 + 3 * len(measures.metrics)


def test_a_regression_is_scored_like_a_classification_with_its_own_metrics(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    true = {"one": random.normal(size=30), "two": random.normal(size=20)}
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold, values in true.items():
            writer.fold(fold, [f"{fold}{i}" for i in range(len(values))], values)
        writer.row("m", parameters=0, macs=0, regime="complete", params={})
        for fold, values in true.items():
            guess = values + random.normal(size=(2, 2, len(values)))
            guess[1] = 0.5
            writer.add("m", fold, 1, "frames", ["0.0", "0.5"], guess[..., None])
    with PredictionStore(tmp_path / "m.h5") as store:
        row = score_row(store, store.rows[0], regression(0.0), 0.95)
        speakers = {utt_id: utt_id[-1] for fold in store.folds for utt_id in fold.utt_ids}
        curve = curves(store, store.rows[0], regression(0.0), 0.95, speakers)["frames"]
        guesses = [store.scores("m", fold, 1, "frames")[1][0, :, :, 0] for fold in true]
    values = np.concatenate(list(true.values()))
    pooled = [np.abs(repeat - values).mean() for repeat in np.concatenate(guesses, axis=-1)]
    first, last = row["patterns"]["frames"]["conditions"]
    assert first["metrics"]["MAE"]["pooled"] == pytest.approx(np.mean(pooled), abs=1e-6)
    assert first["metrics"]["Corr"]["mean"] > 0 == last["metrics"]["Corr"]["mean"]
    assert "confusion" not in first
    assert row["degenerate"] == {"frames": {"0.5": 1.0}}
    area = row["auilc"]["frames"]["metrics"]["MAE"]
    assert area["direction"] == "lower"
    assert curve.intervals["MAE"][0] < area["area"]["pooled"] < curve.intervals["MAE"][1]
    assert curve.calibration == []


def planted_benchmark(rows: list[dict[str, str]]) -> Benchmark:
    folds = [
        {"name": "one", "seed": None, "train": ["c", "d"], "valid": [], "test": ["a", "b"]},
        {"name": "two", "seed": None, "train": ["a", "b"], "valid": [], "test": ["c", "d"]},
    ]
    return Benchmark(
        "b",
        Path("b"),
        {row["utt_id"]: row for row in rows},
        {"kind": "classification", "labels": ["joy", "sad"]},
        {"folds": folds},
    )


def test_the_planted_optimum_is_measured_on_the_test_utterances_of_every_fold() -> None:
    decisions = {"a": ("joy", "joy"), "b": ("joy", "sad"), "c": ("fear", "sad"), "d": ("sad", "sad")}
    labels = {"a": 0, "b": 1, "c": 1, "d": 1}
    data = planted_benchmark(
        [
            {"utt_id": u, "label_index": str(labels[u]), "planted_t": decisions[u][0], "planted_tav": decisions[u][1]}
            for u in labels
        ]
    )
    found = score_planted(*data.planted(), 0.95)
    assert set(found) == {"t", "tav"}
    assert found["tav"]["ACC"]["mean"] == found["tav"]["UAR"]["mean"] == 1.0
    assert found["t"]["ACC"]["mean"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["t"]["UAR"]["pooled"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-6), "a class left out is a wrong answer"


def test_a_corpus_without_planted_symbols_has_no_optimum() -> None:
    data = planted_benchmark([{"utt_id": u, "label_index": "0"} for u in "abcd"])
    assert score_planted(*data.planted(), 0.95) == {}
