"""Pictures for networks: decoding of JPEG, size, and a network that takes one picture at a time.

Pictures are `(H, W, 3)` uint8, red first, until they are on the compute device: a quarter of the bytes of float32.
OpenCV decodes and scales without holding Python's lock, so that threads can prepare side by side.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.extraction.network import Network
from pipeline.extractors.protocol import Features

if TYPE_CHECKING:
    import torch

Picture = npt.NDArray[np.uint8]
Pictures = list[Picture | None]
"""Of every step of an utterance a picture `(1, side, side, 3)` or a clip; None where there is nothing to see."""

WIDTH = 2048
"""Features of the last stage of a ResNet with bottlenecks."""

_BATCH = 16


def decode(jpeg: bytes, utt_id: str, frame: int, *, grey: bool = False) -> Picture:
    """The picture of a JPEG file, `(H, W, 3)` or, `grey`, `(H, W)`.

    Args:
        jpeg: the file.
        utt_id: for the message.
        frame: its position, for the message.
        grey: whether only its brightness is wanted.

    Raises:
        DataError: these bytes are no image.
    """
    import cv2

    # Threads prepare utterances already; OpenCV knows nothing of OMP_NUM_THREADS.
    cv2.setNumThreads(0)
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(
            f"utterance '{utt_id}', frame {frame}: {len(jpeg)} bytes that are no image, expected JPEG; run decode again"
        )
    return np.asarray(image, np.uint8)


def resize(image: Picture, width: int, height: int) -> Picture:
    """Scale to `(height, width)`: areas are averaged where it shrinks (interpolation would alias), else bilinear."""
    if image.shape[:2] == (height, width):
        return image
    import cv2

    shrinks = image.shape[0] * image.shape[1] > width * height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def middle(image: Picture, short: int, side: int) -> Picture:
    """The square of `side` pixels in the middle, after scaling the short side to `short` >= `side` pixels."""
    height, width = image.shape[:2]
    least = min(height, width)
    scaled = resize(image, max(short, width * short // least), max(short, height * short // least))
    top, left = (round((extent - side) / 2) for extent in scaled.shape[:2])
    return scaled[top : top + side, left : left + side]


def run_seen(
    network: Network, prepared: Sequence[Pictures], forward: Callable[..., "torch.Tensor"], dim: int
) -> list[Features]:
    """Values `(T, dim)` float32 and present `(T,)` of every utterance; 0 where there is nothing to see.

    Args:
        network: runs all pictures together.
        prepared: of every utterance.
        forward: as `Network.run` takes it; gives `(B, 1, dim)`.
        dim: features of one picture.
    """
    found = iter(network.run([image for images in prepared for image in images if image is not None], forward))
    features = []
    for images in prepared:
        values = np.zeros((len(images), dim), np.float32)
        present = np.array([image is not None for image in images], np.bool_)
        for step in np.flatnonzero(present):
            values[step] = next(found)[0]
        features.append(Features(values, present))
    return features


class PictureNetwork(Network):
    """A network that makes one vector of one picture.

    Args:
        build: makes the network, which takes `(B, 3, H, W)` float32 and gives `(B, D)`.
        precision: as `Network` takes it.
        mean: subtracted from red, green and blue in [0, 255].
        deviation: what is left is divided by it.
        blue_first: whether the network takes blue, green and red in this order.
    """

    def __init__(
        self,
        build: Callable[[], "torch.nn.Module"],
        precision: str,
        mean: Sequence[float],
        deviation: Sequence[float] = (1.0, 1.0, 1.0),
        *,
        blue_first: bool = False,
    ) -> None:
        """Take note; nothing is built yet."""
        super().__init__(build, precision, _BATCH, "channels_last")
        self._mean, self._deviation, self._blue_first = mean, deviation, blue_first

    def extract(self, prepared: Sequence[Pictures], dim: int) -> list[Features]:
        """Features of every utterance, one step per picture, as `run_seen` gives them."""
        return run_seen(self, prepared, self._forward, dim)

    def _forward(self, network: "torch.nn.Module", images: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """From `(B, 1, H, W, 3)` uint8 to `(B, 1, D)`."""
        import torch

        mean, deviation = (torch.tensor(values, device=images.device) for values in (self._mean, self._deviation))
        pixels = (images[:, 0].float() - mean) / deviation
        if self._blue_first:
            pixels = pixels.flip(-1)
        output: torch.Tensor = network(pixels.permute(0, 3, 1, 2))
        return output.unsqueeze(1)
