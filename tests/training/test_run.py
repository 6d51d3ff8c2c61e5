"""A run: its words name every stream of chance."""

import torch

from pipeline.training.run import Run


def test_streams_differ_by_words_and_purpose_and_come_back() -> None:
    draws = [
        torch.rand(4, generator=Run(words).generator(*purpose)).tolist()
        for words in (("a", 1), ("a", 2))
        for purpose in (("order",), ("masks",), ("masks", 2))
    ]
    assert len({tuple(draw) for draw in draws}) == 6
    assert torch.rand(4, generator=Run(("a", 1)).generator("order")).tolist() == draws[0]


def test_initial_weights_are_those_of_the_words() -> None:
    weights = []
    for words in (("a",), ("b",), ("a",)):
        Run(words).seed_weights()
        weights.append(torch.nn.Linear(3, 3).weight.tolist())
    assert weights[0] == weights[2] != weights[1]
