"""Pictures at a fixed rate: which frames are kept, and how they are scaled and stored."""

from collections.abc import Callable

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from pipeline.data.streams import Images

JPEG_QUALITY = 95
_TIE_S = 1e-6

Shoot = Callable[[av.VideoFrame], bytes]
"""Makes the JPEG of a frame; no bytes where there is nothing to see."""


def steps(duration: float, rate: float) -> int:
    """How many times k / rate lie in [0, duration).

    >>> steps(2.0, 5.0), steps(2.1, 5.0)
    (10, 11)
    """
    return max(0, int(np.ceil(duration * rate - _TIE_S)))


class Strip:
    """The pictures of one utterance at the times k / rate: the nearest frame of each, whatever the frame rate.

    Args:
        start: seconds into the file.
        end: seconds into the file, or None for its end.
        rate: Hz.
        shoot: called once per kept frame, in time.
    """

    def __init__(self, start: float, end: float | None, rate: float, shoot: Shoot) -> None:
        """Start empty."""
        self._start = start
        self._count = None if end is None else steps(end - start, rate)
        self._rate = rate
        self._shoot = shoot
        self._previous: tuple[float, av.VideoFrame] | None = None
        self._shot: tuple[float, bytes] | None = None
        self._jpegs: list[bytes] = []

    def offer(self, time: float, frame: av.VideoFrame) -> None:
        """Look at the next frame of the file, at `time` seconds."""
        time -= self._start
        while self._target() <= time + _TIE_S and (self._count is None or len(self._jpegs) < self._count):
            self._jpegs.append(self._nearest(time, frame))
        self._previous = (time, frame)

    def finish(self, duration: float, picture_end: float) -> Images:
        """The pictures; no frames where none shows anything.

        Args:
            duration: seconds of the utterance.
            picture_end: seconds into the file at which its last frame ends; later steps are empty.
        """
        count = steps(duration, self._rate)
        while len(self._jpegs) < count:
            shown = self._previous and self._target() <= picture_end - self._start + self._half_step()
            self._jpegs.append(self._take(*self._previous) if shown and self._previous else b"")
        self._previous = None
        jpegs = self._jpegs[:count] if any(self._jpegs[:count]) else []
        return Images(jpegs, (np.arange(len(jpegs)) / self._rate).astype(np.float32))

    def _target(self) -> float:
        return len(self._jpegs) / self._rate

    def _half_step(self) -> float:
        return 0.5 / self._rate + _TIE_S

    def _nearest(self, time: float, frame: av.VideoFrame) -> bytes:
        target = self._target()
        if self._previous is None:
            return self._take(time, frame) if time - target <= self._half_step() else b""
        before, earlier = self._previous
        return self._take(time, frame) if time - target < target - before - _TIE_S else self._take(before, earlier)

    def _take(self, time: float, frame: av.VideoFrame) -> bytes:
        if self._shot is None or self._shot[0] != time:
            self._shot = (time, self._shoot(frame))
        return self._shot[1]


def encode(image: npt.NDArray[np.uint8]) -> bytes:
    """JPEG of `(H, W, 3)` BGR."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


class Scaler:
    """Scales frames so that their short side has `pixels`."""

    def __init__(self, pixels: int, pixel_format: str, *, enlarge: bool = True) -> None:
        """Remember the size; `enlarge` False leaves smaller frames as they are."""
        self._pixels = pixels
        self._format = pixel_format
        self._enlarge = enlarge
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """The scaled frame, `(H, W, 3)` for bgr24 and `(H, W)` for gray8."""
        short = min(frame.width, frame.height)
        pixels = self._pixels if self._enlarge else min(short, self._pixels)
        # The long side is even: swscale is three times slower at odd widths.
        width, height = (
            pixels if side == short else max(pixels, 2 * round(side * pixels / short / 2))
            for side in (frame.width, frame.height)
        )
        interpolation = "AREA" if pixels < short else "BICUBIC"
        scaled = self._reformatter.reformat(frame, width, height, self._format, interpolation=interpolation, threads=1)
        return np.asarray(scaled.to_ndarray(), np.uint8)


class WholeFrame:
    """Frames as they are, short side `pixels`."""

    def __init__(self, pixels: int) -> None:
        """Remember the size."""
        self._scale = Scaler(pixels, "bgr24")

    def __call__(self, frame: av.VideoFrame) -> bytes:
        """The JPEG of a frame."""
        return encode(self._scale(frame))


class MiddleSquare:
    """The square in the middle of the frame, `pixels` wide: for corpora whose frames are face crops already."""

    def __init__(self, pixels: int) -> None:
        """Remember the size."""
        self._pixels = pixels
        self._scale = Scaler(pixels, "bgr24")

    def __call__(self, frame: av.VideoFrame) -> bytes:
        """The JPEG of a frame."""
        image = self._scale(frame)
        top, left = (image.shape[0] - self._pixels) // 2, (image.shape[1] - self._pixels) // 2
        return encode(image[top : top + self._pixels, left : left + self._pixels])
