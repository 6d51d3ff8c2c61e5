"""Intervals against scipy and by coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.errors import DataError
from pipeline.evaluation.intervals import summarize


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30), st.floats(0.5, 0.999))
def test_the_interval_is_the_t_interval_of_scipy(values: list[float], confidence: float) -> None:
    found = summarize(values, confidence)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    error = stats.sem(values)
    if error > 1e-6:
        low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=error)
        assert (float(found.low), float(found.high)) == pytest.approx((low, high), abs=1e-7)
    assert found.n == len(values)


def test_ninety_five_percent_intervals_hold_the_mean_in_ninety_five_percent_of_samples() -> None:
    samples = np.random.default_rng(0).normal(3.0, 2.0, (5, 20_000))
    found = summarize(samples, 0.95)
    assert ((found.low < 3) & (found.high > 3)).mean() == pytest.approx(0.95, abs=0.005)


def test_one_measurement_has_no_interval() -> None:
    found = summarize([[0.25, 0.5]], 0.95)
    np.testing.assert_array_equal(found.mean, [0.25, 0.5])
    assert np.isnan([found.sd, found.low, found.high]).all()


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), (1.0, 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_no_measurement_or_no_confidence_is_refused(values, confidence: float) -> None:
    with pytest.raises(DataError, match="interval: "):
        summarize(values, confidence)
