"""Mel-frequency cepstral coefficients by librosa: 40, their deltas and the deltas of these, every 10 ms.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition", IEEE TASSP 28(4),
1980, https://doi.org/10.1109/TASSP.1980.1163420. Hamming windows of 25 ms, 128 mel bands, an 80 dB floor below the
loudest point of the recording; deltas over 9 frames.

Frame k is centred at k * 10 ms, with silence around the recording: n samples give 1 + n // 160 frames. Deltas repeat
the first and the last frame beyond the ends, so one frame is enough (its deltas are 0).
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.streams import AUDIO_RATE, AudioStream
from pipeline.extractors.protocol import Features, PooledOptions, pool

_WINDOW = AUDIO_RATE * 25 // 1000
_STEP = AUDIO_RATE * 10 // 1000
_COEFFICIENTS = 40


class Options(PooledOptions):
    """Options of `mfcc`: `hop`."""


class Mfcc:
    """120 features at 100 Hz, or means over `hop` seconds."""

    stream: Literal["audio"] = "audio"
    shard = 128
    dim = 3 * _COEFFICIENTS
    weights_sha256 = None

    def __init__(self, options: Options, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Take `hop` from `options`."""
        self.hop = options.hop
        self.version = f"librosa {version('librosa')}, mfcc 1"
        self._frames_per_step = options.frames_per_step

    def extract(self, stream: AudioStream, ids: Sequence[str]) -> list[Features]:
        """Values `(T, 120)` float32 for every id."""
        return [Features(pool(_frames(stream.row(utt_id)), self._frames_per_step)) for utt_id in ids]


def _frames(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    import librosa

    coefficients = librosa.feature.mfcc(
        y=np.pad(pcm, _WINDOW // 2).astype(np.float32) / 32768,
        sr=AUDIO_RATE,
        n_mfcc=_COEFFICIENTS,
        n_fft=_WINDOW,
        hop_length=_STEP,
        window="hamming",
        center=False,
    )  # (40, T)
    deltas = [librosa.feature.delta(coefficients, order=order, mode="nearest") for order in (1, 2)]
    return np.ascontiguousarray(np.concatenate([coefficients, *deltas]).T, np.float32)  # (T, 120)
