"""Metrics of regression: mean absolute error, Pearson's correlation, and accuracy and F1 of the sign.

The sign is taken in the two ways that papers on CMU-MOSI take it (as thuiar/MMSA's regression metrics do,
https://github.com/thuiar/MMSA): ACC2 and F1 tell values from `positive_from` on ("non-negative") from those below, over
all utterances; ACC2_non0 and F1_non0 leave out utterances whose true value is exactly `positive_from` (a neutral one)
and ask of the others whether the value is above it. F1 is the mean over the two classes, weighted by how often each
truly occurs.

Statistics are `(..., 15)` float64, sums over utterances with true value y and predicted value p: 1, |p - y|, y, p, y^2,
p^2, y p, and for each way of taking the sign the four counts (true, predicted) = (-, -), (-, +), (+, -), (+, +).
"""

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.evaluation.classification import accuracy, weighted_f1
from pipeline.evaluation.measures import Measures, Metric, Statistics, Values, ratio

_SIZE = 15
_FLAT = 1e-12
"""Share of the mean square below which a variance is rounding: all values are the same."""


def regression(positive_from: float) -> Measures:
    """How a regression is measured.

    Args:
        positive_from: the value from which on an utterance counts as positive.
    """

    def parts(true: npt.NDArray[np.floating], guess: npt.NDArray[np.floating]) -> Values:
        y, p = np.broadcast_arrays(np.asarray(true, np.float64), np.asarray(guess, np.float64))
        signs = [
            np.eye(4)[2 * (y >= positive_from) + (p >= positive_from)],
            np.eye(4)[2 * (y > positive_from) + (p > positive_from)] * (y != positive_from)[..., None],
        ]
        moments = np.stack([np.ones_like(y), np.abs(p - y), y, p, y * y, p * p, y * p], -1)
        return np.concatenate([moments, *signs], -1)

    def sums(true: npt.NDArray[np.floating], guess: npt.NDArray[np.floating]) -> Values:
        if np.ndim(true) != 1 or not np.size(true) or np.shape(guess)[-1:] != np.shape(true):
            raise DataError(
                f"regression: values of shape {np.shape(true)}, predictions of shape {np.shape(guess)}; expected (n,) "
                "and (..., n), n at least 1"
            )
        total: Values = parts(true, guess).sum(-2)
        return total

    at = f"{positive_from:g}"
    metrics = {
        "MAE": Metric(mean_absolute_error, "mean absolute error, in units of the label", "lower", percent=False),
        "Corr": Metric(correlation, "Pearson's correlation; 0 where all predictions are the same", percent=False),
        "ACC2": Metric(lambda s: accuracy(_signs(s, 7)), f"accuracy of telling values from {at} on from those below"),
        "F1": Metric(lambda s: weighted_f1(_signs(s, 7)), "F1 of the two sides of ACC2, weighted by their support"),
        "ACC2_non0": Metric(
            lambda s: accuracy(_signs(s, 11)),
            f"accuracy of telling values above {at} from those below; true values of exactly {at} are left out",
        ),
        "F1_non0": Metric(
            lambda s: weighted_f1(_signs(s, 11)), "F1 of the two sides of ACC2_non0, weighted by their support"
        ),
    }
    return Measures(
        kind="regression",
        metrics=metrics,
        main="MAE",
        outputs=1,
        shape=(_SIZE,),
        decide=lambda scores: scores[..., 0].astype(np.float64),
        parts=parts,
        sums=sums,
        constant=lambda s: _variance(s[..., 0], s[..., 3], s[..., 5]) == 0,
        probabilities=False,
    )


def mean_absolute_error(sums: Statistics) -> Values:
    """MAE, in units of the label."""
    return ratio(sums[..., 1], sums[..., 0])


def correlation(sums: Statistics) -> Values:
    """Pearson's correlation in [-1, 1]; 0 where the truth or the predictions are constant (it is not defined there)."""
    n, _, y, p, yy, pp, yp = np.moveaxis(sums[..., :7], -1, 0)
    scale = np.sqrt(_variance(n, y, yy) * _variance(n, p, pp))
    return np.clip(ratio(n * yp - y * p, scale), -1.0, 1.0)


def _variance(n: Values, total: Values, squares: Values) -> Values:
    """n^2 times the population variance; exactly 0 where it is only rounding."""
    found: Values = n * squares - total * total
    return np.where(found <= _FLAT * n * squares, 0.0, found)


def _signs(sums: Statistics, first: int) -> Statistics:
    """Confusion `(..., 2, 2)` of the sign."""
    return sums[..., first : first + 4].reshape(*sums.shape[:-1], 2, 2)
