"""Metrics of regression against scipy, scikit-learn and the rules of CMU-MOSI; statistics that add up."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from pipeline.errors import DataError
from pipeline.evaluation.regression import regression
from pipeline.evaluation.significance import bootstrap

MOSI = regression(0.0)
tenths = st.integers(-30, 30).map(lambda found: found / 10)
pairs = st.lists(st.tuples(tenths, tenths), min_size=1, max_size=60).map(lambda found: np.array(found).T)


def measured(true: np.ndarray, guess: np.ndarray, measures=MOSI) -> dict[str, float]:
    sums = measures.sums(true, guess)
    return {name: float(metric.value(sums)) for name, metric in measures.metrics.items()}


@given(pairs)
def test_metrics_equal_those_of_scikit_learn_and_scipy(drawn: np.ndarray) -> None:
    true, guess = drawn
    found = measured(true, guess)
    assert found["MAE"] == pytest.approx(reference.mean_absolute_error(true, guess), abs=1e-12)
    assert found["ACC2"] == pytest.approx(reference.accuracy_score(true >= 0, guess >= 0))
    assert found["F1"] == pytest.approx(reference.f1_score(true >= 0, guess >= 0, average="weighted", zero_division=0))
    inside = true != 0
    if inside.any():
        signs = true[inside] > 0, guess[inside] > 0
        assert found["ACC2_non0"] == pytest.approx(reference.accuracy_score(*signs))
        assert found["F1_non0"] == pytest.approx(reference.f1_score(*signs, average="weighted", zero_division=0))
    else:
        assert found["ACC2_non0"] == found["F1_non0"] == 0


@given(pairs)
def test_correlation_is_pearsons(drawn: np.ndarray) -> None:
    true, guess = drawn
    assume(len(set(true)) > 1 and len(set(guess)) > 1)
    assert measured(true, guess)["Corr"] == pytest.approx(stats.pearsonr(true, guess).statistic, abs=1e-9)


@given(st.floats(-1e3, 1e3), st.integers(2, 300))
def test_a_constant_predictor_has_no_correlation_and_is_told(value: float, n: int) -> None:
    true = np.linspace(-3, 3, n)
    sums = MOSI.sums(true, np.full(n, value))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MOSI.metrics["Corr"].value(sums) == 0
    assert MOSI.constant(sums)
    assert not MOSI.constant(MOSI.sums(true, true))


def test_zeros_count_as_positive_or_are_left_out_by_hand() -> None:
    true, guess = np.array([0.0, 0.0, 1.0, -1.0]), np.array([0.0, -0.5, 0.0, -2.0])
    found = measured(true, guess)
    # from 0 on: + + + - against + - + -; above 0 without true zeros: + - against - -
    assert found["ACC2"] == 3 / 4
    assert found["ACC2_non0"] == 1 / 2
    # of + and -, F1 is 0 and 2/3, each true once
    assert found["F1_non0"] == pytest.approx(1 / 3)
    assert found["MAE"] == pytest.approx((0 + 0.5 + 1 + 1) / 4)


def test_the_side_of_three_is_told_on_a_scale_of_five() -> None:
    found = measured(np.array([1.0, 3.0, 5.0]), np.array([3.0, 3.0, 4.0]), regression(3.0))
    assert (found["ACC2"], found["ACC2_non0"]) == (2 / 3, 1.0)


def test_statistics_of_parts_add_up_to_those_of_the_whole_and_of_a_loop() -> None:
    random = np.random.default_rng(0)
    true, guess = random.normal(size=30), random.normal(size=(3, 2, 30))
    whole = MOSI.sums(true, guess)
    assert whole.shape == (3, 2, *MOSI.shape)
    np.testing.assert_allclose(MOSI.sums(true[:9], guess[..., :9]) + MOSI.sums(true[9:], guess[..., 9:]), whole)
    np.testing.assert_allclose(MOSI.parts(true, guess[1, 1]).sum(0), whole[1, 1])


def test_a_bootstrap_sample_is_measured_as_if_it_were_the_data() -> None:
    random = np.random.default_rng(1)
    true, guess = random.normal(size=20), random.normal(size=(2, 1, 20))
    weights = random.integers(0, 4, (5, 20))
    corr = MOSI.metrics["Corr"].value
    found = bootstrap(true, guess, weights, MOSI, corr)
    for sample, values in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(20), sample)
        assert values[1, 0] == pytest.approx(stats.pearsonr(true[drawn], guess[1, 0, drawn]).statistic)


def test_values_and_predictions_that_do_not_fit_are_refused() -> None:
    for true, guess in (([], []), ([0.0, 1.0], [0.0]), ([[0.0]], [[0.0]])):
        with pytest.raises(DataError, match=r"expected \(n,\) and \(..., n\), n at least 1"):
            MOSI.sums(np.array(true), np.array(guess))
