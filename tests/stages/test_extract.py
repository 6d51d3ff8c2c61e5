"""The stage reads params.yaml and one stream, and writes one store."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import paths
from pipeline.data.store import FeatureStore
from pipeline.data.streams import AUDIO_RATE, write_audio
from pipeline.errors import ParamsError
from stages.extract import extract

ROOT = Path(__file__).parents[2]
PARAMS = """
seed: 1
synthetic: {}
corpora: {small: {reader: demo}}
feature_corpora: {}
features:
  small_audio:
    corpus: small
    modality: audio
    stream: audio
    extractor: mfcc
    options: {mfcc: {hop: 0.1}, egemaps: {hop: 0.05}}
    weights: null
    weights_sha256: null
benchmarks: {}
training: {}
methods: {}
score: {}
report: {title: t}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LACUNA_JOBS", "1")
    monkeypatch.delenv("LACUNA_SCRATCH", raising=False)
    Path("params.yaml").write_text(PARAMS)
    pcm = np.asarray(1000 * np.sin(np.arange(AUDIO_RATE) / 20), np.int16)
    write_audio(paths.stream("small", "audio"), [("a", pcm), ("b", pcm[:0])], {"rate": AUDIO_RATE}, ["c"])
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "stages.extract", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_stage_writes_the_store_that_params_ask_for(checkout):
    extract("small_audio")
    with FeatureStore(Path("data/features/small_audio.h5")) as store:
        assert store.lengths().tolist() == [11, 0]
        assert store.excluded == ["c"]
        assert store.provenance.options == {"hop": 0.1}
    assert [path.name for path in Path(".scratch").rglob("*") if path.is_file()] == ["lock"]


def test_stage_from_the_command_line_gives_the_same_bytes_and_a_line_of_summary(checkout):
    extract("small_audio")
    expected = Path("data/features/small_audio.h5").read_bytes()
    done = command(checkout, "--features", "small_audio")
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "small_audio: 2 clips, 1 absent in the audio stream, 1 quarantined"
    assert last.startswith("small_audio: 11 steps, 0 of them not present; 1 clip absent; ")
    assert Path("data/features/small_audio.h5").read_bytes() == expected


def test_unknown_feature_set_is_refused(checkout):
    with pytest.raises(ParamsError, match=r"^params\.yaml: features: no 'small_vision', did you mean 'small_audio'\?$"):
        extract("small_vision")


def test_problem_is_one_line_and_leaves_the_earlier_store_alone(checkout):
    earlier = Path("data/features/small_audio.h5")
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"earlier")
    Path("params.yaml").write_text(PARAMS.replace("hop: 0.1", "hops: 0.1"))
    done = command(checkout, "--features", "small_audio")
    assert done.returncode == 1
    assert done.stderr == (
        "error: params.yaml: features.small_audio.options.mfcc.hops: unknown key, did you mean 'hop'?\n"
    )
    assert earlier.read_bytes() == b"earlier"
