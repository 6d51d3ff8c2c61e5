"""Curves of rows against each other: AUILC per run, paired with a reference, bootstrap over speakers, calibration."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.predictions import PredictionStore, RowInfo
from pipeline.errors import ParamsError
from pipeline.evaluation.auilc import auilc
from pipeline.evaluation.measures import Measures, Statistics, Truth, Values
from pipeline.evaluation.scores import CURVES, number
from pipeline.evaluation.significance import (
    Labels,
    bootstrap,
    calibration_error,
    draws,
    holm,
    paired,
    percentile_interval,
    risk_coverage,
)

RunId = tuple[str, int]


@dataclass(frozen=True)
class Curve:
    """One row under one pattern.

    Args:
        areas: per run (fold, seed) the AUILC of every metric, repeats averaged.
        intervals: per metric the bootstrap interval of the pooled AUILC, low and high.
        calibration: per condition `ece` and `aurc`, averaged over runs and repeats; of class probabilities only.
    """

    areas: dict[RunId, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    calibration: list[dict[str, Any]]


def read_curve(
    store: PredictionStore,
    info: RowInfo,
    pattern: str,
    measures: Measures,
    confidence: float,
    speakers: Mapping[str, str],
) -> Curve | None:
    """What comparisons need of a row under a pattern; None where that is no curve.

    Args:
        store: predictions.
        info: the row.
        pattern: one of `CURVES`.
        measures: of the task.
        confidence: of intervals, in (0, 1).
        speakers: by utterance.
    """
    areas: dict[RunId, dict[str, float]] = {}
    of_seed: dict[int, list[_Part]] = {}
    reliability: list[list[tuple[float, float]]] = []
    rates: list[float] = []
    for fold in store.folds:
        for seed in store.seeds(info.row, fold.name):
            conditions, scores = store.scores(info.row, fold.name, seed, pattern)
            if len(conditions) < 2:
                return None
            rates = [float(condition) for condition in conditions]
            guess = measures.decide(scores)  # (C, R, n)
            areas[fold.name, seed] = _areas(rates, measures.sums(fold.labels, guess), measures)
            of_seed.setdefault(seed, []).append(([speakers[u] for u in fold.utt_ids], fold.labels, guess))
            if measures.probabilities:
                reliability.append([_reliability(part, fold.labels) for part in scores])
    samples = np.mean([_resampled(parts, rates, measures) for parts in of_seed.values()], axis=0)  # (B, metrics)
    means = np.mean(reliability, axis=0).tolist() if reliability else []  # (C, 2)
    return Curve(
        areas,
        {name: percentile_interval(samples[:, i], confidence) for i, name in enumerate(measures.metrics)},
        [
            {"condition": condition, "ece": number(ece), "aurc": number(aurc)}
            for condition, (ece, aurc) in zip(conditions, means, strict=bool(means))
        ],
    )


def curves(
    store: PredictionStore, info: RowInfo, measures: Measures, confidence: float, speakers: Mapping[str, str]
) -> dict[str, Curve]:
    """`read_curve` of every pattern that has one."""
    if info.not_applicable is not None:
        return {}
    found = {
        pattern: read_curve(store, info, pattern, measures, confidence, speakers)
        for pattern in store.patterns(info.row)
        if pattern in CURVES
    }
    return {pattern: curve for pattern, curve in found.items() if curve}


def statistics(
    rows: Mapping[str, dict[str, Curve]],
    reference: str | None,
    confidence: float,
    oracles: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """What stands beside the scores of every row, as JSON values.

    Args:
        rows: by row, its curves by pattern.
        reference: the row that others are compared with, or None.
        confidence: of intervals.
        oracles: rows that see test labels; they compete with none.

    Returns:
        By row: `bootstrap` and `calibration` per pattern and, but for the reference and oracles, `against` per pattern
        and metric: the difference of AUILC with its interval, p values, and the same after Holm's correction over the
        rows.

    Raises:
        ParamsError: there is no such reference, or it is an oracle.
    """
    if reference in oracles:
        raise ParamsError(
            f"params.yaml: score.reference: found '{reference}', a bound that sees test labels, expected a row that "
            f"does not: {', '.join(sorted(set(rows) - set(oracles)))}"
        )
    if reference is not None and rows and reference not in rows:
        raise ParamsError(
            f"params.yaml: score.reference: found '{reference}', expected a row of the study: {', '.join(sorted(rows))}"
        )
    found: dict[str, dict[str, Any]] = {
        row: {
            "bootstrap": {p: _named_intervals(curve) for p, curve in own.items()},
            "calibration": {p: curve.calibration for p, curve in own.items()},
            "against": {},
        }
        for row, own in rows.items()
    }
    if reference is not None and rows:
        for pattern in rows[reference]:
            outside = {reference, *oracles}
            compared = {row: own[pattern] for row, own in rows.items() if pattern in own and row not in outside}
            for row, against in _against(compared, rows[reference][pattern], confidence).items():
                found[row]["against"][pattern] = against
    return found


def _against(rows: Mapping[str, Curve], reference: Curve, confidence: float) -> dict[str, dict[str, Any]]:
    """Per row and metric the paired comparison, over the runs that both have."""
    found: dict[str, dict[str, Any]] = {row: {} for row in rows}
    for metric in reference.intervals:
        tests = {}
        for row, curve in rows.items():
            runs = sorted(curve.areas.keys() & reference.areas.keys())
            if runs:
                ours, theirs = ([own.areas[run][metric] for run in runs] for own in (curve, reference))
                tests[row] = paired(ours, theirs, confidence)
        corrected = {kind: holm([getattr(test, kind) for test in tests.values()]) for kind in ("t_p", "wilcoxon_p")}
        for place, (row, test) in enumerate(tests.items()):
            adjusted = {f"{kind.removesuffix('_p')}_holm": number(values[place]) for kind, values in corrected.items()}
            found[row][metric] = (
                {name: number(value) for name, value in asdict(test).items()} | adjusted | {"n": test.n}
            )
    return found


_Part = tuple[list[str], Truth, npt.NDArray[Any]]
"""Speakers, truth and predictions of the test part of one fold."""


def _areas(rates: list[float], sums: Statistics, measures: Measures) -> dict[str, float]:
    return {name: float(auilc(rates, metric.value(sums).T).mean()) for name, metric in measures.metrics.items()}


def _reliability(scores: npt.NDArray[np.floating], labels: Labels) -> tuple[float, float]:
    """ECE and area under risk-coverage of `(R, n, K)`."""
    return calibration_error(scores, labels), float(np.mean([risk_coverage(part, labels)[1] for part in scores]))


def _resampled(parts: list[_Part], rates: list[float], measures: Measures) -> Values:
    """AUILC of every metric `(B, metrics)` of the pooled folds of one seed, over bootstrap samples."""
    speakers = [speaker for own, _, _ in parts for speaker in own]
    true = np.concatenate([part for _, part, _ in parts])
    guess = np.concatenate([part for _, _, part in parts], axis=-1)

    def areas(sums: Statistics) -> Values:  # (B, C, R, *shape)
        return np.stack([auilc(rates, metric.value(sums).mean(-1)) for metric in measures.metrics.values()], -1)

    return bootstrap(true, guess, draws(speakers), measures, areas)


def _named_intervals(curve: Curve) -> dict[str, dict[str, float | None]]:
    return {name: {"low": number(low), "high": number(high)} for name, (low, high) in curve.intervals.items()}
