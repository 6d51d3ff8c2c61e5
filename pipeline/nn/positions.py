"""Sinusoidal positions without parameters: as most transformer methods of this field have them, and interleaved."""

import math

import torch
from torch import Tensor


def sinusoidal(steps: int, width: int, device: torch.device | None = None) -> Tensor:
    """Encode the positions 1 to `steps`: sines in the first half of the channels, cosines in the second.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5, with the frequencies of fairseq:
    w_i = exp(-i ln(10000) / (width // 2 - 1)). An odd `width` leaves its last channel 0.

    Args:
        steps: T.
        width: D.
        device: where to compute.

    Returns:
        `(T, D)` float32 in [-1, 1].

    >>> sinusoidal(2, 4).shape
    torch.Size([2, 4])
    """
    half = width // 2
    index = torch.arange(half, device=device, dtype=torch.float32)
    frequency = torch.exp(index * (-math.log(10000.0) / max(half - 1, 1)))
    angle = torch.arange(1, steps + 1, device=device, dtype=torch.float32)[:, None] * frequency  # (T, D // 2)
    parts = [angle.sin(), angle.cos()]
    if width % 2:
        parts.append(torch.zeros(steps, 1, device=device))
    return torch.cat(parts, dim=-1)


def interleaved(steps: int, width: int, device: torch.device | None = None) -> Tensor:
    """Encode the positions 0 to `steps` - 1: sines in the even channels, cosines in the odd ones.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5: w_i = 10000 ** (-2 i / width).

    Args:
        steps: T.
        width: D.
        device: where to compute.

    Returns:
        `(T, D)` float32 in [-1, 1].

    >>> interleaved(2, 4)[0]
    tensor([0., 1., 0., 1.])
    """
    index = torch.arange(-(-width // 2), device=device, dtype=torch.float32)
    angle = torch.arange(steps, device=device)[:, None] * torch.exp(index * (-2.0 * math.log(10000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
