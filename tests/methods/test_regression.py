"""Every method as a regression: one value per utterance, trained on it, selected by its loss."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.data.task import Task
from pipeline.registry import load
from pipeline.training.params import NeuralParams
from pipeline.training.run import Run
from tests.methods.test_contract import METHODS, make_method

Make = Callable[..., Dataset]


def valued(data: Dataset) -> Dataset:
    """The same utterances with the number of their class as a value around 2."""
    return replace(data, labels=1.0 + data.labels.float(), task=Task((), "regression", 2.0))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_predicts_values(name: str, make: Make) -> None:
    train, valid = valued(make(n=36, whole=True)), valued(make(n=12, seed=1, whole=True))
    neural = issubclass(load("methods", name).Params, NeuralParams)
    method = make_method(name, train, **({"monitor": "uar", "epochs": 30, "regime": "complete"} if neural else {}))
    history = method.fit(train, valid, Run(("test",)))
    found = method.predict(train.batch(torch.arange(len(train)))).scores
    assert found.shape == (36, 1)
    assert torch.isfinite(found).all()
    error = (found[:, 0] - train.labels).abs().mean().item()
    if neural:
        assert {"loss", "valid_loss"} == set(history["epochs"][0])
        assert error < 0.6  # a constant has 2/3
    else:
        assert found.unique().tolist() == [2.0]
