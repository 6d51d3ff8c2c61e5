"""Metrics against scikit-learn and closed forms."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from pipeline.errors import DataError
from pipeline.evaluation.classification import (
    METRICS,
    accuracy,
    confusion,
    unweighted_f1,
    unweighted_recall,
    weighted_f1,
)

pairs = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60).map(
        lambda found: (k, np.array(found).T)
    )
)


@given(pairs)
def test_metrics_equal_those_of_scikit_learn(drawn: tuple[int, np.ndarray]) -> None:
    classes, (labels, predicted) = drawn
    counts = confusion(labels, predicted, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes that occur only once or only in the predictions
        expected = {
            "ACC": reference.accuracy_score(labels, predicted),
            "UAR": reference.balanced_accuracy_score(labels, predicted),
            "UF1": reference.f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0),
            "WF1": reference.f1_score(labels, predicted, average="weighted", zero_division=0),
        }
    assert {name: float(metric.value(counts)) for name, metric in METRICS.items()} == pytest.approx(expected)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(labels, predicted, labels=range(classes)))


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_constant_predictor_of_accuracy_p_has_the_closed_forms(right: int, wrong: int) -> None:
    p = right / (right + wrong)
    counts = confusion([0] * right + [1] * wrong, [0] * (right + wrong), 2)
    assert accuracy(counts) == pytest.approx(p)
    assert unweighted_recall(counts) == pytest.approx(1 / 2)
    assert unweighted_f1(counts) == pytest.approx(p / (1 + p))
    assert weighted_f1(counts) == pytest.approx(2 * p**2 / (1 + p))


def test_swapped_arguments_give_other_numbers_so_their_order_matters() -> None:
    labels, predicted = [0, 0, 0, 1], [0, 0, 0, 0]
    right, swapped = confusion(labels, predicted, 2), confusion(predicted, labels, 2)
    # class 0 has F1 = 2 * 3 / (3 + 4), class 1 has none; three of four labels are 0, four of four predictions are
    assert weighted_f1(right) == pytest.approx(3 / 4 * 6 / 7)
    assert weighted_f1(swapped) == pytest.approx(6 / 7)
    assert unweighted_recall(right) == pytest.approx((1 + 0) / 2)
    assert unweighted_recall(swapped) == pytest.approx(3 / 4)
    assert right.tolist() == [[3, 0], [1, 0]]


def test_recall_by_hand() -> None:
    counts = np.array([[8, 2, 0], [1, 3, 0], [3, 2, 1]])
    assert accuracy(counts) == pytest.approx(12 / 20)
    assert unweighted_recall(counts) == pytest.approx((8 / 10 + 3 / 4 + 1 / 6) / 3)


def test_leading_axes_give_what_a_loop_gives() -> None:
    random = np.random.default_rng(3)
    labels, predicted = random.integers(0, 4, 50), random.integers(0, 4, (3, 2, 50))
    counts = confusion(labels, predicted, 4)
    assert counts.shape == (3, 2, 4, 4)
    for metric in METRICS.values():
        looped = [[metric.value(confusion(labels, row, 4)) for row in block] for block in predicted]
        np.testing.assert_array_equal(metric.value(counts), looped)


def test_confusions_of_parts_add_up_to_that_of_the_whole() -> None:
    random = np.random.default_rng(4)
    labels, predicted = random.integers(0, 3, 30), random.integers(0, 3, 30)
    parts = confusion(labels[:10], predicted[:10], 3) + confusion(labels[10:], predicted[10:], 3)
    np.testing.assert_array_equal(parts, confusion(labels, predicted, 3))


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], [], "n at least 1"),
        ([0, 1], [0], r"labels of shape \(2,\), predictions of shape \(1,\)"),
        ([[0, 1]], [[0, 1]], r"expected \(n,\)"),
        ([0, 3], [0, 1], r"labels in \[0, 3\].*\[0, 3\)"),
        ([0, 1], [0, -1], r"predictions in \[-1, 0\]"),
    ],
)
def test_labels_and_predictions_that_do_not_fit_are_refused(labels: list, predicted: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        confusion(labels, predicted, 3)
