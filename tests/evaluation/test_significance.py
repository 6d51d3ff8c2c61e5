"""Paired tests, Holm, the nested bootstrap, calibration and risk-coverage: against scipy and hand-computed cases."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import DataError
from pipeline.evaluation.classification import accuracy, classification, confusion
from pipeline.evaluation.significance import (
    bootstrap,
    calibration_error,
    draws,
    holm,
    paired,
    percentile_interval,
    risk_coverage,
)

ROW = [0.61, 0.58, 0.70, 0.66, 0.59, 0.72, 0.64, 0.69]
TWO = classification(2)
REFERENCE = [0.60, 0.55, 0.71, 0.60, 0.55, 0.70, 0.65, 0.61]


def test_paired_tests_are_those_of_scipy():
    found = paired(ROW, REFERENCE, 0.95)
    assert found.t_p == pytest.approx(stats.ttest_rel(ROW, REFERENCE).pvalue, rel=1e-12)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(ROW, REFERENCE).pvalue, rel=1e-12)
    interval = stats.ttest_rel(ROW, REFERENCE).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.difference == pytest.approx(np.mean(ROW) - np.mean(REFERENCE))
    assert found.n == 8


def test_a_row_against_itself_differs_by_nothing():
    found = paired(ROW, ROW, 0.95)
    assert (found.difference, found.low, found.high, found.t_p, found.wilcoxon_p) == (0, 0, 0, 1, 1)


def test_a_difference_without_any_spread_has_a_p_of_0():
    assert paired([0.5, 0.75], [0.25, 0.5], 0.95).t_p == 0.0


def test_one_run_has_a_difference_and_no_p():
    found = paired([0.5], [0.25], 0.95)
    assert found.difference == 0.25
    assert all(map(math.isnan, (found.low, found.high, found.t_p, found.wilcoxon_p)))


@pytest.mark.parametrize("other", [[0.5], [], [[0.5, 0.6]]])
def test_runs_that_are_not_the_same_are_refused(other):
    with pytest.raises(DataError, match="expected the same runs of both"):
        paired([0.5, 0.6], other, 0.95)


def test_holm_by_hand():
    # 4 tests, sorted .005 .01 .03 .04: .02, .03, .06, .06 (the last may not be below the one before).
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_leaves_out_what_was_not_tested():
    found = holm([0.01, math.nan, 0.02])
    assert math.isnan(found[1])
    assert found[[0, 2]].tolist() == [0.02, 0.02]


def test_holm_never_lowers_a_p_and_keeps_the_order():
    p = np.random.default_rng(0).random(20) ** 3
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_draws_take_as_many_utterances_as_each_drawn_speaker_has():
    speakers = ["a"] * 3 + ["b"] * 5
    weights = draws(speakers, 400)
    of_a, of_b = weights[:, :3].sum(1), weights[:, 3:].sum(1)
    assert set(of_a.tolist()) == {0, 3, 6}
    assert set(of_b.tolist()) == {0, 5, 10}
    assert (of_a // 3 + of_b // 5 == 2).all()
    assert np.array_equal(weights, draws(speakers, 400))
    # Both speakers once: probability 1/2; standard error .025.
    assert abs((of_a == 3).mean() - 0.5) < 0.1


def test_bootstrap_of_accuracy_by_hand():
    labels, guess = np.array([0, 1, 1]), np.array([[[0, 1, 0]]])
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 0, 3], [0, 2, 1]])
    found = bootstrap(labels, guess, weights, TWO, lambda counts: accuracy(counts).mean((1, 2)))
    assert found == pytest.approx([2 / 3, 1, 0, 2 / 3])


def test_bootstrap_without_resampling_is_the_measure_itself():
    random = np.random.default_rng(1)
    labels, guess = random.integers(0, 3, 40), random.integers(0, 3, (4, 2, 40))
    found = bootstrap(labels, guess, np.ones((1, 40), np.int64), classification(3), lambda counts: counts)
    np.testing.assert_array_equal(found[0], confusion(labels, guess, 3))


def test_bootstrap_with_one_utterance_a_speaker_agrees_with_scipys_binomial_spread():
    random = np.random.default_rng(2)
    right = random.random(300) < 0.7
    weights = draws([str(i) for i in range(300)], 2000)
    guess = np.where(right, 1, 0)[None, None]
    found = bootstrap(np.ones(300, np.int64), guess, weights, TWO, lambda counts: accuracy(counts).mean((1, 2)))
    p = right.mean()
    assert found.std() == pytest.approx(math.sqrt(p * (1 - p) / 300), rel=0.1)
    low, high = percentile_interval(found, 0.95)
    assert low < p < high


def test_speakers_that_differ_widen_the_interval():
    right = np.repeat([1, 0], 100)
    labels = np.ones(200, np.int64)

    def spread(speakers):
        weights = draws(speakers, 300)
        return bootstrap(labels, right[None, None], weights, TWO, lambda c: accuracy(c).mean((1, 2))).std()

    assert spread(["a"] * 100 + ["b"] * 100) > 5 * spread([str(i) for i in range(200)])


def test_interval_of_no_samples_is_unknown():
    assert all(map(math.isnan, percentile_interval([math.nan], 0.95)))


def test_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 1])
    # Bins of 1/10: (.8,.9]: one of .9 right; (.7,.8]: .8 wrong; (.6,.7]: .7 right; (.5,.6]: .55 right.
    assert calibration_error(scores, labels, 10) == pytest.approx((0.1 + 0.8 + 0.3 + 0.45) / 4)
    assert calibration_error(np.array([[1.0, 0.0]] * 3), np.zeros(3, np.int64)) == 0.0


def test_confidence_that_equals_accuracy_is_calibrated():
    scores = np.tile([0.75, 0.25], (400, 1))
    assert calibration_error(scores, np.repeat([0, 1], [300, 100])) == pytest.approx(0.0, abs=1e-12)


def test_risk_coverage_by_hand():
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    risk, area = risk_coverage(scores, np.array([1, 0, 1, 1]))
    # By confidence: .9 right, .8 right, .6 wrong, .5 wrong (a tie of classes goes to the first).
    assert risk.tolist() == [0, 0, 1 / 3, 0.5]
    assert area == pytest.approx((1 / 3 + 0.5) / 4)


def test_a_confident_mistake_costs_more_than_a_hesitant_one():
    labels = np.array([0, 0, 0])
    confident = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]])
    hesitant = np.array([[0.45, 0.55], [0.8, 0.2], [0.7, 0.3]])
    assert risk_coverage(confident, labels)[1] > risk_coverage(hesitant, labels)[1]
