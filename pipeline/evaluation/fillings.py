"""What fillers put into holes, over runs: errors with their intervals, and the projection of the first run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.predictions import PredictionStore
from pipeline.errors import DataError
from pipeline.evaluation.intervals import summarize
from pipeline.evaluation.scores import number
from pipeline.files import read_json

_EQUAL = 1e-5
"""Within this, errors in deviations and projected points are the same; both are rounded when they are stored."""


def fillings(store: PredictionStore, path: Path, confidence: float, *, classes: bool) -> dict[str, dict[str, Any]]:
    """What the fillers of a method's rows put into holes, by row, as JSON values; rows without a filler are absent.

    Args:
        store: predictions of the method.
        path: what evaluate wrote beside them.
        confidence: of the intervals, in (0, 1).
        classes: whether labels are classes; only these are projected.

    Returns:
        `errors`: per set of missing modalities and per modality in it mean, sd, low, high and n over runs. `varies`:
        whether what is filled in differs between utterances. `projection`: of the first run, or None.

    Raises:
        DataError: the file is missing, or it is of other rows or runs.
    """
    found: dict[str, dict[str, Any]] = {}
    expected = {info.row: sum(len(store.seeds(info.row, fold.name)) for fold in store.folds) for info in store.rows}
    for row, runs in read_json(path).items():
        if len(runs) != expected.get(row):
            raise DataError(
                f"{path}: {row}: {len(runs)} runs, expected {expected.get(row, 0)}, as {store.path} has them; run "
                "evaluate again for this method (`dvc repro`)"
            )
        known = [run for run in runs if run is not None]
        first = {name: known[0][name] for name in ("labels", "real", "filled")} if classes else None
        found[row] = {"errors": _errors(known, confidence), "varies": _varies(known), "projection": first}
    return found


def _errors(runs: Sequence[dict[str, Any]], confidence: float) -> dict[str, dict[str, Any]]:
    """Errors per set and modality; a set that some folds cannot lose is summarized over the others."""
    sets = {missing: list(errors) for run in runs for missing, errors in run["errors"].items()}
    found: dict[str, dict[str, Any]] = {}
    for missing, modalities in sets.items():
        own = [run["errors"][missing] for run in runs if missing in run["errors"]]
        found[missing] = {m: _summary([errors[m] for errors in own], confidence) for m in modalities}
    return found


def _summary(errors: list[float], confidence: float) -> dict[str, Any]:
    found = summarize(errors, confidence)
    values = {"mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high}
    return {"n": found.n, **{name: number(float(value)) for name, value in values.items()}}


def _varies(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether a filler tells utterances apart, by what is stored of it.

    What is the same for all gives one point where everything is missing, and a modality's error does not depend on
    what else is missing. Neighbours pass the first test, for with nothing to compare they are all, but not the second;
    means of classes the second, but not the first.
    """
    for run in runs:
        whole = np.asarray(run["filled"][max(run["filled"], key=lambda missing: missing.count("+"))])
        if np.ptp(whole, axis=0).max() > _EQUAL:
            return True
        for m in {m for errors in run["errors"].values() for m in errors}:
            errors = [errors[m] for errors in run["errors"].values() if m in errors]
            if max(errors) - min(errors) > _EQUAL:
                return True
    return False
