import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch.nn import functional

from pipeline.nn.distances import (
    central_moment_discrepancy,
    jensen_shannon,
    missing_step_error,
    negative_cosine,
)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_moment_discrepancy_of_a_worked_example_is_eight():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    assert central_moment_discrepancy(x, y).item() == pytest.approx(8.0, abs=1e-4)


def test_moment_discrepancy_of_equal_batches_is_small_with_finite_gradient():
    x = draw(0, 6, 4).requires_grad_()
    found = central_moment_discrepancy(x, x)
    assert found.item() < 1e-4
    found.backward()
    assert torch.isfinite(x.grad).all()


@given(seed=st.integers(0, 100), order=st.integers(1, 5))
def test_moment_discrepancy_is_symmetric_and_grows_with_the_order(seed, order):
    x, y = draw(seed, 5, 3), draw(seed + 1000, 7, 3)
    found = central_moment_discrepancy(x, y, order)
    assert found.item() == pytest.approx(central_moment_discrepancy(y, x, order).item(), rel=1e-5)
    assert central_moment_discrepancy(x, y, order + 1) >= found


@given(seed=st.integers(0, 100), shift=st.floats(-3, 3))
def test_only_the_first_moment_sees_a_shift(seed, shift):
    x, y = draw(seed, 5, 3).double(), draw(seed + 1000, 5, 3).double()
    higher = [central_moment_discrepancy(x, y + s) - central_moment_discrepancy(x, y + s, 1) for s in (0.0, shift)]
    assert higher[0].item() == pytest.approx(higher[1].item(), rel=1e-6, abs=1e-6)


def test_one_utterance_has_only_a_mean():
    x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    assert central_moment_discrepancy(x, y).item() == pytest.approx(5.0, abs=1e-5)


def test_jensen_shannon_is_that_of_scipy_over_softmax():
    x, y = draw(1, 4, 6), draw(2, 4, 6)
    p, q = torch.softmax(x, -1).numpy(), torch.softmax(y, -1).numpy()
    expected = np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])
    assert jensen_shannon(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_jensen_shannon_lies_between_zero_and_ln_2():
    x = torch.tensor([[100.0, 0.0]])
    assert jensen_shannon(x, x).item() == pytest.approx(0.0, abs=1e-6)
    assert jensen_shannon(x, x.flip(1)).item() == pytest.approx(math.log(2), rel=1e-5)


def test_cosine_distance_falls_to_minus_one_for_parallel_rows():
    x = draw(3, 4, 5)
    assert negative_cosine(x, 2 * x).item() == pytest.approx(-1.0)
    assert negative_cosine(x, -x).item() == pytest.approx(1.0)


def test_reconstruction_error_sees_missing_steps_only():
    reconstructed, target = draw(4, 2, 3, 5).requires_grad_(), draw(5, 2, 3, 5)
    missing = torch.tensor([[True, False, False], [False, True, True]])
    found = missing_step_error(reconstructed, target, missing)
    single = functional.smooth_l1_loss(reconstructed, target, reduction="none")
    expected = (single * missing[..., None]).sum() / (5 * 3 + 1e-4)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    assert torch.equal(reconstructed.grad.abs().sum(-1) > 0, missing)


def test_reconstruction_error_without_missing_steps_is_zero_with_finite_gradient():
    reconstructed = draw(6, 2, 3, 5).requires_grad_()
    found = missing_step_error(reconstructed, draw(7, 2, 3, 5), torch.zeros(2, 3, dtype=torch.bool))
    assert found.item() == 0.0
    found.backward()
    assert torch.equal(reconstructed.grad, torch.zeros(2, 3, 5))
