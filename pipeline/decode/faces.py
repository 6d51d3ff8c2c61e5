"""Face crops: the largest face, found by a boosted cascade on a small grey picture and followed from step to step.

Paul Viola and Michael Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, CVPR 2001,
https://doi.org/10.1109/CVPR.2001.990517; the cascade is the one that OpenCV ships.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from pipeline.decode.frames import Scaler, encode

CASCADE = "haarcascade_frontalface_alt2.xml"
DETECTION_PX = 240
"""Short side of the picture that is searched."""

PADDING = 0.15
"""Margin on every side of a crop, as a share of the detected box."""

_SMALLEST_PX = 24
_NEAR = 0.5
_GROWTH = 1.4
_SCALE_STEP = 1.1
_NEIGHBOURS = 4


@dataclass(frozen=True)
class Box:
    """A square in pixels: left, top and side."""

    x: float
    y: float
    side: float

    def scaled(self, factor: float) -> "Box":
        """The same square in a picture `factor` times as large."""
        return Box(self.x * factor, self.y * factor, self.side * factor)

    def padded(self, share: float) -> "Box":
        """Grown by `share` of its side on every side."""
        return Box(self.x - share * self.side, self.y - share * self.side, self.side * (1 + 2 * share))

    def inside(self, width: int, height: int) -> tuple[int, int, int]:
        """Whole pixels `(left, top, side)`, shrunk and moved so that it lies in the picture."""
        side = max(1, min(round(self.side), width, height))
        left = min(max(0, round(self.x + (self.side - side) / 2)), width - side)
        top = min(max(0, round(self.y + (self.side - side) / 2)), height - side)
        return left, top, side


@cache
def _cascade() -> Any:
    cv2.setNumThreads(0)
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / CASCADE))


def find_face(grey: npt.NDArray[np.uint8], last: Box | None) -> Box | None:
    """The largest face of a grey picture `(H, W)`, or None.

    Args:
        grey: the picture.
        last: where the face was a step ago: its surroundings are searched first, then everything.
    """
    height, width = grey.shape
    if last is not None:
        left, top, side = last.padded(_NEAR).inside(width, height)
        near = _largest(grey[top : top + side, left : left + side], last.side / _GROWTH, last.side * _GROWTH)
        if near is not None:
            return Box(near.x + left, near.y + top, near.side)
    return _largest(grey, _SMALLEST_PX, min(width, height))


def _largest(grey: npt.NDArray[np.uint8], smallest: float, largest: float) -> Box | None:
    boxes = _cascade().detectMultiScale(
        np.ascontiguousarray(grey),
        _SCALE_STEP,
        _NEIGHBOURS,
        minSize=(round(smallest), round(smallest)),
        maxSize=(round(largest), round(largest)),
    )
    found = sorted((-int(side), int(x), int(y)) for x, y, side, _ in boxes)
    return Box(found[0][1], found[0][2], -found[0][0]) if found else None


class FaceCrop:
    """Square face crops of one utterance, `pixels` wide; call it with the frames in time."""

    def __init__(self, pixels: int) -> None:
        """Begin without a known face."""
        self._pixels = pixels
        self._small = Scaler(DETECTION_PX, "gray8", enlarge=False)
        self._colour = VideoReformatter()
        self._last: Box | None = None

    def __call__(self, frame: av.VideoFrame) -> bytes:
        """The JPEG of the face, or no bytes where none is found."""
        grey = self._small(frame)
        self._last = find_face(grey, self._last)
        if self._last is None:
            return b""
        box = self._last.scaled(min(frame.width, frame.height) / min(grey.shape)).padded(PADDING)
        left, top, side = box.inside(frame.width, frame.height)
        image = self._colour.reformat(frame, format="bgr24", threads=1).to_ndarray()
        crop = image[top : top + side, left : left + side]
        method = cv2.INTER_AREA if side >= self._pixels else cv2.INTER_CUBIC
        return encode(np.asarray(cv2.resize(crop, (self._pixels, self._pixels), interpolation=method), np.uint8))
