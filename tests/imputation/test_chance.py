"""Chance belongs to seed, utterance, purpose, draw and coordinate, and is as uniform or normal as it says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.imputation.chance import Chance

KEYS = torch.tensor([3, 1 << 62, 0, 77, 12345678901])


@given(st.integers(0, 2**63 - 1), st.permutations(range(5)), st.integers(1, 5), st.integers(1, 9))
def test_numbers_are_those_of_the_utterance_wherever_it_stands(seed: int, order: list[int], n: int, width: int) -> None:
    whole = Chance(seed, KEYS)
    rows = torch.tensor(order[:3])
    for draw in (Chance.uniforms, Chance.normals):
        assert torch.equal(draw(whole.of(rows), "x", n, width), draw(whole, "x", n, width)[:, rows])


@given(st.integers(0, 2**63 - 1), st.integers(1, 5), st.integers(1, 9))
def test_more_draws_and_coordinates_begin_with_the_fewer(seed: int, n: int, width: int) -> None:
    chance = Chance(seed, KEYS)
    assert torch.equal(chance.uniforms("x", n + 3, width + 4)[:n, :, :width], chance.uniforms("x", n, width))


def test_seeds_purposes_utterances_draws_and_coordinates_differ() -> None:
    drawn = torch.cat([Chance(seed, KEYS).uniforms(word, 40, 50).flatten() for seed in (0, 1) for word in ("x", "y")])
    assert len(torch.unique(drawn)) == len(drawn)


def test_uniforms_are_uniform_and_normals_normal() -> None:
    chance = Chance(4, torch.arange(50))
    uniforms, normals = chance.uniforms("x", 20, 30).numpy().ravel(), chance.normals("x", 20, 31).numpy().ravel()
    assert 0 <= uniforms.min() < uniforms.max() < 1
    assert stats.kstest(uniforms, "uniform").pvalue > 0.01
    assert stats.kstest(normals, "norm").pvalue > 0.01
    assert normals.dtype == np.float32


def test_coordinates_draws_and_utterances_are_uncorrelated() -> None:
    drawn = Chance(4, torch.arange(400)).normals("x", 10, 6).double()
    for table in (drawn.flatten(0, 1), drawn.permute(1, 2, 0).flatten(0, 1)):
        correlation = np.corrcoef(table.numpy().T)
        assert np.abs(correlation - np.eye(len(correlation))).max() < 5 / np.sqrt(len(table))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_shapes(width: int) -> None:
    assert Chance(0, KEYS).normals("x", 3, width).shape == (3, 5, width)
    assert Chance(0, KEYS[:0]).uniforms("x", 3, width).shape == (3, 0, width)
