"""One pass over a media file: its pictures are offered as they come, its sound is collected, damage is an error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.stream import Disposition

from pipeline.decode.audio import Track
from pipeline.decode.damage import CorruptMedia

OnFrame = Callable[[float, av.VideoFrame], None]
"""Called with the time of a frame (seconds from the start of the file) and the frame, in time."""

_MOV, _AVI, _MATROSKA, _FLAC = "mov,mp4,m4a,3gp,3g2,mj2", "avi", "matroska,webm", "flac"
_HEADER_SLACK_S = 0.1
_ROUNDING_S = 0.002


@dataclass
class Media:
    """What a file held.

    Args:
        duration: seconds from the start to the end of the last frame or sample.
        width: pixels, 0 without picture.
        height: pixels, 0 without picture.
        fps: mean frames per second, 0 without picture.
        frame_times: seconds of every frame, `(frames,)`.
        picture_end: seconds at which the last frame ends.
        pcm: sound from the start of the file, `(samples,)` int16 at 16 kHz.
        audio_start: seconds at which the sound begins.
        audio_samples: decoded samples per channel at the source.
        audio_rate: Hz at the source, 0 without sound.
        audio_channels: channels at the source, 0 without sound.
    """

    duration: float = 0.0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frame_times: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    picture_end: float = 0.0
    pcm: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    audio_start: float = 0.0
    audio_samples: int = 0
    audio_rate: int = 0
    audio_channels: int = 0


def read_media(path: Path, on_frame: OnFrame | None, *, sound: bool) -> Media:
    """Decode a file once.

    Args:
        path: the file.
        on_frame: gets the pictures; None leaves them undecoded.
        sound: whether to decode the sound.

    Raises:
        CorruptMedia: empty, not a media file, cut off, or damaged inside.
    """
    if not path.stat().st_size:
        raise CorruptMedia("the file is empty (zero bytes)")
    try:
        with av.open(str(path)) as container:
            return _Pass(container, on_frame, sound=sound).run()
    except FFmpegError as error:
        raise CorruptMedia(f"not a readable media file: {error.strerror}") from None


class _Pass:
    """The state of one pass."""

    def __init__(self, container: Any, on_frame: OnFrame | None, *, sound: bool) -> None:
        self._container = container
        self._on_frame = on_frame
        pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures and not container.streams.audio:
            raise CorruptMedia("neither picture nor sound in it")
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise CorruptMedia("a still picture, not a recording")
        self._video = pictures[0] if pictures and on_frame else None
        self._audio = container.streams.audio[0] if container.streams.audio and sound else None
        self._streams = [stream for stream in (self._video, self._audio) if stream]
        self._zero = (container.start_time or 0) / 1e6
        self._whole = (container.duration or 0) / 1e6
        # AVI keeps the order of decoding only, and frames that are shown in another order have no true times in it.
        self._counted = container.format.name == _AVI and self._video and self._video.codec_context.has_b_frames
        self._rate = float(self._video.guessed_rate or 25) if self._video else 0.0
        self._times: list[float] = []
        self._picture_end = 0.0
        self._track: Track | None = None
        self._audio_start = 0.0

    def run(self) -> Media:
        packets = {stream.index: 0 for stream in self._streams}
        covered = dict.fromkeys(packets, 0.0)
        units = {stream.index: float(stream.time_base) for stream in self._streams}
        for packet, frames in self._decoded():
            if packet.duration:
                packets[packet.stream.index] += 1
                covered[packet.stream.index] += packet.duration * units[packet.stream.index]
            for frame in frames:
                self._add(frame)
        media = self._media()
        self._check_header(packets, covered, media)
        return media

    def _decoded(self) -> Iterator[tuple[Any, list[Any]]]:
        for stream in self._streams:
            stream.codec_context.thread_count = 1
        for packet in self._container.demux(self._streams) if self._streams else ():
            if packet.is_corrupt:
                raise CorruptMedia(f"cut off: the {packet.stream.type} ends inside a packet{self._place(packet)}")
            try:
                yield packet, packet.decode()
            except FFmpegError as error:
                raise CorruptMedia(
                    f"{packet.stream.type} cannot be decoded{self._place(packet)}: {error.strerror}"
                ) from None

    def _place(self, packet: Any) -> str:
        return "" if packet.pts is None else f" at {float(packet.pts * packet.time_base) - self._zero:.2f} s"

    def _add(self, frame: Any) -> None:
        if isinstance(frame, av.VideoFrame):
            time = self._frame_time(frame)
            if frame.is_corrupt:
                raise CorruptMedia(f"video has a damaged frame at {time:.2f} s")
            self._times.append(time)
            self._picture_end = max(self._picture_end, time + 1 / self._rate)
            assert self._on_frame is not None
            self._on_frame(time, frame)
            return
        if self._track is None:
            self._track = Track(frame.sample_rate, [channel.name for channel in frame.layout.channels])
            self._audio_start = 0.0 if frame.time is None else frame.time - self._zero
        self._track.add(frame)

    def _frame_time(self, frame: Any) -> float:
        """Seconds at which a frame is shown, the container's rounding of constant rates taken out."""
        if frame.pts is None or self._counted:
            return len(self._times) / self._rate
        time = float(frame.time - self._zero)
        first = self._times[0] if self._times else time
        regular = first + round((time - first) * self._rate) / self._rate
        return regular if abs(regular - time) <= _ROUNDING_S else time

    def _media(self) -> Media:
        media = Media(frame_times=np.asarray(self._times), picture_end=self._picture_end)
        if self._video is not None:
            if not self._times:
                raise CorruptMedia("no frame could be decoded")
            context = self._video.codec_context
            media.width, media.height = context.width, context.height
            media.fps = round(self._rate, 6)
        if self._track is not None:
            media.pcm = self._track.finish(self._audio_start)
            media.audio_start = self._audio_start
            media.audio_samples, media.audio_rate = self._track.samples, self._track.rate
            media.audio_channels = len(self._track.channels)
        audio_end = media.audio_start + media.audio_samples / (media.audio_rate or 1)
        media.duration = max(media.picture_end, audio_end) or self._whole
        return media

    def _check_header(self, packets: dict[int, int], covered: dict[int, float], media: Media) -> None:
        """Compare what came with what the header promises, for the formats whose header knows.

        Packets are compared, not frames: an edit list hides frames that are there.
        """
        kind = self._container.format.name
        for stream in self._streams:
            promised = 0.0
            if kind == _AVI and stream.type == "video" and stream.average_rate:
                promised = stream.frames / float(stream.average_rate)
            elif kind in {_MOV, _FLAC} and stream.duration:
                promised = float(stream.duration * stream.time_base)
            seconds, count = covered[stream.index], packets[stream.index]
            if seconds < promised - 0.5 * seconds / max(count, 1):
                raise CorruptMedia(f"cut off: {seconds:.2f} s of {stream.type}, the header says {promised:.2f} s")
        if kind == _MATROSKA and self._complete() and media.duration < self._whole - _HEADER_SLACK_S:
            raise CorruptMedia(f"cut off: {media.duration:.2f} s, the header says {self._whole:.2f} s")

    def _complete(self) -> bool:
        """Whether every stream was read, so that the end of the longest is known."""
        return len(self._streams) == len(self._container.streams)
