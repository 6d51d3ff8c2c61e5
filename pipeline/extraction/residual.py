"""ResNets of pictures without their classifier, in plain torch; names of weights are those of torchvision.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.extraction.convolution import fold_norms
from pipeline.extraction.network import seeded
from pipeline.extraction.states import load_weights
from pipeline.extractors.protocol import Weights

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Bottlenecks of each of the four stages."""


class Bottleneck(nn.Module):
    """Three convolutions, 1 x 1, 3 x 3 and 1 x 1, around which the input passes.

    Args:
        channels: of the input.
        width: channels inside; the output has four times as many.
        stride: of the block.
        caffe: whether the first convolution has the stride, as the authors' own models do; else the 3 x 3 one.
    """

    def __init__(self, channels: int, width: int, stride: int, *, caffe: bool) -> None:
        """Build with random weights."""
        super().__init__()
        first, second = (stride, 1) if caffe else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != 4 * width:
            conv = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        """From `(B, C, H, W)` to `(B, 4 width, H / stride, W / stride)`."""
        y: Tensor = self.bn1(self.conv1(x)).relu_()
        y = self.bn2(self.conv2(y)).relu_()
        y = self.bn3(self.conv3(y))
        y += self.downsample(x)
        return y.relu_()


class ResNet(nn.Module):
    """A ResNet up to its global average.

    Args:
        blocks: bottlenecks of each of the four stages.
        caffe: strides and border of the authors' models in Caffe: the first pooling has no border and rounds up.
    """

    def __init__(self, blocks: Sequence[int], *, caffe: bool) -> None:
        """Build with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=0 if caffe else 1, ceil_mode=caffe)
        channels, stages = 64, []
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            layers = []
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(channels, width, stride, caffe=caffe))
                channels = 4 * width
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> Tensor:
        """From pictures `(B, 3, H, W)` to `(B, 2048)`."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu_())
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return torch.mean(x, (2, 3))


def build_resnet(depth: int, weights: Weights, model: str, how: str, *, caffe: bool = False) -> nn.Module:
    """A ResNet for inference, its normalisation folded into its convolutions.

    Args:
        depth: 50 or 101.
        weights: the file, or `random`.
        model: what the file must be, for messages.
        how: to get it, for messages.
        caffe: as `ResNet` takes it.

    Raises:
        DataError: the file holds something else.
    """
    network = seeded(lambda: ResNet(BLOCKS[depth], caffe=caffe))
    if not isinstance(weights, str) and weights is not None:
        load_weights(network, weights, model, how, unused=("fc.",))
    return fold_norms(network)
