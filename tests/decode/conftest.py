"""A few-frame media file with known pictures and sound, and a drawn face that the cascade finds."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.data.manifest import Utterance


def _draw_face(width: int = 192, height: int = 144, x: int = 96, y: int = 72, size: int = 40) -> np.ndarray:
    """A BGR picture `(height, width, 3)` with a face of half-height `size` around (x, y)."""
    image = np.full((height, width, 3), (120, 110, 100), np.uint8)
    cv2.ellipse(image, (x, y), (size * 3 // 4, size), 0, 0, 360, (150, 180, 225), -1)
    cv2.ellipse(image, (x, y - size * 3 // 4), (size * 7 // 10, size * 7 // 20), 0, 0, 360, (30, 40, 60), -1)
    for side in (-1, 1):
        eye = (x + side * 3 * size // 10, y - 3 * size // 20)
        cv2.ellipse(image, eye, (size // 5, size // 8), 0, 0, 360, (70, 80, 110), -1)
        cv2.ellipse(image, eye, (size // 7, size // 14), 0, 0, 360, (240, 240, 240), -1)
        cv2.circle(image, eye, size // 14, (20, 20, 20), -1)
        brow = eye[1] - size // 5
        cv2.line(image, (eye[0] - size // 5, brow), (eye[0] + size // 5, brow), (30, 40, 60), max(1, size // 15))
    cv2.ellipse(image, (x, y + size // 2), (size * 7 // 25, size * 2 // 25), 0, 0, 360, (60, 60, 150), -1)
    return cv2.GaussianBlur(image, (0, 0), size / 40)


def _plain(index: int) -> np.ndarray:
    """A grey picture whose brightness is 4 * index: which frame was taken can be read off."""
    return np.full((96, 128, 3), min(250, 4 * index), np.uint8)


def _tone(seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def _make_media(
    path: Path,
    seconds: float = 2.0,
    fps: int = 25,
    picture: Callable[[int], np.ndarray] | None = _plain,
    sound: np.ndarray | str | None = "tone",
    rate: int = 48_000,
    layout: str = "stereo",
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    times: Callable[[int], int] | None = None,
    sound_from: float = 0.0,
    faststart: bool = True,
) -> Path:
    """Write a media file; `sound` is `(C, samples)` or `(samples,)` float32 for all channels, `times` ms per frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    movie = path.suffix == ".mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"} if movie and faststart else {}) as container:
        video: Any = None
        if picture is not None:
            video = container.add_stream(video_codec, rate=fps)
            video.height, video.width = picture(0).shape[:2]
            video.pix_fmt, video.thread_count = "yuv420p", 1
            if times is not None:
                video.codec_context.time_base = Fraction(1, 1000)
        audio: Any = None
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        if video is not None:
            for index in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(picture(index), "bgr24")
                frame.pts = index if times is None else times(index)
                frame.time_base = Fraction(1, fps if times is None else 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None:
            samples = _tone(seconds, rate) if isinstance(sound, str) else sound
            assert samples is not None
            channels = len(audio.layout.channels)
            samples = np.atleast_2d(samples).astype(np.float32)
            samples = np.repeat(samples, channels, 0) if len(samples) == 1 else samples
            for start in range(0, samples.shape[1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round(sound_from * rate)
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def _utterance(utt_id: str, video: Path | str = "", audio: Path | str | None = None, **others: Any) -> Utterance:
    """An utterance of one file; `audio` None means the same file."""
    values: dict[str, Any] = {
        "dialogue": "",
        "turn": 0,
        "speaker": "s",
        "sex": "",
        "session": "",
        "split": "",
        "start": 0.0,
        "end": None,
        "text": "hello there",
        "label_raw": "neutral",
    }
    return Utterance(utt_id, video=str(video), audio=str(video if audio is None else audio), **{**values, **others})


@pytest.fixture
def make_media() -> Callable[..., Path]:
    return _make_media


@pytest.fixture
def draw_face() -> Callable[..., np.ndarray]:
    return _draw_face


@pytest.fixture
def plain() -> Callable[[int], np.ndarray]:
    return _plain


@pytest.fixture
def utterance() -> Callable[..., Utterance]:
    return _utterance
