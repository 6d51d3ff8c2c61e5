"""Sequences as rows of a table."""

import pytest
import torch

from pipeline.data.steps import Features, Steps, at_least_one_step, concatenated

TABLE = torch.arange(1.0, 7.0).view(3, 2)


def test_sequences_become_steps_and_come_back() -> None:
    x = torch.randn(2, 3, 4)
    assert torch.equal(Steps.of(x).dense(), x)
    assert Steps.of(x[:, :0]).dense().shape == (2, 0, 4)


def test_what_is_not_there_is_exactly_zero_and_the_table_is_not_copied() -> None:
    steps = Steps(TABLE, torch.tensor([[0, 2], [2, 3]]))
    hidden = steps.where(torch.tensor([[True, False], [True, True]]))
    assert hidden.table is TABLE
    assert hidden.dense().tolist() == [[[1, 2], [0, 0]], [[5, 6], [0, 0]]]


@pytest.mark.parametrize("value", [1e6, float("nan")])
def test_a_row_that_no_sequence_has_cannot_be_seen(value: float) -> None:
    table = torch.cat([TABLE, torch.full((1, 2), value)])
    assert torch.equal(Steps(table, torch.tensor([[0, 4, 2]])).dense(), torch.tensor([[[1.0, 2], [0, 0], [5, 6]]]))


def test_steps_of_a_table_without_rows_are_zeros() -> None:
    assert torch.equal(Steps(torch.zeros(0, 2), torch.tensor([[0], [0]])).dense(), torch.zeros(2, 1, 2))


def test_chosen_steps_are_those_of_each_sequence() -> None:
    chosen = Steps(TABLE, torch.tensor([[0, 1], [2, 3]])).at(torch.tensor([[1], [0]]))
    assert chosen.dense().tolist() == [[[3, 4]], [[5, 6]]]


def test_concatenated_sequences_keep_a_common_table_and_join_others() -> None:
    first, second = (Steps(TABLE, torch.tensor([row])) for row in ([0, 3], [1, 2]))
    other = Steps(TABLE.clone(), second.index)
    assert concatenated([first, second]).table is TABLE
    for parts in ([first, second], [first, other], [other, first]):
        assert torch.equal(concatenated(parts).dense(), torch.cat([part.dense() for part in parts]))


def test_gradients_of_shared_steps_add_up() -> None:
    table = TABLE.clone().requires_grad_()
    Steps(table, torch.tensor([[0, 0, 3], [0, 2, 3]])).dense().sum().backward()
    assert table.grad is not None
    assert table.grad.tolist() == [[3, 3], [0, 0], [1, 1]]


def test_features_are_made_once_when_they_are_asked_for() -> None:
    features = Features.of({"text": torch.ones(1, 2, 3), "audio": torch.zeros(1, 0, 4)})
    assert features["text"] is features["text"]
    assert {m: x.shape for m, x in features.items()} == {"text": (1, 2, 3), "audio": (1, 0, 4)}
    assert Features.of(features) is features
    assert (
        features.where({m: torch.zeros(x.shape[:2], dtype=torch.bool) for m, x in features.items()})["text"].sum() == 0
    )


def test_only_empty_sequences_get_a_step_of_padding() -> None:
    assert torch.equal(at_least_one_step(torch.ones(2, 0, 3)), torch.zeros(2, 1, 3))
    assert torch.equal(at_least_one_step(torch.ones(2, 0, dtype=torch.bool)), torch.zeros(2, 1, dtype=torch.bool))
    x = torch.ones(2, 4, 3)
    assert at_least_one_step(x) is x
    empty, steps = Steps(torch.ones(3, 2), torch.zeros(2, 0, dtype=torch.int64)), Steps.of(x)
    assert torch.equal(at_least_one_step(empty).dense(), torch.zeros(2, 1, 2))
    assert at_least_one_step(steps) is steps
