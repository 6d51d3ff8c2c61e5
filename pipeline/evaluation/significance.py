"""Is one row better than another? Paired tests on the same folds, seeds and masks, and a bootstrap over people.

Runs (fold x seed) share data, so a t interval over them says how much training varies; what another set of speakers
would give is the bootstrap's to say: it draws speakers, and utterances of each, with replacement.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.errors import DataError
from pipeline.evaluation.intervals import summarize
from pipeline.evaluation.measures import Measures, Statistics, Truth, Values
from pipeline.seeding import stream

Labels = npt.NDArray[np.int64]

BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Paired:
    """A row against the reference, run by run.

    Args:
        difference: mean of row minus reference.
        low: lower end of its t interval, NaN for a single run.
        high: upper end.
        t_p: two-sided p of the paired t test, NaN where it is not defined (one run).
        wilcoxon_p: two-sided p of the Wilcoxon signed-rank test, NaN likewise.
        n: runs.
    """

    difference: float
    low: float
    high: float
    t_p: float
    wilcoxon_p: float
    n: int


def paired(values: npt.ArrayLike, reference: npt.ArrayLike, confidence: float) -> Paired:
    """Compare a row with the reference on the same runs.

    Equal rows have a difference of 0 and a p of 1. Where all differences are the same and not 0, the t test's p is 0.

    Args:
        values: `(n,)` of the row.
        reference: `(n,)` of the reference, in the same order of runs.
        confidence: of the interval, in (0, 1).

    Raises:
        DataError: the two differ in length, or there is no run.

    >>> paired([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], 0.95).t_p
    1.0
    """
    ours, theirs = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise DataError(f"paired: {ours.shape} and {theirs.shape} runs, expected the same runs of both, at least one")
    gaps = ours - theirs
    found = summarize(gaps, confidence)
    t_p = wilcoxon_p = float("nan")
    if len(gaps) > 1:
        if not gaps.any():
            t_p = wilcoxon_p = 1.0
        else:
            t_p = 0.0 if found.sd == 0 else float(stats.ttest_1samp(gaps, 0.0).pvalue)
            wilcoxon_p = float(stats.wilcoxon(gaps).pvalue)
    return Paired(float(found.mean), float(found.low), float(found.high), t_p, wilcoxon_p, len(gaps))


def holm(p_values: npt.ArrayLike) -> Values:
    """Holm's step-down correction of several tests: Holm, Scandinavian Journal of Statistics 6(2), 1979.

    Args:
        p_values: `(m,)` in [0, 1]; NaN stays NaN and does not count.

    Returns:
        `(m,)` adjusted p values, to be compared with the level itself.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, np.float64)
    there = np.flatnonzero(~np.isnan(given))
    order = there[np.argsort(given[there], kind="stable")]
    adjusted = np.full(given.shape, np.nan)
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def draws(speakers: Sequence[str], times: int = BOOTSTRAPS) -> npt.NDArray[np.int64]:
    """How often each utterance is drawn, speakers first and then utterances of each drawn speaker.

    Args:
        speakers: of the n utterances.
        times: number of bootstrap samples.

    Returns:
        `(times, n)` int64; the same for the same speakers in the same order.
    """
    names, whose = np.unique(np.asarray(speakers), return_inverse=True)
    members = [np.flatnonzero(whose == s) for s in range(len(names))]
    chance = stream("bootstrap", len(speakers), len(names))
    weights = np.zeros((times, len(speakers)), np.int64)
    for sample in weights:
        for speaker in chance.integers(0, len(names), len(names)):
            own = members[speaker]
            sample += np.bincount(own[chance.integers(0, len(own), len(own))], minlength=len(sample))
    return weights


def bootstrap(
    true: Truth,
    predicted: npt.NDArray[Any],
    weights: npt.NDArray[np.int64],
    measures: Measures,
    measure: Callable[[Statistics], Values],
) -> Values:
    """Distribution of a measure over bootstrap samples.

    Args:
        true: `(n,)` true classes or values.
        predicted: `(C, R, n)` predicted ones under C conditions and R repeats.
        weights: `(B, n)` of `draws`.
        measures: of the task.
        measure: from statistics `(B, C, R, *shape)` to `(B, ...)`.

    Returns:
        `(B, ...)` float64.
    """
    lead = predicted.shape[:-1]
    sums = np.empty((len(weights), *lead, math.prod(measures.shape)))
    for place in np.ndindex(*lead):
        parts = measures.parts(true, predicted[place])
        sums[(slice(None), *place)] = weights.astype(parts.dtype) @ parts
    return measure(sums.reshape(len(weights), *lead, *measures.shape))


def percentile_interval(samples: npt.ArrayLike, confidence: float) -> tuple[float, float]:
    """The middle `confidence` of bootstrap samples `(B,)`, NaN left out."""
    values = np.asarray(samples, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def calibration_error(scores: npt.NDArray[np.floating], labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from accuracy, averaged over equal bins of confidence.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599, equation 3.

    Args:
        scores: `(..., n, K)` class probabilities.
        labels: `(n,)` true classes.
        bins: of (0, 1], equally wide.

    Returns:
        A number in [0, 1].
    """
    confidence = scores.max(-1)
    right = (scores.argmax(-1) == labels).ravel().astype(np.float64)
    confidence = np.asarray(confidence, np.float64).ravel()
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def risk_coverage(scores: npt.NDArray[np.floating], labels: Labels) -> tuple[Values, float]:
    """Error rate among the most confident share of utterances, and the area under that curve.

    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017,
    https://arxiv.org/abs/1705.08500. Ties of confidence are taken in the order of the utterances.

    Args:
        scores: `(n, K)` class probabilities.
        labels: `(n,)` true classes.

    Returns:
        The risk `(n,)` at coverages 1/n, 2/n, ..., 1, and its mean (AURC).
    """
    order = np.argsort(-scores.max(-1), kind="stable")
    wrong = (scores.argmax(-1) != labels)[order]
    risk: Values = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return risk, float(risk.mean())
