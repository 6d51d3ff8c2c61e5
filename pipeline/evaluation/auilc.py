"""AUILC: the area under a curve of a metric over missing rates.

The papers print it un-normalised: the trapezoids over the rates really used are summed and that is all (the MCT-HFR
paper, equation 19), so over rates 0.0 to 0.9 a flat curve at 70 gives 63, and the maximum is 90. Numbers from grids of
different range cannot be compared; their mean heights can.
"""

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

Values = npt.NDArray[np.float64]


def auilc(rates: npt.ArrayLike, values: npt.ArrayLike) -> Values:
    """Integrate by trapezoids, without dividing by the range of rates.

    Args:
        rates: `(P,)` missing rates in [0, 1], ascending, at least two.
        values: `(..., P)` of a metric at these rates; leading axes are folds, seeds, repeats and the like.

    Returns:
        `(...)` float64, in units of the metric.

    Raises:
        DataError: too few, unsorted or repeated rates, one outside [0, 1], or not one value per rate.

    >>> rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    >>> round(float(auilc(rates, [70.0] * 10)), 10)
    63.0
    """
    grid, heights = _check(rates, values)
    area: Values = ((heights[..., 1:] + heights[..., :-1]) * np.diff(grid) / 2).sum(-1)
    return area


def mean_height(rates: npt.ArrayLike, values: npt.ArrayLike) -> Values:
    """AUILC divided by the range of rates: the mean height of the curve, in units of the metric; see `auilc`.

    >>> round(float(mean_height([0.0, 0.5], [1.0, 0.5])), 10)
    0.75
    """
    grid, heights = _check(rates, values)
    height: Values = auilc(grid, heights) / (grid[-1] - grid[0])
    return height


def _check(rates: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Values, Values]:
    grid, heights = np.asarray(rates, np.float64), np.asarray(values, np.float64)
    found = f"auilc: rates are {grid.tolist()}"
    fix = "mend the rates of the benchmark in params.yaml"
    if grid.ndim != 1 or len(grid) < 2:
        raise DataError(f"{found}, expected at least two; {fix}")
    if not ((grid >= 0) & (grid <= 1)).all():
        raise DataError(f"{found}, expected all in [0, 1]; {fix}")
    if not (np.diff(grid) > 0).all():
        raise DataError(f"{found}, expected ascending and without repetition; {fix}")
    if heights.shape[-1:] != grid.shape or not np.isfinite(heights).all():
        raise DataError(f"auilc: values of shape {heights.shape} for {len(grid)} rates, expected one finite value each")
    return grid, heights
