"""A convolution over time, for sequences as they come: steps before features."""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.steps import Steps


class StepConvolution(nn.Conv1d):
    """A convolution over time without bias, as one matrix product and a shift per tap.

    Torch's own wants `(B, C, T)` and copies there and back, which takes longer than the product, and multiplies a step
    anew for every mask under which it is seen. Zeros continue a sequence at both ends, as with padding="same".

    Args:
        channels: C.
        width: D.
        kernel: steps that it sees.
    """

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, kernel, padding="same", bias=False)

    def forward(self, x: Steps) -> Tensor:  # type: ignore[override]
        """From sequences of T steps and C features to `(B, T, D)`; every row of their table is multiplied once."""
        width, channels, kernel = self.weight.shape
        products = functional.linear(x.table, self.weight.permute(2, 0, 1).reshape(-1, channels))  # (U, kernel D)
        taps = functional.pad(products, (0, 0, 0, 1)).view(-1, width)  # the step of zeros comes last
        first, before = x.index * kernel, (kernel - 1) // 2
        found = functional.embedding(first + before, taps)
        for tap in range(kernel):
            apart = abs(tap - before)
            if tap < before:
                found[:, apart:] += functional.embedding(first[:, :-apart] + tap, taps)
            elif tap > before:
                found[:, :-apart] += functional.embedding(first[:, apart:] + tap, taps)
        return found
