"""Scores by duration: ranges, shares, and the pooled AUILC of who is in them."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.evaluation.classification import classification
from pipeline.evaluation.durations import by_duration
from pipeline.evaluation.scores import score_row

FOLDS = {"one": np.arange(12) % 3, "two": np.arange(9) % 3}
RATES = ["0.0", "0.4", "0.8"]
SECONDS = [1.0, 2.0, 2.1, 4.0, 9.0, None]
EDGES = (2.0, 4.0, 8.0)
THREE = classification(3)
DURATIONS = {f"{fold}{i}": SECONDS[i % 6] for fold, labels in FOLDS.items() for i in range(len(labels))}


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    random = np.random.default_rng(0)
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold, labels in FOLDS.items():
            writer.fold(fold, [f"{fold}{i}" for i in range(len(labels))], labels)
        writer.row("m", parameters=1, macs=1, regime="complete", params={})
        writer.not_applicable("none", "it needs text")
        for fold, labels in FOLDS.items():
            for seed in (1, 2):
                writer.add("m", fold, seed, "frames", RATES, random.dirichlet(np.ones(3), (3, 2, len(labels))))
                writer.add("m", fold, seed, "modalities", ["t"], random.dirichlet(np.ones(3), (1, 1, len(labels))))
    return PredictionStore(tmp_path / "m.h5")


def test_a_range_has_its_upper_end_and_not_its_lower_one(store: PredictionStore) -> None:
    found = by_duration(store, store.rows[0], THREE, 0.95, EDGES, DURATIONS)
    assert set(found) == {"frames"}
    sizes = {part["name"]: part["n"] for part in found["frames"]}
    # of 21 utterances, places 0 to 2 of 6 come four times each, 3 to 5 three times
    assert sizes == {"up to 2 s": 8, "2 to 4 s": 7, "4 to 8 s": 0, "over 8 s": 3, "unknown": 3}
    assert sum(part["share"] for part in found["frames"]) == pytest.approx(1, abs=1e-5)
    assert next(part for part in found["frames"] if part["name"] == "4 to 8 s")["metrics"] is None


def test_the_auilc_of_a_range_is_that_of_its_utterances_of_all_folds(store: PredictionStore) -> None:
    found = by_duration(store, store.rows[0], THREE, 0.95, EDGES, DURATIONS)["frames"][1]
    seeds = []
    for seed in (1, 2):
        inside, labels, guesses = [], [], []
        for fold in store.folds:
            inside += [DURATIONS[utt_id] in {2.1, 4.0} for utt_id in fold.utt_ids]
            labels += fold.labels.tolist()
            guesses.append(store.scores("m", fold.name, seed, "frames")[1].argmax(-1))
        guess, true = np.concatenate(guesses, -1)[..., inside], np.array(labels)[inside]
        curve = [np.mean([balanced_accuracy_score(true, repeat) for repeat in part]) for part in guess]
        seeds.append(np.trapezoid(curve, [0.0, 0.4, 0.8]))
    assert found["metrics"]["UAR"]["mean"] == pytest.approx(np.mean(seeds), abs=1e-6)
    assert found["metrics"]["UAR"]["sd"] == pytest.approx(np.std(seeds, ddof=1), abs=1e-6)
    assert found["metrics"]["UAR"]["n"] == 2


def test_one_range_that_holds_everybody_has_the_pooled_auilc(store: PredictionStore) -> None:
    everybody = dict.fromkeys(DURATIONS, 3.0)
    found = by_duration(store, store.rows[0], THREE, 0.95, (5.0,), everybody)["frames"]
    areas = score_row(store, store.rows[0], THREE, 0.95)["auilc"]["frames"]["metrics"]
    assert [part["name"] for part in found] == ["up to 5 s", "over 5 s"]
    for name, metric in found[0]["metrics"].items():
        assert metric["mean"] == pytest.approx(areas[name]["area"]["pooled"], abs=2e-6)


def test_without_edges_or_scores_nothing_is_split(store: PredictionStore) -> None:
    assert by_duration(store, store.rows[0], THREE, 0.95, (), DURATIONS) == {}
    assert by_duration(store, store.rows[1], THREE, 0.95, EDGES, DURATIONS) == {}
