"""Streams small enough for a test, and a way to run one extractor over them: fixtures that conftest files import."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.store import FeatureStore
from pipeline.data.streams import AUDIO_RATE, Images, write_audio, write_images, write_text
from pipeline.extraction.runner import extract_features
from pipeline.schema import FeatureSet
from pipeline.seeding import stream as random_stream

FACE_RATE = 5.0
FRAME_RATE = 15.0


def voice(seconds: float, pitch: float = 120.0, seed: int = 0) -> np.ndarray:
    """A sum of harmonics with a moving pitch, a little noise: int16 at 16 kHz."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 3 * time))) / AUDIO_RATE
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 20))
    noise = random_stream("test", "voice", seed).normal(size=len(time))
    return np.asarray(4000 * harmonics + 40 * noise, np.int16)


def face(turn: float, side: int = 112) -> bytes:
    """A grey ellipse with two eyes on a shaded ground, as JPEG."""
    image = np.tile(np.linspace(60, 120, side, dtype=np.uint8), (side, 1))
    cv2.ellipse(image, (side // 2, side // 2), (side // 3, side * 2 // 5), turn, 0, 360, 200, -1)
    for x in (side * 2 // 5, side * 3 // 5):
        cv2.circle(image, (x, side * 2 // 5), max(1, side // 16), 30, -1)
    return cv2.imencode(".jpg", image)[1].tobytes()


def images(jpegs: list[bytes], rate: float = FACE_RATE) -> Images:
    return Images(jpegs, np.arange(len(jpegs), dtype=np.float32) / np.float32(rate))


def scene(step: int, width: int = 160, height: int = 128) -> bytes:
    """A bright disc that moves over coloured stripes, as JPEG."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (40 + 30 * ((np.arange(width) // 16) % 3))[None, :, None] + np.array([0, 20, 60])
    cv2.circle(image, (20 + 3 * step, height // 2), height // 5, (30, 200, 220), -1)
    return cv2.imencode(".jpg", image)[1].tobytes()


AUDIO = {
    "a_voice": voice(1.03),
    "b_silence": np.zeros(8000, np.int16),
    "c_one_sample": np.array([1200], np.int16),
    "d_tenth_of_a_frame": voice(0.0025),
    "e_absent": np.zeros(0, np.int16),
    "f_full_scale": np.where(np.arange(6000) % 90 < 45, 32767, -32768).astype(np.int16),
    "g_voice": voice(1.03, 210.0, 1),
    "h_last_frame_short": voice(0.4567),
}
FACES = {
    "a_faces": [face(turn) for turn in (0, 20, 40, 60, 80)],
    "b_plain": [cv2.imencode(".jpg", np.full((112, 112), 128, np.uint8))[1].tobytes()] * 4,
    "c_one_pixel": [cv2.imencode(".jpg", np.full((1, 1), 128, np.uint8))[1].tobytes()],
    "d_one_frame": [face(10)],
    "e_absent": [],
    "f_some_seen": [face(0), b"", b"", face(30)],
    "g_never_seen": [b"", b""],
}
FRAMES = {
    "a_clip": [scene(step) for step in range(40)],
    "c_one_frame": [scene(7)],
    "d_one_pixel": [cv2.imencode(".jpg", np.full((1, 1, 3), 128, np.uint8))[1].tobytes()] * 2,
    "e_absent": [],
}
TEXT = {
    "a_sentence": "I am so happy to see you!",
    "b_dots": "...",
    "c_one_letter": "a",
    "d_other_script": "Ça va? 你好 🙂",
    "e_absent": "",
    "f_long": "never " * 700,
    "g_sentence": "That was not what we had in mind.",
    "h_white_space": " \n ",
}


def write_glove(path: Path, ids: list[str]) -> None:
    """A text file of word vectors, 300-d, for some of the words in TEXT."""
    draw = random_stream("test", "glove")
    words = ["i", "am", "so", "happy", "to", "see", "you", "!", ".", "that", "was", "not", "never", "a", "?"]
    lines = [" ".join([word, *(f"{x:.4f}" for x in draw.normal(size=300))]) for word in words]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_openface(folder: Path, ids: list[str]) -> None:
    """OpenFace's output for every utterance: three frames at 30 Hz, the second without a face."""
    draw = random_stream("test", "openface")
    folder.mkdir()
    units = [f"AU{n:02}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)]
    columns = [f"{u}_r" for u in units] + [f"{u}_c" for u in [*units[:16], "AU28", "AU45"]]
    places = [f"{axis}_{n}" for axis in "xy" for n in range(68)]
    gaze = [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"] + ["gaze_angle_x", "gaze_angle_y"]
    pose = [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"]
    header = ["frame", "face_id", "timestamp", "confidence", "success", *gaze, *pose, *places, *columns]
    for utt_id in ids:
        rows = [
            [
                str(k + 1),
                "0",
                f"{k / 30:.3f}",
                "0.98",
                str(int(k != 1)),
                *(f"{x:.3f}" for x in draw.random(len(header) - 5)),
            ]
            for k in range(3)
        ]
        lines = [", ".join(row) for row in [header, *rows]]
        (folder / f"{utt_id}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_stream(kind: str, path: Path, copies: int = 1) -> None:
    """Write the utterances above, each `copies` times under ids of its own; one more is quarantined."""
    content = {"audio": AUDIO, "faces": FACES, "frames": FRAMES, "text": TEXT}[kind]
    rows = [(f"{utt_id}_{copy:02}", value) for utt_id, value in content.items() for copy in range(copies)]
    if kind == "audio":
        write_audio(path, rows, {"rate": AUDIO_RATE}, ["z_quarantined"])
    elif kind in {"faces", "frames"}:
        rate = {"faces": FACE_RATE, "frames": FRAME_RATE}[kind]
        write_images(path, [(u, images(jpegs, rate)) for u, jpegs in rows], {"rate": rate}, ["z_quarantined"])
    else:
        write_text(path, rows, {}, ["z_quarantined"])


def run_extractor(
    source: Path, target: Path, extractor: str, kind: str, options: dict | None = None, **more: str
) -> FeatureStore:
    """Extract the feature set `tested` of a stream; scratch is a folder beside the target."""
    modality = {"audio": "audio", "faces": "vision", "frames": "vision", "text": "text"}[kind]
    params = FeatureSet(
        corpus="c",
        modality=modality,
        stream=kind,
        extractor=extractor,
        options={extractor: options} if options else {},
        **more,
    )
    extract_features("tested", params, source, target, target.parent / "scratch")
    return FeatureStore(target)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_JOBS", "1")


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small stream of every kind: audio, faces, frames, text."""
    folder = tmp_path_factory.mktemp("streams")
    paths = {kind: folder / f"{kind}.h5" for kind in ("audio", "faces", "frames", "text")}
    for kind, path in paths.items():
        write_stream(kind, path)
    return paths


@pytest.fixture(scope="session")
def make_stream() -> Callable[..., None]:
    """`make_stream(kind, path, copies=1)` writes the utterances of this file, each `copies` times."""
    return write_stream


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Faces of 21 utterances."""
    path = tmp_path / "many.h5"
    write_stream("faces", path, copies=3)
    return path


@pytest.fixture(scope="session")
def run() -> Callable[..., FeatureStore]:
    """`run(source, target, extractor, kind, options, weights=..., weights_sha256=...)` gives the store."""
    return run_extractor


@pytest.fixture(scope="session")
def make_voice() -> Callable[..., np.ndarray]:
    """`make_voice(seconds, pitch, seed)`: int16 at 16 kHz."""
    return voice
