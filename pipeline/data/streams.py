"""Decoded streams: what the decode stage writes and extractors read, one packed HDF5 file per kind.

text.h5   UTF-8 transcripts
audio.h5  16-bit PCM, mono, 16 kHz
faces.h5  JPEG face crops at a fixed rate; a frame without a face keeps its place and has no bytes
frames.h5 JPEG frames at a fixed rate

A stream has one row per utterance that could be decoded; quarantined ids are in `excluded`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.packed import Array, Field, Packed, write_packed

AUDIO_RATE = 16_000
"""Hz of every decoded audio track."""

_TEXT_FIELDS = {"values": Field(np.uint8)}
_AUDIO_FIELDS = {"values": Field(np.int16)}
_IMAGE_FIELDS = {
    "values": Field(np.uint8),
    "frame_bytes": Field(np.int32, axis="frame_offsets"),
    "frame_times": Field(np.float32, axis="frame_offsets"),
}


@dataclass(frozen=True)
class Images:
    """The images of one utterance.

    Args:
        jpegs: one JPEG file per frame, in time; empty bytes where there is nothing to see.
        times: seconds from the start of the utterance, `(T,)` float32.
    """

    jpegs: list[bytes]
    times: npt.NDArray[np.float32]


def write_text(path: Path, rows: Iterable[tuple[str, str]], attrs: dict[str, Any], excluded: Sequence[str]) -> None:
    """Write transcripts `(utt_id, text)`, ids ascending; an empty text is natural absence."""
    with write_packed(path, _TEXT_FIELDS, attrs, excluded) as writer:
        for utt_id, text in rows:
            writer.add(utt_id, values=np.frombuffer(text.encode(), np.uint8))


def write_audio(path: Path, rows: Iterable[tuple[str, Array]], attrs: dict[str, Any], excluded: Sequence[str]) -> None:
    """Write PCM `(utt_id, (samples,) int16)`, ids ascending; no samples is natural absence."""
    with write_packed(path, _AUDIO_FIELDS, attrs, excluded) as writer:
        for utt_id, samples in rows:
            writer.add(utt_id, values=samples)


def write_images(
    path: Path, rows: Iterable[tuple[str, Images]], attrs: dict[str, Any], excluded: Sequence[str]
) -> None:
    """Write images, ids ascending; attrs must say `rate` (Hz). No frames is natural absence."""
    with write_packed(path, _IMAGE_FIELDS, attrs, excluded) as writer:
        for utt_id, images in rows:
            writer.add(
                utt_id,
                values=np.frombuffer(b"".join(images.jpegs), np.uint8),
                frame_bytes=np.asarray([len(jpeg) for jpeg in images.jpegs], np.int32),
                frame_times=images.times,
            )


class TextStream(Packed):
    """Lazy reader of text.h5."""

    def __init__(self, path: Path) -> None:
        """Open the stream."""
        super().__init__(path, ("values", "offsets"))
        self._offsets = self.offsets()

    def row(self, utt_id: str) -> str:
        """The transcript of one utterance; empty = absent."""
        start, stop = self._offsets[self.position(utt_id) :][:2]
        return bytes(self.part("values", start, stop)).decode()


class AudioStream(Packed):
    """Lazy reader of audio.h5."""

    def __init__(self, path: Path) -> None:
        """Open the stream."""
        super().__init__(path, ("values", "offsets"))
        self._offsets = self.offsets()

    def row(self, utt_id: str) -> npt.NDArray[np.int16]:
        """PCM `(samples,)` int16 at 16 kHz of one utterance; empty = absent."""
        start, stop = self._offsets[self.position(utt_id) :][:2]
        return self.part("values", start, stop)


class ImageStream(Packed):
    """Lazy reader of faces.h5 and frames.h5; `rate` in Hz."""

    def __init__(self, path: Path) -> None:
        """Open the stream."""
        super().__init__(path, ("values", "frame_bytes", "frame_times", "offsets", "frame_offsets"))
        self.rate = float(self.attrs["rate"])
        self._offsets, self._frame_offsets = self.offsets(), self.offsets("frame_offsets")

    def row(self, utt_id: str) -> Images:
        """The images of one utterance; no frames = absent."""
        row = self.position(utt_id)
        start, stop = self._offsets[row : row + 2]
        first, last = self._frame_offsets[row : row + 2]
        data = self.part("values", start, stop).tobytes()
        ends = np.cumsum(self.part("frame_bytes", first, last), dtype=np.int64)
        begins = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        jpegs = [data[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return Images(jpegs, self.part("frame_times", first, last))
