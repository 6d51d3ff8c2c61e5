"""AUILC per run, pairs with a reference, bootstrap and calibration, from stored predictions."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.errors import ParamsError
from pipeline.evaluation.classification import classification
from pipeline.evaluation.comparison import curves, statistics
from pipeline.evaluation.scores import score_row

RATES = ["0.0", "0.3", "0.9"]
FOLDS = {"one": np.arange(30) % 3, "two": np.arange(24) % 3}
SPEAKERS = {f"{fold}{i}": f"{fold}{i % 2}" for fold, labels in FOLDS.items() for i in range(len(labels))}
RIGHT = {"good": 0.9, "fair": 0.7, "twin": 0.7, "poor": 0.5}


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold, labels in FOLDS.items():
            writer.fold(fold, [f"{fold}{i}" for i in range(len(labels))], labels)
        writer.not_applicable("none", "it needs text")
        for row, right in RIGHT.items():
            random = np.random.default_rng(0 if row == "twin" else len(row) + int(100 * right))
            random = np.random.default_rng(5) if row in {"fair", "twin"} else random
            writer.row(row, parameters=1, macs=1, regime="complete", params={})
            for fold, labels in FOLDS.items():
                for seed in (1, 2):
                    hit = random.random((3, 2, len(labels))) < right - 0.2 * np.arange(3)[:, None, None] / 2
                    guess = np.where(hit, labels, (labels + 1) % 3)
                    writer.add(row, fold, seed, "frames", RATES, 0.8 * np.eye(3)[guess] + 0.2 / 3)
                    writer.add(row, fold, seed, "modalities", ["t", "a", "v"], np.eye(3)[guess])
    return PredictionStore(tmp_path / "m.h5")


@pytest.fixture
def compared(store: PredictionStore) -> dict:
    return {info.row: curves(store, info, classification(3), 0.95, SPEAKERS) for info in store.rows}


def test_only_missing_rates_make_a_curve(compared: dict) -> None:
    assert compared["none"] == {}
    assert set(compared["good"]) == {"frames"}


def test_areas_per_run_average_to_the_auilc_of_the_scores(store: PredictionStore, compared: dict) -> None:
    info = next(info for info in store.rows if info.row == "good")
    areas = compared["good"]["frames"].areas
    assert sorted(areas) == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
    area = score_row(store, info, classification(3), 0.95)["auilc"]["frames"]["metrics"]["UF1"]["area"]
    assert np.mean([own["UF1"] for own in areas.values()]) == pytest.approx(area["mean"], abs=1e-6)


def test_bootstrap_interval_holds_the_pooled_auilc(store: PredictionStore, compared: dict) -> None:
    for info in store.rows[1:]:
        area = score_row(store, info, classification(3), 0.95)["auilc"]["frames"]["metrics"]["ACC"]["area"]
        low, high = compared[info.row]["frames"].intervals["ACC"]
        assert low < area["pooled"] < high


def test_pairs_are_those_of_scipy_and_corrected_over_the_rows(compared: dict) -> None:
    found = statistics(compared, "fair", 0.95)
    runs = sorted(compared["fair"]["frames"].areas)
    theirs = [compared["fair"]["frames"].areas[run]["UAR"] for run in runs]
    raw = {}
    for row in ("good", "poor"):
        ours = [compared[row]["frames"].areas[run]["UAR"] for run in runs]
        test = found[row]["against"]["frames"]["UAR"]
        raw[row] = stats.ttest_rel(ours, theirs).pvalue
        assert test["t_p"] == pytest.approx(raw[row], abs=1e-6)
        assert test["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-6)
        assert test["n"] == 4
    smallest = min(raw, key=raw.__getitem__)
    assert found[smallest]["against"]["frames"]["UAR"]["t_holm"] == pytest.approx(min(1, 3 * raw[smallest]), abs=1e-5)


def test_a_row_with_the_same_predictions_does_not_differ(compared: dict) -> None:
    test = statistics(compared, "fair", 0.95)["twin"]["against"]["frames"]["WF1"]
    assert (test["difference"], test["t_p"], test["t_holm"], test["wilcoxon_holm"]) == (0, 1, 1, 1)


def test_the_reference_and_rows_without_a_curve_are_not_compared(compared: dict) -> None:
    found = statistics(compared, "fair", 0.95)
    assert found["fair"]["against"] == found["none"]["against"] == {}
    assert statistics(compared, None, 0.95)["good"]["against"] == {}


def test_a_reference_that_is_no_row_is_refused(compared: dict) -> None:
    with pytest.raises(ParamsError, match=r"score\.reference: found 'best', expected a row of the study: fair, good"):
        statistics(compared, "best", 0.95)


def test_an_oracle_is_no_reference_and_is_compared_with_none(compared: dict) -> None:
    with pytest.raises(
        ParamsError, match=r"found 'good', a bound that sees test labels, expected .*: fair, none, poor"
    ):
        statistics(compared, "good", 0.95, {"good"})
    found = statistics(compared, "fair", 0.95, {"good"})
    assert found["good"]["against"] == {}
    assert found["good"]["bootstrap"] == statistics(compared, "fair", 0.95)["good"]["bootstrap"]
    test = found["poor"]["against"]["frames"]["UAR"]
    assert test["t_holm"] == pytest.approx(min(1, 2 * test["t_p"]), abs=1e-5), "of three rows two are tested"


def test_calibration_follows_the_rate(compared: dict) -> None:
    points = compared["fair"]["frames"].calibration
    assert [point["condition"] for point in points] == RATES
    # Confidence is 0.867 everywhere, accuracy falls: the error rises.
    assert points[0]["ece"] < points[1]["ece"] < points[2]["ece"]
    assert points[0]["aurc"] < points[2]["aurc"]
