import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.steps import Steps
from pipeline.nn.convolution import StepConvolution
from tests.networks import draw


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_step_convolution_is_the_one_of_torch(kernel, steps):
    ours = StepConvolution(6, 4, kernel)
    torchs = torch.nn.Conv1d(6, 4, kernel, padding="same", bias=False)
    torchs.weight = ours.weight
    x = draw(3, steps, 6).requires_grad_()
    found, expected = ours(Steps.of(x)), torchs(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    wanted = draw(3, steps, 4, seed=1)
    for own, other in zip(
        torch.autograd.grad(found, (x, ours.weight), wanted),
        torch.autograd.grad(expected, (x, ours.weight), wanted),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("kernel", [1, 3])
def test_sequences_that_share_steps_are_convolved_as_if_each_had_its_own(kernel):
    ours, table = StepConvolution(6, 4, kernel), draw(5, 6).requires_grad_()
    shared = Steps(table, torch.tensor([[0, 1, 2, 3], [0, 5, 2, 5], [4, 4, 5, 1]]))
    found, expected = ours(shared), ours(Steps.of(shared.dense()))
    torch.testing.assert_close(found, expected)
    wanted = draw(3, 4, 4, seed=1)
    for own, other in zip(
        *(torch.autograd.grad(x, (table, ours.weight), wanted) for x in (found, expected)), strict=True
    ):
        torch.testing.assert_close(own, other)


def test_every_row_of_a_table_is_multiplied_once_whatever_the_number_of_its_sequences():
    ours = StepConvolution(6, 4, 3)
    shared = Steps(draw(5, 6), torch.arange(5).repeat(50, 1))
    with FlopCounterMode(display=False) as counter:
        ours(shared)
    assert counter.get_total_flops() == 2 * 5 * 6 * 3 * 4
