"""The stage: identity in, one line out, clear errors, atomic output."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline import paths
from pipeline.data.manifest import Manifest, Utterance
from pipeline.errors import ParamsError
from pipeline.execution.lock import exclusive
from stages.decode import decode

ROOT = Path(__file__).parents[2]

PARAMS = """
seed: 1
synthetic: {}
corpora:
  films:
    reader: demo
    options: {}
    decode: {streams: [audio, faces], face: whole_frame, face_px: 32, quarantine_budget: 0.0}
feature_corpora: {}
features: {}
benchmarks: {}
training: {}
methods: {}
score: {}
report: {title: films}
"""


def write_film(path: Path, frames: int = 25) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.thread_count = 1
        for index in range(frames):
            picture = np.full((64, 64, 3), 5 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(autouse=True)
def _films(tmp_path, monkeypatch):
    """Two silent films of one second and their manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LACUNA_JOBS", "1")
    Path("params.yaml").write_text(PARAMS)
    folder = paths.raw("films")
    folder.mkdir(parents=True)
    utterances = []
    for name in ("a", "b"):
        file = folder / f"{name}.mp4"
        write_film(file)
        utterances.append(Utterance(name, "", 0, "s", "", "", "", str(file), str(file), 0.0, None, "hello", "neutral"))
    Manifest(utterances).write(paths.manifest("films"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.decode", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_line_says_what_was_decoded(capsys):
    decode("films")
    out = capsys.readouterr().out
    assert out == "films: 2 clips, 0.001 h of media; naturally absent: text 0, audio 2, vision 0; 0 quarantined\n"
    assert sorted(path.name for path in paths.decoded("films").iterdir()) == [
        "audio.h5",
        "clips.csv",
        "faces.h5",
        "quarantine.csv",
        "text.h5",
    ]


def test_an_unknown_corpus_is_refused():
    with pytest.raises(ParamsError, match=r"params\.yaml: corpora: no 'flims', did you mean 'films'"):
        decode("flims")


def test_a_corrupt_film_ends_the_stage_with_its_name_and_no_output():
    data = Path("data/raw/films/b.mp4").read_bytes()
    Path("data/raw/films/b.mp4").write_bytes(data[: len(data) - 20])
    done = run("--corpus", "films")
    assert done.returncode == 1
    assert "error: films: 1 of 2 clips cannot be decoded" in done.stderr
    assert "\n  b: data/raw/films/b.mp4: cut off" in done.stderr
    assert "Traceback" not in done.stderr
    assert not paths.decoded("films").exists()


def test_a_second_run_at_once_is_refused():
    with exclusive(paths.scratch() / "decode" / "films"):
        done = run("--corpus", "films")
    assert done.returncode == 1
    assert f"process {os.getpid()} is working on it" in done.stderr
