"""Order and batches: everyone once per epoch, in batches of like size."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.dataset import Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.training.batches import by_length, shuffled, total_lengths

Make = Callable[..., Dataset]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(count=st.integers(1, 90), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_everyone_comes_once_in_batches_whose_sizes_differ_by_one_at_most(
    make_data: Make, count: int, size: int, seed: int
) -> None:
    data = make_data({m: [(7 * i) % 5 for i in range(count)] for m in MODALITIES})
    batches = list(shuffled(data, size, generator(seed)))
    sizes = [len(batch) for batch in batches]
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-count // size)
    assert size < 3 or count == 1 or min(sizes) > 1


def test_the_order_is_that_of_the_generator_and_differs_between_epochs(make_data: Make) -> None:
    data, one, other = make_data(50), generator(), generator()
    epochs = [torch.cat(list(shuffled(data, 8, one))).tolist() for _ in range(3)]
    assert epochs == [torch.cat(list(shuffled(data, 8, other))).tolist() for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_needs_no_global_chance(make_data: Make) -> None:
    state = torch.get_rng_state()
    list(shuffled(make_data(20), 8, generator()))
    assert torch.equal(state, torch.get_rng_state())


def test_neighbours_in_a_batch_are_of_similar_length(make_data: Make) -> None:
    data = make_data({m: [i % 50 for i in range(400)] for m in MODALITIES})
    lengths = total_lengths(data).float()
    spread = torch.stack([lengths[batch].std() for batch in shuffled(data, 16, generator())]).mean()
    assert spread < 0.3 * lengths.std()


def test_batches_are_shuffled_across_lengths(make_data: Make) -> None:
    data = make_data({m: [i % 50 for i in range(400)] for m in MODALITIES})
    means = [total_lengths(data)[batch].float().mean().item() for batch in shuffled(data, 16, generator())]
    assert means != sorted(means)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_evaluation_goes_from_short_to_long(make_data: Make, size: int) -> None:
    data = make_data(30)
    order = torch.cat(list(by_length(data, size)))
    assert sorted(order.tolist()) == list(range(30))
    assert total_lengths(data)[order].tolist() == sorted(total_lengths(data).tolist())
    assert max(len(batch) for batch in by_length(data, size)) <= size


def test_total_lengths_are_summed_over_modalities(make_data: Make) -> None:
    data = make_data({"text": [1, 0], "audio": [2, 0], "vision": [4, 3]})
    assert total_lengths(data).tolist() == [7, 3]
