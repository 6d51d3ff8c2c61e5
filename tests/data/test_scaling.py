"""Scaler: statistics of the training part alone, and 0 stays 0 where nothing is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.scaling import Scaler

Make = Callable[..., Dataset]


def changed(data: Dataset, m: str, values: torch.Tensor) -> Dataset:
    return replace(data, columns={**data.columns, m: replace(data.columns[m], values=values)})


def test_present_steps_of_the_training_part_get_mean_0_and_deviation_1(make_data: Make) -> None:
    data = make_data(60, absent_steps=0.3, lift=3.0)
    column = data.columns["text"]
    data = changed(data, "text", torch.where(column.present[:, None], 5.0 + 40.0 * column.values, 0.0))
    train = data.take(torch.arange(40))
    scaler = Scaler.fit(train)
    for column in scaler.apply(train).columns.values():
        seen = column.values[column.present].double()
        assert torch.allclose(seen.mean(0), torch.zeros(seen.shape[1], dtype=torch.float64), atol=1e-5)
        assert torch.allclose(seen.std(0, correction=0), torch.ones(seen.shape[1], dtype=torch.float64), atol=1e-5)
        assert not column.values[~column.present].any()


def test_the_statistics_are_those_of_numpy_over_present_steps(make_data: Make) -> None:
    train = make_data(20, absent_steps=0.5)
    scaler = Scaler.fit(train)
    for m, column in train.columns.items():
        seen = column.values[column.present].numpy().astype(np.float64)
        np.testing.assert_allclose(scaler.mean[m].numpy(), seen.mean(0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(scaler.deviation[m].numpy(), seen.std(0), rtol=1e-6)


def test_other_utterances_do_not_enter_the_statistics(make_data: Make) -> None:
    data = make_data(30)
    train = torch.arange(20)
    rest = torch.repeat_interleave(torch.arange(30) >= 20, data.columns["text"].lengths)
    odd = changed(data, "text", data.columns["text"].values.masked_fill(rest[:, None], float("nan")))
    one, other = Scaler.fit(data.take(train)), Scaler.fit(odd.take(train))
    for m in MODALITIES:
        assert torch.equal(one.mean[m], other.mean[m])
        assert torch.equal(one.deviation[m], other.deviation[m])


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e-9, -2e5, 0.1])
def test_a_constant_column_is_centred_and_not_blown_up(make_data: Make, constant: float) -> None:
    data = make_data(20)
    values = data.columns["audio"].values.clone()
    values[:, 0] = constant
    scaled = Scaler.fit(changed(data, "audio", values)).apply(changed(data, "audio", values))
    assert scaled.columns["audio"].values[:, 0].abs().max() <= 1e-6 * max(1.0, abs(constant))
    assert scaled.columns["audio"].values[:, 1].std() > 0.5


def test_a_modality_that_nobody_has_changes_nothing(make_data: Make) -> None:
    data = make_data({"text": [2, 3], "audio": [0, 0], "vision": [1, 0]})
    scaler = Scaler.fit(data)
    assert scaler.mean["audio"].tolist() == [0.0, 0.0]
    assert scaler.deviation["audio"].tolist() == [1.0, 1.0]
    assert scaler.apply(data).columns["audio"].values.shape == (0, 2)


def test_steps_that_are_not_present_stay_exactly_0_though_the_mean_is_not(make_data: Make) -> None:
    data = make_data(20, absent_steps=0.5)
    column = data.columns["vision"]
    shifted = changed(data, "vision", torch.where(column.present[:, None], column.values + 100.0, 0.0))
    scaled = Scaler.fit(shifted).apply(shifted).columns["vision"]
    assert not scaled.values[~scaled.present].any()
    assert scaled.values[scaled.present].abs().max() < 10


def test_the_identity_changes_nothing(make_data: Make) -> None:
    data = make_data(10)
    scaled = Scaler.identity(data).apply(data)
    assert all(torch.equal(scaled.columns[m].values, data.columns[m].values) for m in MODALITIES)


def test_the_given_dataset_is_not_changed(make_data: Make) -> None:
    data = make_data(10)
    before = {m: c.values.clone() for m, c in data.columns.items()}
    Scaler.fit(data).apply(data)
    assert all(torch.equal(before[m], data.columns[m].values) for m in MODALITIES)


def test_the_state_round_trips(make_data: Make) -> None:
    data = make_data(10)
    scaler = Scaler.fit(data)
    again = Scaler.load(scaler.state())
    for m in MODALITIES:
        assert torch.equal(again.apply(data).columns[m].values, scaler.apply(data).columns[m].values)
