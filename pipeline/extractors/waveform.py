"""The waveform itself: 8 kHz, at most 30 s, scaled to a root mean square of 1; one feature per sample.

Input of ConflictNET: Rajan, Brutti and Cavallaro, "ConflictNET: End-to-End Learning for Speech-Based Conflict Intensity
Estimation", IEEE Signal Processing Letters 26(11), 2019, https://ieeexplore.ieee.org/document/8850055.

A step is a sample of 1/8000 s: n samples at 16 kHz give min(ceil(n / 2), 240000) steps, resampled by
`scipy.signal.resample_poly` (a linear-phase low-pass, Kaiser window). Values are divided by the root of the mean square
of the steps that are kept, after cutting; a recording without sound stays 0. The mean is not removed.

Differs: the authors' script (https://github.com/smartcameras/ConflictNET) pads every recording to 240000 samples first
and takes the mean over the padding too, so there a shorter recording is louder; a store holds no padding, and here its
rms is 1 whatever its length. Every recording is computed by itself.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.streams import AUDIO_RATE
from pipeline.extractors.protocol import ExtractorOptions, Features, Weights

RATE = 8000
LONGEST = 30 * RATE
_REACH = 64
"""Samples at 16 kHz around a step that the low-pass looks at, and more."""


class Options(ExtractorOptions):
    """`waveform` has no options."""


class Waveform:
    """One feature at 8 kHz."""

    stream: Literal["audio"] = "audio"
    checkpoint = None
    shard = 64
    dim = 1
    hop = 1 / RATE
    network = None
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Nothing to choose."""
        self.version = f"scipy {version('scipy')}, waveform 1"

    def prepare(self, utt_id: str, content: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Samples `(L,)` float32 in [-1, 1) at 16 kHz, no more of them than can matter."""
        return content[: LONGEST * AUDIO_RATE // RATE + _REACH].astype(np.float32) / np.float32(32768)

    def extract(self, prepared: Sequence[npt.NDArray[np.float32]]) -> list[Features]:
        """Values `(T, 1)` float32 for every recording."""
        return [Features(_scaled(signal)[:, None]) for signal in prepared]


def _scaled(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from scipy.signal import resample_poly

    steps = resample_poly(signal, RATE, AUDIO_RATE)[:LONGEST]  # (T,)
    rms = np.sqrt(np.mean(np.square(steps, dtype=np.float64)))
    return np.asarray(steps / rms if rms > 0 else steps, np.float32)
