"""Networks in batches: sorted by length, padded, cut to their own steps, the same numbers in any batch."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.extraction.network import GPU_BATCHES, Network, batch_factor, natural_precision, seeded


class Running(nn.Module):
    """Mean of the valid steps so far, twice as many features; counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 6)
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((x.shape[0], x.shape[1]))
        return self.linear(x.cumsum(1))


def forward(module: nn.Module, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    assert lengths.shape == inputs.shape[:1]
    assert all(not inputs[row, length:].any() for row, length in enumerate(lengths))
    return module(inputs)


@pytest.fixture
def inputs() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.normal(size=(length, 3)).astype(np.float32) for length in (5, 1, 9, 2, 9, 4)]


def network(budget: int, precision: str = "float32") -> Network:
    return Network(lambda: seeded(Running), precision, budget)


def test_every_input_has_its_own_result_in_its_own_place(inputs):
    own = seeded(Running).eval()
    with torch.inference_mode():
        expected = [own(torch.from_numpy(array)[None])[0].numpy() for array in inputs]
    for found, wanted in zip(network(20).run(inputs, forward), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("budget", "batches"),
    [(1, [(1, 1), (1, 2), (1, 4), (1, 5), (1, 9), (1, 9)]), (20, [(4, 5), (2, 9)]), (1000, [(6, 9)])],
)
def test_batches_hold_similar_lengths_up_to_the_budget(inputs, budget, batches):
    tested = network(budget)
    tested.run(inputs, forward)
    assert tested.module.seen == batches


def test_steps_say_what_is_kept(inputs):
    found = network(1000).run(inputs, forward, lambda length: (length + 1) // 2)
    assert [len(array) for array in found] == [3, 1, 5, 1, 5, 2]


def test_results_do_not_share_memory_with_their_batch(inputs):
    assert all(array.base is None for array in network(1000).run(inputs, forward))


def test_half_precision_is_used_when_asked_and_comes_back_as_float32(inputs):
    exact, half = (network(1000, precision).run(inputs, forward) for precision in ("float32", "bfloat16"))
    assert half[0].dtype == np.float32
    assert 0 < np.abs(exact[2] - half[2]).max() < 0.1


def test_seeded_networks_are_equal_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second = seeded(Running), seeded(Running)
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_gpu_gets_larger_batches_and_half_precision(monkeypatch):
    monkeypatch.delenv("LACUNA_BATCH", raising=False)
    assert (batch_factor("cpu"), batch_factor("cuda")) == (1.0, GPU_BATCHES)
    monkeypatch.setenv("LACUNA_DEVICE", "cpu")
    assert natural_precision() == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LACUNA_DEVICE", "cuda")
    assert natural_precision() == "bfloat16"


def test_batch_size_is_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("LACUNA_BATCH", "0.5")
    assert network(100).budget == 50


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "nan", "inf", ""])
def test_a_batch_size_that_is_none_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("LACUNA_BATCH", wrong)
    with pytest.raises(ParamsError, match=rf"^LACUNA_BATCH: found '{wrong}', expected a positive number"):
        batch_factor("cpu")
