"""All utterances of one recording: its files are decoded once and cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.manifest import Utterance
from pipeline.data.streams import AUDIO_RATE, Images
from pipeline.decode.damage import CorruptMedia
from pipeline.decode.faces import FaceCrop
from pipeline.decode.frames import MiddleSquare, Strip, WholeFrame
from pipeline.decode.media import Media, read_media
from pipeline.schema import Decode

SPAN_SLACK_S = 0.25
"""By how much an utterance may reach beyond the end of its file: annotations are rounded."""

IMAGE_STREAMS = ("faces", "frames")

CLIP_COLUMNS = (
    "utt_id",
    "duration",
    "width",
    "height",
    "fps",
    "video_frames",
    "audio_samples",
    "audio_rate",
    "audio_channels",
    "face_frames",
    "faces_found",
    "absent_text",
    "absent_audio",
    "absent_vision",
)
"""Columns of clips.csv; video_frames and audio_samples are those of the source within the utterance."""


@dataclass(frozen=True)
class Clip:
    """One decoded utterance.

    Args:
        row: its line of clips.csv.
        pcm: `(samples,)` int16 at 16 kHz; empty = absent.
        images: per image stream; no frames = absent.
    """

    row: dict[str, Any]
    pcm: npt.NDArray[np.int16]
    images: dict[str, Images]


@dataclass(frozen=True)
class Quarantined:
    """An utterance that could not be decoded."""

    utt_id: str
    file: str
    reason: str


def decode_recording(utterances: Sequence[Utterance], options: Decode) -> tuple[list[Clip], list[Quarantined]]:
    """Decode utterances that share one video file (or, without video, one audio file).

    Memory grows with the length of the recording: its sound takes 32 kB a second, beside the kept pictures.
    """
    strips = {u.utt_id: _strips(u, options) for u in utterances}
    sound = "audio" in options.streams
    media: dict[str, Media | CorruptMedia] = {}
    video = utterances[0].video if strips[utterances[0].utt_id] else ""
    if video:

        def offer(time: float, frame: Any) -> None:
            for own in strips.values():
                for strip in own.values():
                    strip.offer(time, frame)

        media[video] = _read(video, offer, sound=sound and any(u.audio == video for u in utterances))
    for audio in sorted({u.audio for u in utterances} - {video, ""}) if sound else ():
        media[audio] = _read(audio, None, sound=True)
    clips, quarantined = [], []
    for u in utterances:
        files = {path: media[path] for path in dict.fromkeys((u.video, u.audio)) if path in media}
        if damage := _damage(u, files):
            quarantined.append(damage)
        else:
            good = {path: found for path, found in files.items() if isinstance(found, Media)}
            picture = good.get(u.video, Media()) if video else Media()
            clips.append(_cut(u, picture, good.get(u.audio, Media()), strips[u.utt_id]))
    return clips, quarantined


def _strips(u: Utterance, options: Decode) -> dict[str, Strip]:
    """The empty picture strips of an utterance, per image stream that is asked for."""
    strips = {}
    if "faces" in options.streams:
        face = FaceCrop(options.face_px) if options.face == "detect" else MiddleSquare(options.face_px)
        strips["faces"] = Strip(u.start, u.end, options.face_hz, face)
    if "frames" in options.streams:
        strips["frames"] = Strip(u.start, u.end, options.frame_hz, WholeFrame(options.frame_px))
    return strips


def _read(path: str, offer: Any, *, sound: bool) -> Media | CorruptMedia:
    try:
        return read_media(Path(path), offer, sound=sound)
    except CorruptMedia as damage:
        return damage


def _damage(u: Utterance, files: dict[str, Media | CorruptMedia]) -> Quarantined | None:
    for path, found in files.items():
        if isinstance(found, CorruptMedia):
            return Quarantined(u.utt_id, path, str(found))
        if found.duration and (u.start >= found.duration or (u.end or 0.0) > found.duration + SPAN_SLACK_S):
            asked = f"{u.start:g} s to {'its end' if u.end is None else f'{u.end:g} s'}"
            return Quarantined(u.utt_id, path, f"wrong duration: {found.duration:.2f} s, the utterance is {asked}")
    return None


def _cut(u: Utterance, picture: Media, sound: Media, strips: dict[str, Strip]) -> Clip:
    length = max(picture.duration, sound.duration)
    end = min(u.end or length, length) if length else u.end or u.start
    duration = round(end - u.start, 6)
    images = {name: strip.finish(duration, picture.picture_end) for name, strip in strips.items()}
    pcm = sound.pcm[round(u.start * AUDIO_RATE) : round(end * AUDIO_RATE)]
    if not pcm.any():
        pcm = pcm[:0]
    inside = (picture.frame_times >= u.start - 1e-6) & (picture.frame_times < end - 1e-6)
    seen = images.get("faces", images.get("frames"))
    faces = images["faces"].jpegs if "faces" in images else []
    row = {
        "utt_id": u.utt_id,
        "duration": duration,
        "width": picture.width,
        "height": picture.height,
        "fps": picture.fps,
        "video_frames": int(inside.sum()),
        "audio_samples": _source_samples(u.start, end, sound),
        "audio_rate": sound.audio_rate,
        "audio_channels": sound.audio_channels,
        "face_frames": len(faces),
        "faces_found": sum(map(bool, faces)),
        "absent_text": int(not u.text.strip()),
        "absent_audio": int(not len(pcm)),
        "absent_vision": int(seen is None or not seen.jpegs),
    }
    return Clip(row, pcm, images)


def _source_samples(start: float, end: float, sound: Media) -> int:
    """Samples of the source within the span."""
    first = round((start - sound.audio_start) * sound.audio_rate)
    last = round((end - sound.audio_start) * sound.audio_rate)
    return max(0, min(last, sound.audio_samples) - max(0, first))
