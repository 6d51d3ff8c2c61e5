"""A whole corpus: streams, tables, quarantine and its budget, resuming, bytes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.manifest import Manifest
from pipeline.data.streams import AudioStream, ImageStream, TextStream
from pipeline.decode import runner, shards
from pipeline.decode.runner import decode_corpus
from pipeline.errors import DataError
from pipeline.execution.lock import exclusive
from pipeline.files import read_csv
from pipeline.schema import Decode

OPTIONS = Decode(streams=("audio", "faces", "frames"), face="whole_frame", face_px=32, frame_hz=5.0, frame_px=32)


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("LACUNA_JOBS", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def corpus(make_media, utterance, tmp_path):
    """Six clips: two share a file (with interleaved ids), one is silent, one has no text."""
    files = [make_media(Path("raw") / f"{i}.mp4", 0.6 + 0.2 * i, sound=None if i == 2 else "tone") for i in range(4)]
    return Manifest(
        [
            utterance("a", files[0], end=0.4),
            utterance("b", files[1]),
            utterance("c", files[0], start=0.2, text="ÄÖ"),
            utterance("d", files[2]),
            utterance("e", files[3], text=" "),
            utterance("f", files[3], start=0.1, end=1.0),
        ]
    )


def run(manifest, options=OPTIONS, target="out", scratch="scratch"):
    return decode_corpus("films", manifest, options, Path(target), Path(scratch))


def contents(folder="out"):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_every_stream_has_a_row_of_every_clip(corpus):
    summary = run(corpus)
    assert (summary.clips, summary.absent, summary.quarantined) == (6, {"text": 1, "audio": 1, "vision": 0}, 0)
    assert summary.hours * 3600 == pytest.approx(sum(float(row["duration"]) for row in read_csv(Path("out/clips.csv"))))
    with TextStream(Path("out/text.h5")) as text:
        assert [text.row(utt_id) for utt_id in text.ids] == ["hello there"] * 2 + [
            "ÄÖ",
            "hello there",
            "",
            "hello there",
        ]
    with AudioStream(Path("out/audio.h5")) as audio:
        assert audio.ids == corpus.ids
        assert len(audio.row("a")) == 6400
        assert len(audio.row("d")) == 0
        assert audio.attrs["rate"] == 16_000
    for name, hz in (("faces", OPTIONS.face_hz), ("frames", OPTIONS.frame_hz)):
        with ImageStream(Path(f"out/{name}.h5")) as images:
            assert images.rate == hz
            assert len(images.row("a").jpegs) == 2
            assert all(jpeg[:2] == b"\xff\xd8" for jpeg in images.row("e").jpegs)
    assert [row["utt_id"] for row in read_csv(Path("out/clips.csv"))] == corpus.ids
    assert read_csv(Path("out/quarantine.csv")) == []


def test_only_the_streams_asked_for_are_written(corpus):
    run(corpus, Decode(streams=("audio",)))
    assert sorted(contents()) == ["audio.h5", "clips.csv", "quarantine.csv", "text.h5"]


def test_a_second_run_gives_the_same_bytes_and_scratch_is_gone(corpus):
    run(corpus)
    first = contents()
    assert [path.name for path in Path("scratch").iterdir()] == ["lock"]
    run(corpus)
    assert contents() == first


def test_the_number_of_jobs_and_of_shards_does_not_change_a_byte(corpus, monkeypatch):
    run(corpus)
    first = contents()
    monkeypatch.setattr(shards, "_CLIPS", 1)
    monkeypatch.setattr(shards, "_OPEN", 1)
    monkeypatch.setenv("LACUNA_JOBS", "2")
    assert len(shards.plan(corpus, OPTIONS, Path("scratch"))) == 4
    run(corpus)
    assert contents() == first


def test_where_the_files_lie_does_not_change_a_byte(corpus, make_media, utterance, tmp_path):
    run(corpus)
    first = contents()
    Path("raw").rename("elsewhere")
    moved = [
        u.__class__(**{**vars(u), "video": u.video.replace("raw", str(tmp_path / "elsewhere"))})
        for u in corpus.utterances
    ]
    moved = [u.__class__(**{**vars(u), "audio": u.video}) for u in moved]
    run(Manifest(moved))
    assert contents() == first


def test_a_stream_names_its_own_options_and_source_only(corpus):
    run(corpus)
    first = contents()
    run(corpus, OPTIONS.model_copy(update={"face_hz": 2.5}))
    second = contents()
    assert first["faces.h5"] != second["faces.h5"]
    assert {name for name in first if first[name] == second[name]} == {
        "audio.h5",
        "frames.h5",
        "text.h5",
        "quarantine.csv",
    }
    with h5py.File("out/faces.h5") as file:
        assert '"source_sha256"' in file.attrs["attributes"]
        assert "raw" not in file.attrs["attributes"]


@pytest.fixture
def damaged(corpus):
    """The same corpus with an empty file and one that is cut off: three of six clips."""
    data = Path("raw/3.mp4").read_bytes()
    Path("raw/3.mp4").write_bytes(data[: len(data) // 2])
    Path("raw/1.mp4").write_bytes(b"")
    return corpus


def test_within_the_budget_corrupt_clips_are_listed_and_left_out(damaged):
    summary = run(damaged, OPTIONS.model_copy(update={"quarantine_budget": 0.5}))
    assert (summary.clips, summary.quarantined) == (3, 3)
    rows = read_csv(Path("out/quarantine.csv"))
    assert [(row["utt_id"], row["file"]) for row in rows] == [
        ("b", "raw/1.mp4"),
        ("e", "raw/3.mp4"),
        ("f", "raw/3.mp4"),
    ]
    assert "zero bytes" in rows[0]["reason"]
    assert "cut off" in rows[1]["reason"]
    for name, stream in {"text": TextStream, "audio": AudioStream, "faces": ImageStream, "frames": ImageStream}.items():
        with stream(Path(f"out/{name}.h5")) as packed:
            assert packed.ids == ["a", "c", "d"]
            assert packed.excluded == ["b", "e", "f"]
    assert [row["utt_id"] for row in read_csv(Path("out/clips.csv"))] == ["a", "c", "d"]


def test_beyond_the_budget_all_are_named_and_earlier_outputs_stay(corpus, damaged):
    Path("out").mkdir()
    Path("out/text.h5").write_text("earlier")
    with pytest.raises(DataError) as caught:
        run(damaged, OPTIONS.model_copy(update={"quarantine_budget": 0.4}))
    message = str(caught.value)
    assert message.startswith("films: 3 of 6 clips cannot be decoded, more than the share 0.4 that is allowed")
    assert "corpora.films.decode.quarantine_budget" in message
    for name, file in (("b", "raw/1.mp4"), ("e", "raw/3.mp4"), ("f", "raw/3.mp4")):
        assert f"\n  {name}: {file}: " in message
    assert contents() == {"text.h5": b"earlier"}


def test_after_a_file_is_mended_or_the_budget_raised_only_what_changed_is_decoded_again(
    damaged, make_media, monkeypatch
):
    monkeypatch.setattr(shards, "_CLIPS", 1)
    made = []
    monkeypatch.setattr(runner, "make", lambda shard: made.append(shard.ids) or shards.make(shard))
    with pytest.raises(DataError, match="3 of 6"):
        run(damaged)
    assert sorted(made) == [["a", "c"], ["b"], ["d"], ["e", "f"]]
    made.clear()
    make_media(Path("raw/1.mp4"), 0.8)
    with pytest.raises(DataError, match="2 of 6"):
        run(damaged)
    assert made == [["b"]]
    made.clear()
    assert run(damaged, OPTIONS.model_copy(update={"quarantine_budget": 0.5})).clips == 4
    assert made == []


def test_all_clips_in_quarantine_give_empty_streams(utterance):
    Path("x.mp4").write_bytes(b"")
    run(Manifest([utterance("a", "x.mp4")]), OPTIONS.model_copy(update={"quarantine_budget": 1.0}))
    with ImageStream(Path("out/faces.h5")) as faces:
        assert (faces.ids, faces.excluded) == ([], ["a"])


def test_missing_media_files_are_named_before_anything_is_decoded(corpus):
    Path("raw/2.mp4").unlink()
    with pytest.raises(DataError, match=r"1 of 4 media files do not exist, first raw/2\.mp4"):
        run(corpus)
    assert not Path("out").exists()


def test_two_runs_at_once_are_refused(corpus):
    with exclusive(Path("scratch")), pytest.raises(DataError, match=f"scratch: process {os.getpid()} is working on it"):
        run(corpus)


def test_a_full_disk_leaves_earlier_outputs_and_the_next_run_goes_on(corpus, monkeypatch):
    Path("out").mkdir()
    Path("out/text.h5").write_text("earlier")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(runner, "write_images", full)
        with pytest.raises(DataError, match="out: the disk is full, nothing was written"):
            run(corpus)
    assert contents() == {"text.h5": b"earlier"}
    assert list(Path().glob(".out*")) == []
    monkeypatch.setattr(runner, "make", None)
    run(corpus)
    assert "faces.h5" in contents()


def test_a_full_disk_while_a_shard_is_written_leaves_no_shard(corpus, monkeypatch):
    def full(*_args, **_values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.data.packed.PackedWriter.add", full)
    with pytest.raises(DataError, match="the disk is full"):
        run(corpus)
    assert list(Path("scratch/shards").iterdir()) == []
    assert not Path("out").exists()


def test_a_recording_with_very_many_utterances_fits_one_shard(make_media, utterance):
    path = make_media(Path("raw/long.mp4"), 2.0)
    run(Manifest([utterance(f"u{i:04}", path, start=i / 1000, end=i / 1000 + 0.5) for i in range(1000)]))
    assert len(read_csv(Path("out/clips.csv"))) == 1000


def test_results_of_other_options_or_older_files_are_not_taken_up(corpus):
    def keys(options=OPTIONS):
        return [shard.path for shard in shards.plan(corpus, options, Path("scratch"))]

    first = keys()
    assert keys(OPTIONS.model_copy(update={"quarantine_budget": 0.5})) == first
    assert keys(OPTIONS.model_copy(update={"face_px": 33})) != first
    os.utime("raw/0.mp4", ns=(1, 1))
    assert keys() != first


def test_sound_taken_from_a_video_file_does_not_hide_the_picture_of_another_clip(utterance, make_media):
    path = make_media(Path("raw/a.mp4"), 1.0)
    summary = run(Manifest([utterance("a", "", path), utterance("b", path)]))
    assert summary.absent == {"text": 0, "audio": 0, "vision": 1}


KILLED = """
import sys, time
from pathlib import Path
from pipeline.data.manifest import Manifest
from pipeline.decode import runner, shards
from pipeline.schema import Decode
shards._CLIPS = 1
def slow(shard, make=shards.make):
    made = make(shard)
    print("made", flush=True)
    time.sleep(float(sys.argv[1]))
    return made
runner.make = slow
options = Decode.model_validate_json(sys.argv[2])
runner.decode_corpus("films", Manifest.read(Path("manifest.csv")), options, Path("out"), Path("scratch"))
"""


def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_bytes(corpus):
    corpus.write(Path("manifest.csv"))
    run(corpus, target="whole", scratch="other")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [*command, "60", OPTIONS.model_dump_json()], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"made\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in Path("scratch/shards").iterdir()}
    assert len(kept) == 1
    time.sleep(0.01)
    done = subprocess.run(
        [*command, "0", OPTIONS.model_dump_json()], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("made") == 3
    assert contents() == contents("whole")


def test_memory_holds_a_few_shards_only(corpus, monkeypatch):
    monkeypatch.setattr(shards, "_CLIPS", 1)
    monkeypatch.setattr(shards, "_OPEN", 2)
    planned = shards.plan(corpus, OPTIONS, Path("scratch"))
    results = shards.Results([shards.make(shard) for shard in planned])
    for utt_id, pcm in results.audio():
        assert (len(pcm) == 0) == (utt_id == "d")
        assert len(results._open) <= 2
    results.close()


def test_images_pass_through_shards_unchanged(corpus):
    (shard,) = shards.plan(corpus, OPTIONS, Path("scratch"))
    results = shards.Results([shards.make(shard)])
    images = dict(results.images("faces"))
    assert all(len(own.jpegs) == len(own.times) for own in images.values())
    assert np.allclose(images["e"].times, np.arange(len(images["e"].jpegs)) / 5)
    results.close()
