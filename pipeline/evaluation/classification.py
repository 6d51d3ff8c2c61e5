"""Metrics of single-label classification, all of them functions of the confusion matrix.

ACC (= WA) is accuracy, UAR (= UA) the mean recall, UF1 the unweighted and WF1 the support-weighted mean of the F1 of
classes. Every function takes confusion matrices `(..., K, K)` of counts, rows = true class and columns = predicted
class, and returns values `(...)` float64 in [0, 1]. Means over classes are over those that truly occur, so that all
conditions of a curve have one denominator; a class that occurs and is never predicted has an F1 of 0.

The weights of WF1 are the counts of the *true* classes; with the two arguments swapped it becomes another number.
"""

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.evaluation.measures import Measures, Metric, Statistics, Values, ratio

Counts = Statistics
"""Confusion matrices `(..., K, K)` of whole numbers."""


def confusion(labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    """Count pairs of true and predicted class.

    Args:
        labels: `(n,)` true classes in [0, K).
        predicted: `(..., n)` predicted classes in [0, K); leading axes are conditions, repeats and the like.
        classes: K.

    Returns:
        `(..., K, K)` int64, rows = true class, columns = predicted class.

    Raises:
        DataError: no utterance, lengths that differ, or a class outside [0, K).

    >>> confusion([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    true, guess = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if true.ndim != 1 or not true.size or guess.shape[-1:] != true.shape:
        raise DataError(
            f"confusion: labels of shape {true.shape}, predictions of shape {guess.shape}; expected (n,) and (..., n), "
            "n at least 1"
        )
    if min(true.min(), guess.min()) < 0 or max(true.max(), guess.max()) >= classes:
        raise DataError(
            f"confusion: labels in [{true.min()}, {true.max()}], predictions in [{guess.min()}, {guess.max()}]; "
            f"expected classes in [0, {classes})"
        )
    lead = guess.shape[:-1]
    matrices = int(np.prod(lead, dtype=np.int64))
    cell = np.arange(matrices)[:, None] * classes**2 + true * classes + guess.reshape(matrices, -1)
    counts = np.bincount(cell.ravel(), minlength=matrices * classes**2)
    return counts.reshape(*lead, classes, classes).astype(np.int64)


def accuracy(counts: Counts) -> Values:
    """ACC (= WA): the share of utterances that are right."""
    return ratio(_diagonal(counts).sum(-1), counts.sum((-2, -1)))


def unweighted_recall(counts: Counts) -> Values:
    """UAR (= UA): the mean recall of the classes that occur."""
    support = counts.sum(-1)
    return ratio(ratio(_diagonal(counts), support).sum(-1), (support > 0).sum(-1))


def unweighted_f1(counts: Counts) -> Values:
    """UF1: the mean F1 of the classes that occur, whatever else is predicted."""
    there = counts.sum(-1) > 0
    return ratio((_f1(counts) * there).sum(-1), there.sum(-1))


def weighted_f1(counts: Counts) -> Values:
    """WF1: the mean F1 of classes, weighted by how often each truly occurs."""
    return ratio((_f1(counts) * counts.sum(-1)).sum(-1), counts.sum((-2, -1)))


METRICS = {
    "ACC": Metric(accuracy, "accuracy (= WA): the share of utterances that are right"),
    "UAR": Metric(unweighted_recall, "mean recall of the classes (= UA)"),
    "UF1": Metric(unweighted_f1, "mean F1 of the classes"),
    "WF1": Metric(weighted_f1, "mean F1 of the classes, weighted by how often each truly occurs"),
}
"""Every metric by its name, in the order of tables; more is better for all."""


def classification(classes: int) -> Measures:
    """How a classification into K classes is measured: by confusion matrices; the highest score is predicted."""
    cells = np.eye(classes**2, dtype=np.float32)  # whole numbers, exact up to 2^24 utterances
    return Measures(
        kind="classification",
        metrics=METRICS,
        main="UAR",
        outputs=classes,
        shape=(classes, classes),
        decide=lambda scores: scores.argmax(-1),
        parts=lambda true, guess: cells[true * classes + guess],
        sums=lambda true, guess: confusion(true, guess, classes),
        constant=lambda counts: (counts.sum(-2) > 0).sum(-1) == 1,
        probabilities=True,
    )


def _diagonal(counts: Counts) -> Counts:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _f1(counts: Counts) -> Values:
    """F1 `(..., K)` = 2 hits / (how often it occurs + how often it is predicted)."""
    return ratio(2 * _diagonal(counts), counts.sum(-1) + counts.sum(-2))
