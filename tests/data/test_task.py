"""The task: its loss and what outputs mean."""

import math

import pytest
import torch

from pipeline.data.task import Task

TASK = Task(("calm", "joy", "sadness"))


def test_probabilities_are_positive_and_sum_to_1() -> None:
    scores = TASK.predict(torch.tensor([[0.0, 0.0, 0.0], [1e4, 0.0, -1e4]], dtype=torch.float64))
    assert scores.dtype == torch.float32
    assert torch.allclose(scores.sum(1), torch.ones(2))
    assert torch.allclose(scores[0], torch.full((3,), 1 / 3))
    assert TASK.outputs == 3


def test_the_loss_is_the_mean_cross_entropy() -> None:
    logits, labels = torch.tensor([[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0]]), torch.tensor([1, 0])
    expected = (math.log(3) - math.log(2 / 4)) / 2
    assert math.isclose(TASK.loss(logits, labels).item(), expected, rel_tol=1e-6)


def test_a_regression_has_one_output_and_the_mean_absolute_error() -> None:
    task = Task((), "regression")
    logits, labels = torch.tensor([[1.0], [-2.0]], dtype=torch.float64), torch.tensor([0.5, 1.0], dtype=torch.float64)
    assert task.outputs == 1
    assert math.isclose(task.loss(logits, labels).item(), (0.5 + 3.0) / 2)
    assert task.predict(logits).tolist() == [[1.0], [-2.0]]
    assert task.predict(logits).dtype == torch.float32


def test_a_fitted_regression_starts_at_the_median_in_units_of_the_labels() -> None:
    labels = torch.tensor([1.0, 3.0, 3.5, 5.0, 4.0])
    task = Task((), "regression").fitted(labels)
    start = torch.zeros(5, 1)
    assert task.predict(start).unique().tolist() == [3.5]
    assert math.isclose(task.loss(start, labels).item(), (labels - 3.5).abs().mean().item(), rel_tol=1e-6)
    assert math.isclose(task.predict(torch.ones(1, 1)).item(), 3.5 + labels.std(correction=0).item(), rel_tol=1e-6)
    assert Task((), "regression").load(task.state()) == task
    assert Task((), "regression").fitted(torch.full((3,), 2.0)).scale == 1.0
    with pytest.raises(KeyError, match="centre"):  # never as if it were 0
        Task((), "regression").load({})


def test_a_classification_has_nothing_to_fit() -> None:
    assert TASK.fitted(torch.tensor([0, 1])) == TASK
    assert TASK.load(TASK.state()) == TASK
    assert TASK.state() == {}
