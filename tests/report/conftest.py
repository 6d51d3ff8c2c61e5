"""Scores as the score stage writes them, made from random predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.predictions import PredictionStore, write_predictions
from pipeline.evaluation.classification import METRICS, classification
from pipeline.evaluation.comparison import curves, statistics
from pipeline.evaluation.scores import score_row

SETS = ["t", "a", "v", "ta", "tv", "av", "tav"]
RATES = [f"{i / 10:.1f}" for i in range(10)]

_NONE: dict[str, Any] = {"durations": {}, "decomposition": [], "reconstruction": None}


def _facts() -> dict[str, Any]:
    return {
        "benchmark": "demo",
        "corpus": "demo",
        "synthetic": True,
        "random_weights": False,
        "kind": "classification",
        "main": "UAR",
        "measures": classification(2).described(),
        "labels": ["anger", "joy"],
        "features": {
            m: {"feature_set": f"demo_{m}", "extractor": "x", "options": {"hop": 0.05}, "weights_sha256": "ab" * 32}
            for m in ("text", "audio", "vision")
        },
        "max_lengths": {"text": 24, "audio": 100, "vision": 25},
        "counts": {"manifest": 44, "used": 40, "quarantined": 1, "label_left_out": 3, "tested": 40},
        "classes": {"anger": 20, "joy": 20},
        "values": None,
        "absent": {"text": 1, "audio": 2, "vision": 3},
        "speakers": 4,
        "hours": 0.5,
        "protocol": "leave_one_session_out",
        "speaker_independent": True,
        "note": "",
        "folds": [{"name": n, "train": 20, "valid": 0, "test": 20} for n in ("one", "two")],
        "confidence": 0.95,
        "metrics": list(METRICS),
        "planted_optimum": {},
    }


@pytest.fixture
def scores(tmp_path: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2

    def draw(accuracy: float, shape: tuple[int, int]) -> np.ndarray:
        if not accuracy:
            return np.broadcast_to(np.array([1.0, 0.0]), (*shape, 20, 2))
        right = random.random((*shape, 20)) < accuracy
        return np.eye(2)[np.where(right, labels, 1 - labels)]

    with write_predictions(tmp_path / "p.h5") as writer:
        for fold in ("one", "two"):
            writer.fold(fold, [f"{fold}{i}" for i in range(20)], labels)
        writer.not_applicable("absent", "it needs raw waveforms")
        for row, accuracy in {"good": 0.97, "fair": 0.7, "fair:b": 0.72, "majority": 0.0}.items():
            writer.row(row, parameters=1234, macs=5_600_000, regime="dynamic", params={"layers": 2, "a": "x|y"})
            for fold in ("one", "two"):
                for seed in (1, 2):
                    for pattern in ("frames", "bursts"):
                        writer.add(row, fold, seed, pattern, RATES, draw(accuracy, (10, 2)))
                    writer.add(row, fold, seed, "modalities", SETS, draw(accuracy, (7, 1)))
    with PredictionStore(tmp_path / "p.h5") as store:
        speakers = {utt_id: utt_id[-1] for fold in store.folds for utt_id in fold.utt_ids}
        compared = {info.row: curves(store, info, classification(2), 0.95, speakers) for info in store.rows}
        beside = statistics(compared, "fair", 0.95)
        rows = [score_row(store, info, classification(2), 0.95) | _NONE | beside[info.row] for info in store.rows]
    optimum = dict.fromkeys(SETS, rows[1]["patterns"]["frames"]["conditions"][0]["metrics"])
    return {**_facts(), "planted_optimum": optimum, "reference": "fair", "rows": rows}
