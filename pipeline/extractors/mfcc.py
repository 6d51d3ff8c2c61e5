"""Mel-frequency cepstral coefficients as librosa defines them: 40, their deltas and the deltas of these, every 10 ms.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition", IEEE TASSP 28(4),
1980, https://doi.org/10.1109/TASSP.1980.1163420. Hamming windows of 25 ms, 128 mel bands on Slaney's scale, an
80 dB floor below the loudest point of the recording; deltas over 9 frames.

Frame k is centred at k * 10 ms, with silence around the recording: n samples give 1 + n // 160 frames. Deltas repeat
the first and the last frame beyond the ends, so one frame is enough (its deltas are 0).

The numbers are those of `librosa.feature.mfcc` and `librosa.feature.delta`, within 1e-6 of the largest coefficient.
librosa itself is not called: it makes windows and filters anew for every recording, two thirds of its time, and takes
two seconds to import (17 s the first time, when its compiler runs). Every recording is computed by itself.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.streams import AUDIO_RATE
from pipeline.extractors.protocol import Features, PooledOptions, Weights, pool

Floats = npt.NDArray[np.float32]

_WINDOW = AUDIO_RATE * 25 // 1000
_STEP = AUDIO_RATE * 10 // 1000
_BANDS = 128
_COEFFICIENTS = 40
_DELTA_FRAMES = 9
_QUIETEST = 1e-10
_RANGE_DB = 80.0


class Options(PooledOptions):
    """Options of `mfcc`: `hop`."""


class Mfcc:
    """120 features at 100 Hz, or means over `hop` seconds."""

    stream: Literal["audio"] = "audio"
    checkpoint = None
    shard = 128
    dim = 3 * _COEFFICIENTS
    network = None
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take `hop` from `options`."""
        self.hop = options.hop
        self.version = f"numpy {version('numpy')}, scipy {version('scipy')}, mfcc 1"
        self._frames_per_step = options.frames_per_step

    def prepare(self, utt_id: str, content: npt.NDArray[np.int16]) -> Floats:
        """Samples `(L + 400,)` float32 in [-1, 1), half a window of silence on either side."""
        return np.pad(content, _WINDOW // 2).astype(np.float32) / np.float32(32768)

    def extract(self, prepared: Sequence[Floats]) -> list[Features]:
        """Values `(T, 120)` float32 for every recording."""
        return [Features(pool(self._frames(signal), self._frames_per_step)) for signal in prepared]

    @cached_property
    def _window(self) -> Floats:
        from scipy.signal import get_window

        return np.asarray(get_window("hamming", _WINDOW, fftbins=True), np.float32)

    @cached_property
    def _filters(self) -> Floats:
        return mel_filters().T.copy()  # (bins, bands)

    @cached_property
    def _slopes(self) -> list[npt.NDArray[np.float64]]:
        from scipy.signal import savgol_coeffs

        return [savgol_coeffs(_DELTA_FRAMES, order, deriv=order) for order in (1, 2)]

    def _frames(self, signal: Floats) -> Floats:
        from scipy.fft import dct, rfft
        from scipy.ndimage import convolve1d

        pieces = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::_STEP]  # (T, 400)
        spectrum = rfft(pieces * self._window, axis=-1)
        bands = (spectrum.real**2 + spectrum.imag**2) @ self._filters  # (T, bands)
        decibels = 10 * np.log10(np.maximum(_QUIETEST, bands))
        decibels = np.maximum(decibels, decibels.max() - _RANGE_DB)
        coefficients = dct(decibels, axis=-1, norm="ortho")[:, :_COEFFICIENTS]
        deltas = [convolve1d(coefficients, slope, axis=0, mode="nearest") for slope in self._slopes]
        return np.concatenate([coefficients, *deltas], axis=1, dtype=np.float32)  # (T, 120)


def mel_filters() -> Floats:
    """Triangles of unit area at equal distances on Slaney's mel scale, `(bands, bins)`.

    The scale is linear up to 1000 Hz (15 mel) and logarithmic above, 27 mel for every factor of 6.4.
    """
    step, knee = 200 / 3, 1000.0
    per_mel = np.log(6.4) / 27
    mels = np.linspace(0, knee / step + np.log(AUDIO_RATE / 2 / knee) / per_mel, _BANDS + 2)
    edges = np.where(mels < knee / step, mels * step, knee * np.exp((mels - knee / step) * per_mel))  # Hz
    bins = np.fft.rfftfreq(_WINDOW, 1 / AUDIO_RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)
