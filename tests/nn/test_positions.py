import math

import pytest
import torch

from pipeline.nn.positions import interleaved, sinusoidal


def test_entries_are_sines_then_cosines_of_positions_from_one():
    found = sinusoidal(5, 8)
    for step in range(5):
        for i in range(4):
            angle = (step + 1) * math.exp(-i * math.log(10000) / 3)
            assert found[step, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[step, 4 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_longer_sequence_begins_with_a_shorter_one():
    assert torch.equal(sinusoidal(9, 6)[:4], sinusoidal(4, 6))


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_any_width_is_finite(width):
    found = sinusoidal(3, width)
    assert found.shape == (3, width)
    assert torch.isfinite(found).all()
    if width % 2:
        assert torch.equal(found[:, -1], torch.zeros(3))


def test_interleaved_entries_are_sine_and_cosine_in_turn_of_positions_from_zero():
    found = interleaved(5, 8)
    for step in range(5):
        for i in range(4):
            angle = step * 10000 ** (-2 * i / 8)
            assert found[step, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[step, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_interleaved_positions_end_where_the_width_does(width):
    found = interleaved(3, width)
    assert found.shape == (3, width)
    assert torch.equal(found[0], (torch.arange(width) % 2).float())
