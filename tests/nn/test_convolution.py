import pytest
import torch

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
    found, expected = ours(x), torchs(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    wanted = draw(3, steps, 4, seed=1)
    for own, other in zip(
        torch.autograd.grad(found, (x, ours.weight), wanted),
        torch.autograd.grad(expected, (x, ours.weight), wanted),
        strict=True,
    ):
        torch.testing.assert_close(own, other)
