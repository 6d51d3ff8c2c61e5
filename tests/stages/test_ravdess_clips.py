"""Real clips: the study ravdess_clips over the RAVDESS files beside the checkout."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline import paths
from pipeline.data.store import FeatureStore
from pipeline.data.streams import AudioStream, ImageStream, TextStream
from pipeline.files import read_csv
from pipeline.params import load_params
from pipeline.studies import code_problems
from stages.decode import decode
from stages.extract import extract
from stages.ingest import ingest

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "ravdess_clips.yaml"
CLIPS = ROOT.parent / "shared" / "data" / "ravdess_clips"
CORPUS = "ravdess_clips"


def test_the_study_is_valid():
    params = load_params(STUDY)
    assert list(params.corpora) == [CORPUS]
    assert code_problems(params) == []


def held(path: Path) -> tuple[int, int, float]:
    """What a file holds, read on its own: frames, samples, seconds to the end of the longer stream."""
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        rate = container.streams.video[0].average_rate or Fraction(1)
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return frames, samples, max(frames / float(rate), samples / 48_000)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """The folder in which the study was ingested, decoded and extracted."""
    if not CLIPS.is_dir():
        pytest.skip(f"the RAVDESS clips are not at {CLIPS}")
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "params.yaml").write_text(STUDY.read_text())
        paths.raw(CORPUS).parent.mkdir(parents=True)
        paths.raw(CORPUS).symlink_to(CLIPS)
        ingest(CORPUS)
        decode(CORPUS)
        for name in load_params().features:
            extract(name)
    return folder


@pytest.mark.real_data
def test_durations_frames_and_samples_are_those_of_the_files(decoded):
    rows = read_csv(decoded / paths.decoded(CORPUS) / "clips.csv")
    assert len(rows) == 8
    with AudioStream(decoded / paths.stream(CORPUS, "audio")) as audio:
        for row in rows:
            frames, samples, seconds = held(CLIPS / f"{row['utt_id']}.mp4")
            assert 90 < frames < 110
            assert int(row["video_frames"]) == frames
            assert int(row["audio_samples"]) == samples
            assert float(row["duration"]) == pytest.approx(seconds, abs=1e-5)
            assert (row["width"], row["height"], row["audio_rate"], row["audio_channels"]) == (
                "1280",
                "720",
                "48000",
                "2",
            )
            assert float(row["fps"]) == pytest.approx(30_000 / 1001, abs=1e-5)
            if row["absent_audio"] == "0":
                assert len(audio.row(row["utt_id"])) == pytest.approx(samples / 3, abs=1)
    assert read_csv(decoded / paths.decoded(CORPUS) / "quarantine.csv") == []


@pytest.mark.real_data
def test_the_sound_of_the_video_only_takes_is_absent_and_that_of_the_others_is_not(decoded):
    rows = read_csv(decoded / paths.decoded(CORPUS) / "clips.csv")
    absent = {row["utt_id"]: row["absent_audio"] == "1" for row in rows}
    assert sum(absent.values()) == 4
    with AudioStream(decoded / paths.stream(CORPUS, "audio")) as audio:
        for utt_id, missing in absent.items():
            assert missing == utt_id.startswith("02-")
            pcm = audio.row(utt_id)
            assert (len(pcm) == 0) if missing else (np.abs(pcm.astype(int)).max() > 1000)


@pytest.mark.real_data
def test_the_face_is_found_in_nearly_every_frame(decoded):
    rows = read_csv(decoded / paths.decoded(CORPUS) / "clips.csv")
    steps = sum(int(row["face_frames"]) for row in rows)
    found = sum(int(row["faces_found"]) for row in rows)
    assert found >= 0.95 * steps
    with ImageStream(decoded / paths.stream(CORPUS, "faces")) as faces:
        for row in rows:
            images = faces.row(row["utt_id"])
            assert len(images.jpegs) == int(np.ceil(float(row["duration"]) * 5))
            crops = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in images.jpegs if jpeg]
            assert {crop.shape for crop in crops} == {(112, 112, 3)}
            # One person who sits still: crops of neighbouring steps look alike, so the box does not jump about.
            assert np.median([cv2.absdiff(a, b).mean() for a, b in pairwise(crops)]) < 20


@pytest.mark.real_data
def test_the_statements_are_there(decoded):
    with TextStream(decoded / paths.stream(CORPUS, "text")) as text:
        assert {text.row(utt_id) for utt_id in text.ids} == {
            "Kids are talking by the door",
            "Dogs are sitting by the door",
        }


@pytest.mark.real_data
def test_features_are_there_where_the_recording_has_the_modality_and_absent_where_not(decoded):
    audio = FeatureStore(decoded / paths.features("ravdess_clips_audio"))
    vision = FeatureStore(decoded / paths.features("ravdess_clips_vision"))
    text = FeatureStore(decoded / paths.features("ravdess_clips_text"))
    assert len(audio) == len(vision) == len(text) == 8
    seconds = {row["utt_id"]: float(row["duration"]) for row in read_csv(decoded / paths.decoded(CORPUS) / "clips.csv")}
    for utt_id, length in zip(audio.ids, audio.lengths(), strict=True):
        if utt_id.startswith("02-"):
            assert length == 0
        else:
            assert length == pytest.approx(seconds[utt_id] / 0.01, rel=0.05)
    assert (vision.lengths() > 0).all()
    assert (text.lengths() > 5).all()
    assert vision.whole("present").mean() > 0.9
