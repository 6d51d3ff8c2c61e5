"""A convolution over time, for sequences as they come: steps before features."""

from torch import Tensor, nn
from torch.nn import functional


class StepConvolution(nn.Conv1d):
    """A convolution over time of `(B, T, C)` without bias, as one matrix product and a shift per tap.

    Torch's own wants `(B, C, T)` and copies there and back, which takes longer than the product. Zeros continue a
    sequence at both ends, as with padding="same".

    Args:
        channels: C.
        width: D.
        kernel: steps that it sees.
    """

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, kernel, padding="same", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From `(B, T, C)` to `(B, T, D)`."""
        width, channels, kernel = self.weight.shape
        taps = functional.linear(x, self.weight.permute(2, 0, 1).reshape(-1, channels))
        if kernel == 1:
            return taps
        taps = taps.view(*x.shape[:2], kernel, width)
        before = (kernel - 1) // 2
        found: Tensor = taps[:, :, before].clone()
        for tap in range(kernel):
            if tap < before:
                found[:, before - tap :] += taps[:, : tap - before, tap]
            elif tap > before:
                found[:, : before - tap] += taps[:, tap - before :, tap]
        return found
