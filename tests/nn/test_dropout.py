import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.nn.dropout import Dropout, DroppedReLU, dropout


@given(rate=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_values_drop_at_the_rate_and_the_others_keep_the_mean(rate, seed):
    torch.manual_seed(seed)
    n = 20_000
    found = dropout(torch.ones(n), rate, training=True)
    kept = found != 0
    deviation = (rate * (1 - rate) / n) ** 0.5
    assert abs(kept.float().mean().item() - (1 - rate)) < 6 * deviation
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / (1 - rate)))


def test_neighbours_drop_independently():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(40_000), 0.5, training=True) != 0).double()
    for distance in range(1, 9):
        both = (kept[:-distance] * kept[distance:]).mean().item()
        assert abs(both - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5


def test_nothing_happens_outside_training_or_at_rate_zero():
    x = torch.randn(5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    layer = Dropout(0.5).eval()
    assert layer(x) is x


def test_rate_one_drops_everything():
    assert torch.equal(dropout(torch.ones(7), 1.0, training=True), torch.zeros(7))


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 0, 3), (3, 5, 7)])
def test_shape_is_kept(shape):
    assert Dropout(0.3)(torch.ones(shape)).shape == shape


def test_the_same_seed_drops_the_same_values():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(torch.ones(100), 0.5, training=True))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_gradient_passes_where_values_pass():
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    found = dropout(x, 0.25, training=True)
    found.sum().backward()
    assert torch.equal(x.grad, found)


def test_other_devices_use_the_kernel_of_torch(monkeypatch):
    monkeypatch.setattr(functional, "dropout", lambda x, rate: ("torch", rate))
    assert dropout(torch.ones(3, device="meta"), 0.5, training=True) == ("torch", 0.5)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_dropped_relu_is_relu_then_dropout(rate):
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found, gradients = [], []
    for layer in (DroppedReLU(rate), lambda x: dropout(functional.relu(x), rate, training=True)):
        torch.manual_seed(1)
        found.append(layer(x))
        gradients += torch.autograd.grad(found[-1], x, torch.arange(120.0).view(4, 5, 6))
    assert torch.equal(*found)
    assert torch.equal(*gradients)


def test_dropped_relu_outside_training_is_relu():
    layer = DroppedReLU(0.5).eval()
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    assert layer(x).tolist() == [0.0, 2.0]
    assert x.tolist() == [-1.0, 2.0]  # a gradient is wanted, so it stays
    with torch.no_grad():
        assert layer(x.clone()).tolist() == [0.0, 2.0]


def test_dropped_relu_on_other_devices_uses_the_kernel_of_torch(monkeypatch):
    monkeypatch.setattr(functional, "dropout", lambda x, rate: ("torch", rate))
    assert DroppedReLU(0.5)(torch.ones(3, device="meta")) == ("torch", 0.5)
