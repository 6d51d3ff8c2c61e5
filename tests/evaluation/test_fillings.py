"""Errors of fillers over runs, and whether a filler tells utterances apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.errors import DataError
from pipeline.evaluation.fillings import fillings
from pipeline.evaluation.intervals import summarize
from pipeline.evaluation.reconstruction import reconstruction
from pipeline.files import write_json

POINTS = [[0.0, 1.0], [2.0, 3.0]]
SAME = [[1.0, 1.0], [1.0, 1.0]]


def run(audio: float, both: float, filled: list[list[float]]) -> dict[str, Any]:
    errors = {"audio": {"audio": audio}, "vision": {"vision": 1.0}, "audio+vision": {"audio": both, "vision": 1.0}}
    points = {"audio": POINTS, "vision": POINTS, "audio+vision": filled}
    return {"errors": errors, "labels": [0, 1], "real": POINTS, "filled": points}


@pytest.fixture
def store(tmp_path: Path) -> PredictionStore:
    with write_predictions(tmp_path / "m.h5") as writer:
        for fold in ("one", "two"):
            writer.fold(fold, [f"{fold}{i}" for i in range(2)], np.array([0, 1]))
        writer.row("m", parameters=1, macs=1, regime="complete", params={})
        for fold in ("one", "two"):
            for seed in (1, 2):
                writer.add("m", fold, seed, "frames", ["0.0"], np.full((1, 1, 2, 2), 0.5))
    return PredictionStore(tmp_path / "m.h5")


def summed_up(store: PredictionStore, runs: list[Any], *, classes: bool = True) -> dict[str, Any]:
    path = store.path.with_suffix(".json")
    write_json(path, {"m": runs})
    return fillings(store, path, 0.9, classes=classes)["m"]


def test_errors_have_the_interval_of_the_runs_that_could_be_filled(store: PredictionStore) -> None:
    found = summed_up(store, [run(1.0, 1.5, SAME), None, run(1.5, 1.5, SAME), run(3.0, 1.5, SAME)])
    expected = summarize([1.0, 1.5, 3.0], 0.9)
    error = found["errors"]["audio"]["audio"]
    assert error["n"] == 3
    assert [error[k] for k in ("mean", "sd", "low", "high")] == pytest.approx(
        [float(value) for value in (expected.mean, expected.sd, expected.low, expected.high)], abs=1e-6
    )
    assert found["projection"] == {"labels": [0, 1], "real": POINTS, "filled": run(1, 1, SAME)["filled"]}


def test_a_single_run_has_no_interval(store: PredictionStore) -> None:
    error = summed_up(store, [run(1.0, 1.0, SAME), None, None, None])["errors"]["audio+vision"]["audio"]
    assert error == {"n": 1, "mean": 1.0, "sd": None, "low": None, "high": None}


def test_a_set_that_some_folds_cannot_lose_is_that_of_the_others(store: PredictionStore) -> None:
    less = run(1.0, 1.0, SAME)
    less = less | {"errors": {"audio": {"audio": 2.0}}, "filled": {"audio": SAME}}
    errors = summed_up(store, [less, run(1.0, 1.0, SAME), less, run(1.0, 1.0, SAME)])["errors"]
    assert {missing: {m: e["n"] for m, e in own.items()} for missing, own in errors.items()} == {
        "audio": {"audio": 4},
        "vision": {"vision": 2},
        "audio+vision": {"audio": 2, "vision": 2},
    }


def test_labels_that_are_values_are_not_projected(store: PredictionStore) -> None:
    assert summed_up(store, [run(1.0, 1.0, POINTS)] * 4, classes=False)["projection"] is None


@pytest.mark.parametrize(
    ("one", "varies"),
    [
        (run(1.1, 1.1, SAME), False),
        (run(1.1, 1.1, POINTS), True),  # as means of classes do
        (run(1.1, 1.2, SAME), True),  # as neighbours do
    ],
)
def test_a_filler_varies_by_its_points_or_by_its_errors(store: PredictionStore, one: dict, varies: bool) -> None:
    assert summed_up(store, [None, one, one, one])["varies"] is varies


class Constant:
    """Fills every hole with one vector."""

    def reconstruct(self, batch: Any, test: Any) -> dict[str, torch.Tensor]:
        found = {}
        for m, features in batch.features.items():
            observed = batch.observed[m].any(1)[:, None]
            value = torch.linspace(-3, 2, features.shape[-1], device=features.device)
            mean = features.sum(1) / batch.observed[m].sum(1).clamp(min=1)[:, None]
            found[m] = torch.where(observed, mean, value).expand(2, -1, -1)
        return found


def test_a_constant_does_not_vary_as_evaluate_measures_it(store: PredictionStore, make_data: Any) -> None:
    measured = reconstruction(Constant(), make_data(30))
    assert measured is not None
    assert len(measured["filled"]) == 7
    assert summed_up(store, [measured] * 4)["varies"] is False


def test_what_evaluate_did_not_write_is_named(store: PredictionStore) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        fillings(store, store.path.with_name("none.json"), 0.9, classes=True)
