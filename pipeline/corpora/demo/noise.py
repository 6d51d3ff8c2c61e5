"""Signal noise at four levels; it acts after the symbols and lowers what can be read from a clip."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Level:
    """How noisy.

    Args:
        snr: of white or babble noise in the sound, dB; None for none.
        dropout: share of the sound that is cut out.
        blur: standard deviation, pixels of a picture of 128 pixels.
        occluded: share of clips in which something covers a part of the face.
        lost: share of frames without a face.
        word_errors: word error rate of the transcript.
    """

    snr: float | None
    dropout: float
    blur: float
    occluded: float
    lost: float
    word_errors: float


LEVELS = (
    Level(None, 0.0, 0.0, 0.0, 0.0, 0.0),
    Level(20.0, 0.05, 1.0, 0.1, 0.05, 0.05),
    Level(10.0, 0.20, 2.0, 0.3, 0.20, 0.15),
    Level(0.0, 0.50, 4.0, 0.6, 0.50, 0.40),
)

_GAP_S = 0.05
_REFERENCE_PX = 128


def degrade_sound(signal: Array, rate: int, level: Level, chance: np.random.Generator) -> Array:
    """Cut pieces out of `signal (samples,)` at `rate` Hz and add noise."""
    piece = int(_GAP_S * rate)
    pieces = -(-len(signal) // piece)
    heard = signal * np.repeat(chance.random(pieces) >= level.dropout, piece)[: len(signal)]
    if level.snr is None:
        return heard
    noise = chance.standard_normal(len(signal))
    if chance.random() < 0.5:
        noise = _babble(noise, rate, chance)
    power = np.mean(signal**2) / np.mean(noise**2) / 10 ** (level.snr / 10)
    noisy: Array = heard + noise * np.sqrt(power)
    return noisy


def degrade_pictures(frames: list[Image], backdrop: Image, level: Level, chance: np.random.Generator) -> list[Image]:
    """Cover, blur and lose frames `(px, px, 3)`; a lost frame shows the `backdrop` alone."""
    px = len(backdrop)
    covered, place = chance.random() < level.occluded, chance.uniform(0.25, 0.6, size=2)
    lost = chance.random(len(frames)) < level.lost
    seen = []
    for frame, gone in zip(frames, lost, strict=True):
        picture = backdrop if gone else frame
        if covered and not gone:
            left, top = (int(p * px) for p in place)
            picture = picture.copy()
            picture[top : top + px // 6, left : left + px // 5] = 96
        if level.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), level.blur * px / _REFERENCE_PX)
        seen.append(picture)
    return seen


def _babble(white: Array, rate: int, chance: np.random.Generator) -> Array:
    """Turn white noise into the murmur of many voices: low-pitched, swelling three to five times a second."""
    time = np.arange(len(white)) / rate
    swell = 1.0 + 0.6 * np.sin(2 * np.pi * chance.uniform(3, 5) * time + chance.uniform(0, 2 * np.pi))
    murmur: Array = lfilter([1.0], [1.0, -0.9], white) * swell
    return murmur
