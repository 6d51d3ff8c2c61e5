"""Dropout that does not dominate the training step on a CPU."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each value with probability `rate` and scale the others by 1 / (1 - rate); nothing outside training.

    On a CPU one 64-bit draw decides four values, at a resolution of 2 ** -16. Torch's own kernel draws once per value,
    which took a quarter of a training step of the small transformers here.

    Args:
        x: any shape.
        rate: in [0, 1].
        training: False returns `x`.
    """
    if not training or rate == 0.0:
        return x
    if not drawn_here(x.device, rate):
        return functional.dropout(x, rate)
    kept = draw_kept(torch.empty(x.shape, dtype=x.dtype), rate)
    return x * kept.mul_(1.0 / (1.0 - rate))


def drawn_here(device: torch.device, rate: float) -> bool:
    """Whether `draw_kept` can do it: on a CPU, at a rate that its resolution tells from 1."""
    return device.type == "cpu" and round(rate * 2**16) < 2**16


def draw_kept(out: Tensor, rate: float) -> Tensor:
    """Fill `out`, contiguous on a CPU, with 0 at probability `rate` and with 1 elsewhere, and return it."""
    drawn = torch.empty(-(-out.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    drawn, least = drawn.view(torch.int16)[: out.numel()].view(out.shape), round(rate * 2**16) - 2**15
    if out.dtype.is_floating_point:
        return torch.ge(drawn, least, out=out)
    return out.copy_(drawn.ge_(least))  # five times as fast as a comparison into bytes


class Dropout(nn.Module):
    """`dropout` as a layer.

    Args:
        rate: in [0, 1].
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of `x`, any shape."""
        return dropout(x, self.rate, self.training)


class DroppedReLU(Dropout):
    """ReLU, then dropout: what follows the first linear layer of a feed-forward network; arguments as in `Dropout`.

    Their common result is all that the backward pass needs: it is positive where both let something through.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Of `x`, any shape, which nothing else may need: it is overwritten where no gradient is wanted."""
        rate = self.rate if self.training else 0.0
        if not rate and not (torch.is_grad_enabled() and x.requires_grad):
            return x.relu_()
        if not rate or not drawn_here(x.device, rate):
            return functional.dropout(functional.relu(x), rate)
        return cast("Tensor", _DroppedReLU.apply(x, rate))  # type: ignore[no-untyped-call]


class _DroppedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        ctx.scale = 1.0 / (1.0 - rate)
        kept = draw_kept(torch.empty(x.shape, dtype=x.dtype), rate).mul_(ctx.scale)
        passed = torch.relu(x).mul_(kept)
        ctx.save_for_backward(passed)
        return passed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (passed,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, passed, 0).mul_(ctx.scale), None
