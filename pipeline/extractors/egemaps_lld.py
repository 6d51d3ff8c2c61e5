"""eGeMAPSv02 low-level descriptors by openSMILE: 25 descriptors of voice every 10 ms.

Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing",
IEEE Transactions on Affective Computing 7(2), 2016, https://doi.org/10.1109/TAFFC.2015.2457417.

Values are openSMILE's own, unscaled: pitch is 0 in unvoiced frames, formant amplitudes are -201 where there is no
pitch. n >= 960 samples (its longest window, 60 ms) give (n - 960) // 160 + 2 frames; openSMILE gives none for less. A
shorter recording is followed by silence up to 960 samples, so it has 2 frames.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.data.streams import AUDIO_RATE, AudioStream
from pipeline.extractors.protocol import Features, PooledOptions, pool

_WINDOW = AUDIO_RATE * 60 // 1000


class Options(PooledOptions):
    """Options of `egemaps_lld`: `hop`."""


class EgemapsLld:
    """25 features at 100 Hz, or means over `hop` seconds."""

    stream: Literal["audio"] = "audio"
    shard = 64
    dim = 25
    weights_sha256 = None

    def __init__(self, options: Options, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Take `hop` from `options`."""
        self.hop = options.hop
        self.version = f"opensmile {version('opensmile')}, egemaps_lld 1"
        self._frames_per_step = options.frames_per_step

    def extract(self, stream: AudioStream, ids: Sequence[str]) -> list[Features]:
        """Values `(T, 25)` float32 for every id."""
        return [Features(pool(self._frames(stream.row(utt_id)), self._frames_per_step)) for utt_id in ids]

    @cached_property
    def _smile(self) -> Any:
        import opensmile

        return opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
        )

    def _frames(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        signal = np.pad(pcm, (0, max(0, _WINDOW - len(pcm)))).astype(np.float32) / 32768
        return np.asarray(self._smile.process_signal(signal, AUDIO_RATE).to_numpy(), np.float32)
