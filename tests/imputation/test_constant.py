"""Constant fillers put zeros or training means into holes, and nothing elsewhere."""

from typing import Literal

import pytest
import torch

from pipeline.errors import ContractError
from pipeline.imputation.constant import ConstantFiller

TRAIN = {"text": torch.tensor([[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]), "audio": torch.tensor([[5.0], [7.0], [0.0]])}
HAVE = {"text": torch.tensor([True, True, False]), "audio": torch.tensor([False, False, False])}
MEANS = {"text": [2.0, 4.0], "audio": [0.0]}


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_holes_are_filled_with_the_constant_and_what_is_there_stays(kind: Literal["zero", "mean"]) -> None:
    filler = ConstantFiller(kind)
    filler.fit(TRAIN, HAVE)
    vectors = {"text": torch.tensor([[7.0, 7.0], [float("nan"), 1e6]]), "audio": torch.tensor([[1.0], [1e6]])}
    have = {"text": torch.tensor([True, False]), "audio": torch.tensor([True, False])}
    filled = filler.sample(vectors, have, None, 3)
    for m, mean in MEANS.items():
        constant = torch.tensor(mean if kind == "mean" else [0.0] * len(mean))
        assert filled[m].shape == (3, 2, len(mean))
        for draw in filled[m]:
            assert torch.equal(draw[0], vectors[m][0])
            assert torch.equal(draw[1], constant)


def test_the_mean_is_that_of_the_vectors_that_are_there() -> None:
    filler = ConstantFiller("mean")
    filler.fit(TRAIN, HAVE)
    assert {m: x.tolist() for m, x in filler.state().items()} == MEANS


def test_an_unfitted_filler_is_refused() -> None:
    with pytest.raises(ContractError, match="sample before fit"):
        ConstantFiller("zero").sample(TRAIN, HAVE)


def test_the_state_round_trips() -> None:
    filler, other = ConstantFiller("mean"), ConstantFiller("mean")
    filler.fit(TRAIN, HAVE)
    other.load(filler.state())
    one, again = filler.sample(TRAIN, HAVE), other.sample(TRAIN, HAVE)
    assert all(torch.equal(one[m], again[m]) for m in TRAIN)
