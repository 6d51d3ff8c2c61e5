"""Mean, spread and Student's t interval of repeated measurements."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from pipeline.errors import DataError

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """What `summarize` finds; arrays `(...)` float64 in units of the measurements.

    Args:
        mean: arithmetic mean.
        sd: sample standard deviation (n - 1), NaN for a single measurement.
        low: lower end of the interval, NaN for a single measurement.
        high: upper end.
        n: number of measurements.
    """

    mean: Values
    sd: Values
    low: Values
    high: Values
    n: int


def summarize(values: npt.ArrayLike, confidence: float) -> Summary:
    """Mean, deviation and t interval over the first axis.

    The interval takes measurements as independent. Seeds on one fold share their test utterances and folds share
    training utterances, so over folds x seeds it tells the spread rather than what a new corpus would give.

    Args:
        values: `(n, ...)` measurements.
        confidence: of the interval, in (0, 1).

    Raises:
        DataError: there is no measurement, or the confidence is outside (0, 1).

    >>> found = summarize([1.0, 2.0, 3.0], 0.95)
    >>> round(float(found.low), 3), round(float(found.high), 3)
    (-0.484, 4.484)
    """
    array = np.asarray(values, np.float64)
    if array.ndim < 1 or not len(array) or not 0 < confidence < 1:
        raise DataError(
            f"interval: {array.shape} measurements, confidence {confidence}; expected at least one, and between 0 and 1"
        )
    n, mean = len(array), array.mean(0)
    if n == 1:
        unknown = np.full(mean.shape, np.nan)
        return Summary(mean, unknown, unknown, unknown, n)
    sd = array.std(0, ddof=1)
    half = stdtrit(n - 1, (1 + confidence) / 2) * sd / np.sqrt(n)
    return Summary(mean, sd, mean - half, mean + half, n)
