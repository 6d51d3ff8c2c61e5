"""Scores of one benchmark from stored predictions: every metric under every condition, curves and their AUILC.

The unit of measurement is a run: one fold with one seed, repeats of a mask averaged inside it. Beside the mean over
runs stands the pooled value: per seed, the test predictions of all folds are put together and measured once, then seeds
are averaged (what the MCT-HFR paper prints).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.predictions import PredictionStore, RowInfo
from pipeline.errors import DataError
from pipeline.evaluation.auilc import auilc, mean_height
from pipeline.evaluation.intervals import summarize
from pipeline.evaluation.measures import Measures, Metric, Statistics, Values

CURVES = ("frames", "bursts", "at_least_one")
"""Patterns whose conditions are missing rates."""

_DIGITS = 6


@dataclass(frozen=True)
class ScoredRun:
    """What one model did on the test part of one fold.

    Args:
        fold: name of the fold.
        seed: training seed.
        sums: `(C, R, *shape)` statistics per condition and repeat; see `Measures`.
    """

    fold: str
    seed: int
    sums: Statistics


def read_runs(store: PredictionStore, row: str, pattern: str, measures: Measures) -> tuple[list[str], list[ScoredRun]]:
    """Names of the C conditions, and a run per fold and seed.

    Raises:
        DataError: a fold without a run, or runs whose conditions, repeats or width of scores differ.
    """
    where, names, runs = f"{store.path}: {row}, '{pattern}'", None, list[ScoredRun]()
    for fold in store.folds:
        seeds = store.seeds(row, fold.name)
        if not seeds:
            raise DataError(f"{where}: nothing for fold '{fold.name}'; run evaluate again (`dvc repro`)")
        for seed in seeds:
            conditions, scores = store.scores(row, fold.name, seed, pattern)
            names = names or conditions
            repeats = runs[0].sums.shape[1] if runs else scores.shape[1]
            if conditions != names or scores.shape[1] != repeats or scores.shape[3] != measures.outputs:
                raise DataError(
                    f"{where}: fold '{fold.name}', seed {seed} has conditions {conditions} and scores of shape "
                    f"{scores.shape}, expected {names}, {repeats} repeats and {measures.outputs} scores; run evaluate "
                    "again (`dvc repro`)"
                )
            runs.append(ScoredRun(fold.name, seed, measures.sums(fold.labels, measures.decide(scores))))
    return names or [], runs


def measure(
    runs: Sequence[ScoredRun], value: Callable[[Statistics], Values], confidence: float
) -> list[dict[str, Any]]:
    """Measure runs and summarize.

    Args:
        runs: at least one, all with the same conditions and repeats.
        value: from statistics `(C, R, *shape)` to values `(C, R)`, or `(R,)` where it takes the conditions together.
        confidence: of the interval, in (0, 1).

    Returns:
        One mapping (mean, sd, low, high, n, pooled) per condition, or a single one for all together.
    """
    found = summarize(np.stack([np.atleast_2d(value(run.sums)).mean(-1) for run in runs]), confidence)
    seeds = sorted({run.seed for run in runs})
    pools = [np.sum([run.sums for run in runs if run.seed == seed], axis=0) for seed in seeds]
    pooled = np.mean([np.atleast_2d(value(pool)).mean(-1) for pool in pools], axis=0)
    columns = {"mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high, "pooled": pooled}
    return [{"n": found.n, **{name: number(values[c]) for name, values in columns.items()}} for c in range(len(pooled))]


def score_pattern(
    conditions: list[str], runs: Sequence[ScoredRun], measures: Measures, confidence: float
) -> list[dict[str, Any]]:
    """Per condition every metric, the share of runs that always predict the same, and of classes the confusion.

    The confusion is summed over all runs and repeats.
    """
    metrics = {name: measure(runs, metric.value, confidence) for name, metric in measures.metrics.items()}
    sums = np.stack([run.sums for run in runs])  # (runs, C, R, *shape)
    same = measures.constant(sums).mean((0, 2))  # (C,)
    found = [
        {
            "condition": condition,
            "metrics": {name: values[c] for name, values in metrics.items()},
            "constant": number(same[c]),
        }
        for c, condition in enumerate(conditions)
    ]
    if measures.probabilities:
        for c, counts in enumerate(sums.sum((0, 2))):
            found[c]["confusion"] = counts.tolist()
    return found


def score_auilc(
    conditions: list[str], runs: Sequence[ScoredRun], measures: Measures, confidence: float
) -> dict[str, Any]:
    """AUILC of every metric, un-normalised (area) and normalised (height), with its grid and the metric's direction."""
    rates = [float(condition) for condition in conditions]

    def over_rates(area: Callable[..., Values], metric: Metric) -> dict[str, Any]:
        (found,) = measure(runs, lambda sums: area(rates, metric.value(sums).T), confidence)
        return found

    return {
        "rates": rates,
        "metrics": {
            name: {
                "direction": metric.better,
                "area": over_rates(auilc, metric),
                "height": over_rates(mean_height, metric),
            }
            for name, metric in measures.metrics.items()
        },
    }


def score_row(store: PredictionStore, info: RowInfo, measures: Measures, confidence: float) -> dict[str, Any]:
    """All scores of one row as JSON values; a row that is not applicable keeps its reason and has none.

    Raises:
        DataError: predictions are incomplete or damaged.
    """
    row: dict[str, Any] = {
        **vars(info),
        "folds": len(store.folds),
        "seeds": sorted({seed for fold in store.folds for seed in store.seeds(info.row, fold.name)}),
        "patterns": {},
        "auilc": {},
        "degenerate": {},
    }
    if info.not_applicable is not None:
        return row
    for pattern in store.patterns(info.row):
        conditions, runs = read_runs(store, info.row, pattern, measures)
        found = score_pattern(conditions, runs, measures, confidence)
        row["patterns"][pattern] = {"repeats": runs[0].sums.shape[1], "conditions": found}
        row["degenerate"][pattern] = {c["condition"]: c["constant"] for c in found if c["constant"]}
        if pattern in CURVES and len(conditions) > 1:
            row["auilc"][pattern] = score_auilc(conditions, runs, measures, confidence)
    return row


def score_planted(
    conditions: list[str], runs: Sequence[ScoredRun], measures: Measures, confidence: float
) -> dict[str, Any]:
    """Every metric of the planted optimum per modality set; the interval is over folds."""
    found = score_pattern(conditions, runs, measures, confidence) if runs else []
    return {c["condition"]: c["metrics"] for c in found}


def curve_rows(rows: Sequence[dict[str, Any]], measures: Measures, pattern: str = "frames") -> list[dict[str, Any]]:
    """The curves of scored rows as a table for `dvc plots`: see `curve_columns`; an unknown interval is None."""
    return [
        {"row": row["row"], "rate": c["condition"]}
        | {name + suffix: c["metrics"][name][key] for name in measures.metrics for suffix, key in _ENDS}
        for row in rows
        if pattern in row["patterns"]
        for c in row["patterns"][pattern]["conditions"]
    ]


_ENDS = (("_low", "low"), ("_high", "high"), ("", "mean"))


def curve_columns(measures: Measures) -> list[str]:
    """Columns of the curves. The main metric is the last: what `dvc plots` draws where dvc.yaml names no y."""
    names = sorted(measures.metrics, key=lambda name: name == measures.main)
    return ["row", "rate", *(name + suffix for name in names for suffix, _ in _ENDS)]


def number(value: float) -> float | None:
    """A JSON number: rounded so that files are readable; None for NaN."""
    return None if math.isnan(value) else round(float(value), _DIGITS)
