"""Accuracy by how many modalities went: the parts are those of the masks, and add up."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.errors import DataError
from pipeline.evaluation.classification import classification
from pipeline.evaluation.decomposition import decompose, missing_modalities
from pipeline.evaluation.regression import regression
from pipeline.evaluation.scores import score_row
from pipeline.files import write_csv
from pipeline.missing.masks import MaskBank, Masks, draw_masks
from pipeline.schema import BernoulliMissing, TestMissing

FOLDS = {"one": [f"a{i}" for i in range(40)], "two": [f"b{i}" for i in range(30)]}
LABELS = {utt_id: i % 3 for ids in FOLDS.values() for i, utt_id in enumerate(ids)}
LENGTHS = {
    utt_id: {"text": 0, "audio": 0 if utt_id == "a3" else 2 + int(utt_id[1:]) % 3, "vision": 4} for utt_id in LABELS
}
CONDITIONS = ["0.0/0.0/0.0", "0.0/0.5/0.5", "0.0/1.0/1.0"]
MISSING = TestMissing(
    bernoulli=BernoulliMissing(conditions=((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 1.0, 1.0)), repeats=2)
)
THREE = classification(3)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    draw_masks(tmp_path / "masks.h5", MISSING, FOLDS, LENGTHS, (0, "b"))
    lengths = [{"utt_id": utt_id, **steps} for utt_id, steps in LENGTHS.items()]
    write_csv(tmp_path / "lengths.csv", ["utt_id", "text", "audio", "vision"], lengths)
    return tmp_path / "masks.h5", tmp_path / "lengths.csv"


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    random = np.random.default_rng(0)
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold, ids in FOLDS.items():
            writer.fold(fold, ids, np.array([LABELS[utt_id] for utt_id in ids]))
        writer.row("m", parameters=1, macs=1, regime="complete", params={})
        writer.row("frames", parameters=1, macs=1, regime="complete", params={})
        for fold, ids in FOLDS.items():
            for seed in (1, 2):
                writer.add("m", fold, seed, "bernoulli", CONDITIONS, random.dirichlet(np.ones(3), (3, 2, len(ids))))
                writer.add("frames", fold, seed, "frames", ["0.0"], random.dirichlet(np.ones(3), (1, 2, len(ids))))
    return PredictionStore(tmp_path / "m.h5")


def test_parts_add_up_to_the_confusion_exactly(store: PredictionStore, files: tuple[Path, Path]) -> None:
    found = decompose(store, store.rows[0], THREE, *files)
    conditions = score_row(store, store.rows[0], THREE, 0.95)["patterns"]["bernoulli"]["conditions"]
    assert [part["condition"] for part in found] == CONDITIONS
    for parts, condition in zip(found, conditions, strict=True):
        counts = np.array(condition["confusion"])
        assert sum(part["hits"] for part in parts["parts"]) == np.trace(counts)
        assert sum(part["n"] for part in parts["parts"]) == counts.sum() == 2 * 2 * 70


def test_shares_are_those_of_independent_drops(store: PredictionStore, files: tuple[Path, Path]) -> None:
    none, half, both = decompose(store, store.rows[0], THREE, *files)
    assert [part["missing"] for part in none["parts"]] == [0]
    # a3 never had sound: it can lose one modality at most, in both repeats and under both seeds
    assert {part["missing"]: part["n"] for part in both["parts"]} == {1: 4, 2: 276}
    shares = {part["missing"]: part["n"] / 280 for part in half["parts"]}
    assert shares == {
        0: pytest.approx(0.25, abs=0.08),
        1: pytest.approx(0.5, abs=0.1),
        2: pytest.approx(0.25, abs=0.08),
    }


def test_the_masks_decide_who_lost_what_by_hand() -> None:
    steps = {"a": {"text": 2, "audio": 0, "vision": 1}, "b": {"text": 1, "audio": 3, "vision": 0}}
    keep = {
        "text": np.array([[[1, 1, 0]], [[0, 0, 0]]], bool),
        "audio": np.array([[[1, 1, 1]], [[0, 0, 0]]], bool),
        "vision": np.array([[[0]], [[1]]], bool),
    }
    assert missing_modalities(Masks(["a", "b"], ["x", "y"], keep), steps).tolist() == [[[1, 1]], [[1, 2]]]


def test_parts_are_those_of_one_prediction_at_a_time(store: PredictionStore, files: tuple[Path, Path]) -> None:
    expected = dict.fromkeys(range(4), 0)
    for fold in store.folds:
        gone = missing_modalities(MaskBank(files[0]).masks(fold.name, "bernoulli"), LENGTHS)
        for seed in (1, 2):
            scores = store.scores("m", fold.name, seed, "bernoulli")[1][1]
            for repeat in range(2):
                for i, label in enumerate(fold.labels):
                    expected[int(gone[1, repeat, i])] += int(scores[repeat, i].argmax() == label)
    half = decompose(store, store.rows[0], THREE, *files)[1]
    assert {part["missing"]: part["hits"] for part in half["parts"]} == {k: n for k, n in expected.items() if n}


def test_other_patterns_and_regressions_are_not_divided(store: PredictionStore, files: tuple[Path, Path]) -> None:
    assert decompose(store, store.rows[1], THREE, *files) == []
    assert decompose(store, store.rows[0], regression(0.0), *files) == []


def test_masks_of_other_utterances_are_refused(store: PredictionStore, files: tuple[Path, Path]) -> None:
    draw_masks(files[0], MISSING, FOLDS | {"one": FOLDS["one"][1:]}, LENGTHS, (0, "b"))
    with pytest.raises(DataError, match="fold 'one' has masks of other utterances"):
        decompose(store, store.rows[0], THREE, *files)
