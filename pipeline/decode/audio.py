"""Sound: any channel layout to 16 kHz mono 16-bit PCM."""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from pipeline.data.streams import AUDIO_RATE
from pipeline.decode.damage import CorruptMedia

_HALF_POWER = 0.5**0.5
_BS775 = {
    "FC": 1.0,
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "DL", "DR"), _HALF_POWER),
    **dict.fromkeys(("SL", "SR", "BL", "BR", "BC"), 0.5),
    **dict.fromkeys(("LFE", "LFE2"), 0.0),
}
"""Shares of the channels in mono: ITU-R BS.775-4, table 2, format 1/0 (the subwoofer is left out)."""

_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}
_CHUNK = 1 << 16


def mono_weights(channels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Weight of every channel in the mix, `(C,)` float32 with sum 1, so that full scale stays full scale.

    Args:
        channels: FFmpeg's channel names; a layout with a name that BS.775 does not have is averaged.

    >>> mono_weights(["FL", "FR"]).tolist()
    [0.5, 0.5]
    """
    known = all(name in _BS775 for name in channels)
    weights = np.asarray([_BS775[name] if known else 1.0 for name in channels])
    if not weights.any():
        weights = np.ones(len(channels))
    return np.asarray(weights / weights.sum(), np.float32)


class Track:
    """Collects the decoded frames of one audio stream.

    Args:
        rate: Hz at the source.
        channels: FFmpeg's channel names.
    """

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        """Start empty."""
        self.rate = rate
        self.channels = tuple(channels)
        self.samples = 0
        self._kind = ""
        self._weights = mono_weights(channels)
        self._fifo = av.AudioFifo()
        self._sent = 0
        self._pcm: list[npt.NDArray[np.int16]] = []
        self._resampler = av.AudioResampler("s16", "mono", AUDIO_RATE)

    def add(self, frame: av.AudioFrame) -> None:
        """Append a frame.

        Raises:
            CorruptMedia: the sound changes its form here, or holds samples that are not finite.
        """
        kind = f"{frame.layout.name} {frame.format.name} at {frame.sample_rate} Hz"
        if kind != (self._kind or kind):
            raise CorruptMedia(f"sound changes from {self._kind} to {kind}")
        self._kind = kind
        self.samples += frame.samples
        frame.pts = None
        self._fifo.write(frame)
        if self._fifo.samples >= _CHUNK:
            self._resample()

    def finish(self, offset: float) -> npt.NDArray[np.int16]:
        """All sound as `(samples,)` int16 at 16 kHz, beginning at the file's time 0.

        Args:
            offset: seconds from the file's time 0 to the first sample; later is filled with zeros, earlier cut.

        Raises:
            CorruptMedia: samples that are not finite.
        """
        self._resample()
        if self.samples:
            self._pcm += [frame.to_ndarray()[0] for frame in self._resampler.resample(None)]
        lead = round(offset * AUDIO_RATE)
        pcm = np.concatenate([np.zeros(max(0, lead), np.int16), *self._pcm])
        return pcm[max(0, -lead) :]

    def _resample(self) -> None:
        if self.samples == self._sent:
            return
        mono = self._weights @ _floats(self._fifo.read())
        if not np.isfinite(mono).all():
            raise CorruptMedia("sound has samples that are not finite")
        frame = av.AudioFrame.from_ndarray(mono[None], format="fltp", layout="mono")
        frame.sample_rate = self.rate
        frame.pts, frame.time_base = self._sent, Fraction(1, self.rate)
        self._pcm += [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        self._sent += len(mono)


def _floats(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """Samples `(C, samples)` in [-1, 1] of any sample format."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif samples.dtype in _FULL_SCALE:
        samples = samples / _FULL_SCALE[samples.dtype]
    return np.ascontiguousarray(samples, np.float32)
