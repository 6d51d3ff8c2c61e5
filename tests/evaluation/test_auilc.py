"""AUILC: identities, and grids that it refuses."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc

from pipeline.errors import DataError
from pipeline.evaluation.auilc import auilc, mean_height

TENTHS = np.arange(10) / 10
grids = st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True).map(lambda found: np.sort(found) / 1000)
heights = st.floats(-100, 100)


def test_numbers_of_the_paper_are_un_normalised() -> None:
    """A flat 70 gives 63 over rates 0.0 to 0.9; 78 - 10 r gives 66.15 (spec of the MCT-HFR paper, section 12)."""
    assert auilc(TENTHS, np.full(10, 70.0)) == pytest.approx(63.0)
    assert auilc(TENTHS, 78 - 10 * TENTHS) == pytest.approx(66.15)
    assert mean_height(TENTHS, 78 - 10 * TENTHS) == pytest.approx(66.15 / 0.9)


@given(grids, heights)
def test_a_constant_has_its_own_value_as_mean_height(rates: np.ndarray, value: float) -> None:
    values = np.full(len(rates), value)
    assert auilc(rates, values) == pytest.approx(value * (rates[-1] - rates[0]), abs=1e-9)
    assert mean_height(rates, values) == pytest.approx(value, abs=1e-9)


@given(grids, heights, heights)
def test_a_line_has_the_mean_of_its_ends_as_mean_height(rates: np.ndarray, start: float, slope: float) -> None:
    values = start + slope * rates
    assert mean_height(rates, values) == pytest.approx((values[0] + values[-1]) / 2, abs=1e-9)


@given(grids, st.integers(1, 5), st.data())
def test_points_on_the_curve_between_its_points_change_nothing(rates: np.ndarray, between: int, data) -> None:
    values = np.array(data.draw(st.lists(heights, min_size=len(rates), max_size=len(rates))))
    finer = np.unique(np.concatenate([np.linspace(a, b, between + 2) for a, b in pairwise(rates)]))
    assert auilc(finer, np.interp(finer, rates, values)) == pytest.approx(auilc(rates, values), abs=1e-7)


@given(grids, st.data())
def test_it_is_the_trapezoid_rule_and_linear_in_the_values(rates: np.ndarray, data) -> None:
    first, second = (np.array(data.draw(st.lists(heights, min_size=len(rates), max_size=len(rates)))) for _ in range(2))
    assert auilc(rates, first) == pytest.approx(auc(rates, first), abs=1e-9)
    both = auilc(rates, np.stack([first, second]))
    assert both.shape == (2,)
    assert auilc(rates, (first + second) / 2) == pytest.approx(both.mean(), abs=1e-9)


@pytest.mark.parametrize(
    ("rates", "values", "message"),
    [
        ([0.5], [1.0], r"rates are \[0.5\], expected at least two"),
        ([], [], "expected at least two"),
        ([[0.0, 0.1]], [[1.0, 1.0]], "expected at least two"),
        ([0.0, 0.2, 0.1], [1.0] * 3, "expected ascending and without repetition"),
        ([0.0, 0.1, 0.1], [1.0] * 3, "expected ascending and without repetition"),
        ([0.0, 1.1], [1.0] * 2, r"expected all in \[0, 1\]"),
        ([-0.1, 1.0], [1.0] * 2, r"expected all in \[0, 1\]"),
        ([0.0, float("nan")], [1.0] * 2, r"expected all in \[0, 1\]"),
        ([0.0, 0.5], [1.0] * 3, r"values of shape \(3,\) for 2 rates"),
        ([0.0, 0.5], [1.0, float("nan")], "expected one finite value each"),
    ],
)
@pytest.mark.parametrize("function", [auilc, mean_height])
def test_grids_that_make_no_curve_are_refused(function, rates: list, values: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        function(rates, values)
