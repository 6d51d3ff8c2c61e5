"""A regression from split to predictions: ratings far from 0 are met from the first epoch on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from pipeline import paths
from pipeline.data.manifest import Manifest
from pipeline.data.predictions import PredictionStore
from stages.evaluate import evaluate
from stages.mask import mask
from stages.split import split
from stages.train import train


def test_predictions_count_from_the_median_of_the_training_part(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    rated = [
        replace(u, extras=u.extras | {"score": str(100.0 + u.turn)})
        for u in Manifest.read(paths.manifest("tiny")).utterances
    ]
    Manifest(rated).write(paths.manifest("tiny"))
    study["benchmarks"]["tiny"]["task"] = {"kind": "regression", "label": "score", "positive_from": 103.0}
    study["methods"] = {"linear": {"epochs": 1}}
    write_params(study, paths.PARAMS)
    split("tiny")
    mask("tiny")
    train("tiny", "linear")
    evaluate("tiny", "linear")
    weights = load_file(paths.models("tiny", "linear") / "base" / "ses1" / "1.safetensors")
    assert 102 < weights["task.centre"] < 105
    assert 2 < weights["task.scale"] < 3
    with PredictionStore(paths.predictions("tiny", "linear")) as store:
        for fold in store.folds:
            _, values = store.scores("linear", fold.name, 1, "frames")
            assert fold.labels.min() >= 100
            assert np.abs(values - 103.5).max() < 10
