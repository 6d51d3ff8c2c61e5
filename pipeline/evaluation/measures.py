"""What a task is measured by: statistics that add up over utterances, and metrics that are functions of them.

Statistics of folds are added to pool them, and weighted to resample them, so every metric is computed in one way from
one run, from all folds together and from a bootstrap sample. `classification` and `regression` make the two kinds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Statistics = npt.NDArray[Any]
"""`(..., *shape)` sums over utterances; leading axes are conditions, repeats and the like."""

Values = npt.NDArray[np.float64]
Truth = npt.NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Args:
        value: from statistics `(..., *shape)` to `(...)` float64.
        means: what it is, in words.
        better: whether more or less of it is better.
        percent: whether it is a share in [0, 1] that people read in %.
    """

    value: Callable[[Statistics], Values]
    means: str
    better: Literal["higher", "lower"] = "higher"
    percent: bool = True


@dataclass(frozen=True)
class Measures:
    """How the predictions of a task are measured.

    Args:
        kind: of the task.
        metrics: by name, in the order of tables.
        main: the metric of a benchmark for which nothing else is asked.
        outputs: width K of stored scores.
        shape: of the statistics of one run.
        decide: from scores `(..., n, K)` to predictions `(..., n)`.
        parts: from truth and predictions `(n,)` to what each utterance adds, `(n, S)`, S the product of `shape`.
        sums: from truth `(n,)` and predictions `(..., n)` to statistics `(..., *shape)`.
        constant: from statistics to whether one and the same thing is always predicted, `(...)` bool.
        probabilities: whether scores are class probabilities, whose calibration can be measured.
    """

    kind: Literal["classification", "regression"]
    metrics: dict[str, Metric]
    main: str
    outputs: int
    shape: tuple[int, ...]
    decide: Callable[[npt.NDArray[np.floating]], npt.NDArray[Any]]
    parts: Callable[[Truth, npt.NDArray[Any]], npt.NDArray[np.floating]]
    sums: Callable[[Truth, npt.NDArray[Any]], Statistics]
    constant: Callable[[Statistics], npt.NDArray[np.bool_]]
    probabilities: bool

    def described(self) -> dict[str, dict[str, Any]]:
        """What a report has to know of every metric, as JSON values."""
        return {
            name: {"means": metric.means, "better": metric.better, "percent": metric.percent}
            for name, metric in self.metrics.items()
        }


def ratio(above: npt.NDArray[np.number], below: npt.NDArray[np.number]) -> Values:
    """Divide, with 0 / 0 = 0."""
    result: Values = np.divide(above, below, out=np.zeros(np.shape(above)), where=np.asarray(below) > 0)
    return result
