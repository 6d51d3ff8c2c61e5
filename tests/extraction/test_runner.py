"""The runner: shards, resumption, damage, full disk, two processes, provenance, refusals."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.packed import PackedWriter
from pipeline.data.streams import write_text
from pipeline.errors import ContractError, DataError, ParamsError
from pipeline.execution.lock import exclusive
from pipeline.extraction import runner, shards
from pipeline.extractors import hog_face, mfcc
from pipeline.extractors.protocol import Features

ROOT = Path(__file__).parents[2]
UTTERANCES = 21
SHARDS = 7

# Runs the extraction with shards of three and kills itself, as `kill -9` does, at one point of the work.
DYING = """
import os, signal, sys
from pathlib import Path
from pipeline.data.packed import PackedWriter
from pipeline.extraction import runner, shards
from pipeline.extractors import hog_face
from pipeline.schema import FeatureSet

source, target, point, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
hog_face.HogFace.shard = 3
calls = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    original = getattr(owner, name)
    def wrapper(*arguments, **keywords):
        global calls
        calls += 1
        if calls == number:
            die()
        return original(*arguments, **keywords)
    setattr(owner, name, wrapper)

if point == "row":
    before(PackedWriter, "add")
elif point == "shard":
    before(shards, "_save")
elif point == "part":
    original_hash = shards.sha256
    def hash_or_die(path):
        global calls
        calls += path.suffix == ".part"
        if calls == number:
            die()
        return original_hash(path)
    shards.sha256 = hash_or_die
elif point == "flush":
    before(PackedWriter, "finish")
elif point == "cleanup":
    before(runner.shutil, "rmtree")
params = FeatureSet(corpus="c", modality="vision", stream="faces", extractor="hog_face")
runner.extract_features("tested", params, source, target, target.parent / "scratch")
"""


def run_dying(source: Path, target: Path, point: str, number: int, jobs: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, "LACUNA_JOBS": str(jobs)}
    arguments = [sys.executable, "-c", DYING, str(source), str(target), point, str(number)]
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def leftovers(folder: Path) -> list[str]:
    """All files below a folder, but for the lock."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "lock")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(hog_face.HogFace, "shard", 3)


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Indices of the shards that are computed (not those that are found)."""
    indices: list[int] = []
    original = shards._save
    monkeypatch.setattr(shards, "_save", lambda shard, *others: indices.append(shard.index) or original(shard, *others))
    return indices


@pytest.fixture
def whole(many, run, tmp_path, small_shards) -> bytes:
    """The bytes of an uninterrupted run."""
    return run(many, tmp_path / "whole" / "store.h5", "hog_face", "faces").path.read_bytes()


@pytest.fixture
def interrupted(many, run, tmp_path, small_shards, monkeypatch) -> Path:
    """The target of a run that was interrupted after all shards were saved."""
    target = tmp_path / "interrupted" / "store.h5"

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "write_store", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(many, target, "hog_face", "faces")
    return target


def test_shards_are_removed_at_the_end_and_the_store_alone_is_left(many, run, tmp_path, small_shards, computed):
    with run(many, tmp_path / "out" / "store.h5", "hog_face", "faces") as store:
        assert len(store) == UTTERANCES
    assert computed == list(range(SHARDS))
    assert leftovers(tmp_path / "out") == ["store.h5"]


def test_size_of_shards_does_not_change_the_store(many, run, tmp_path, whole, monkeypatch):
    monkeypatch.setattr(hog_face.HogFace, "shard", 100)
    assert run(many, tmp_path / "one" / "store.h5", "hog_face", "faces").path.read_bytes() == whole


@pytest.mark.parametrize(
    ("point", "number", "kept"),
    [
        ("row", 2, 0),  # in the first shard
        ("row", 11, 3),  # in the fourth
        ("flush", 7, 6),  # the last shard, all rows handed over
        ("shard", 5, 4),  # between two shards
        ("row", UTTERANCES + 5, 7),  # while the store is put together
        ("flush", SHARDS + 1, 7),  # the store, all rows handed over
        ("cleanup", 1, 7),  # the store is in place, its shards not yet removed
    ],
)
def test_after_kill_9_a_rerun_redoes_at_most_one_shard_and_ends_in_the_same_bytes(
    many, run, tmp_path, whole, computed, point, number, kept
):
    target = tmp_path / "killed" / "store.h5"
    process = run_dying(many, target, point, number)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    computed.clear()
    run(many, target, "hog_face", "faces")
    assert computed == list(range(kept, SHARDS))
    assert target.read_bytes() == whole
    assert leftovers(target.parent) == ["store.h5"]


def test_kill_between_saving_and_naming_a_shard_redoes_that_shard(many, run, tmp_path, whole, computed):
    target = tmp_path / "killed" / "store.h5"
    process = run_dying(many, target, "part", 3)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [name[-11:] for name in leftovers(target.parent) if name.endswith(".part")] == ["000002.part"]
    computed.clear()
    run(many, target, "hog_face", "faces")
    assert computed == list(range(2, SHARDS))
    assert target.read_bytes() == whole


@pytest.mark.parametrize("seen", sorted(np.random.default_rng(7).choice(np.arange(1, 70), 10, replace=False).tolist()))
def test_kill_9_of_two_workers_at_work_loses_no_finished_shard(
    run, tmp_path, small_shards, computed, make_stream, seen
):
    source, target, shards = tmp_path / "faces.h5", tmp_path / "killed" / "store.h5", 280 // 3 + 1
    make_stream("faces", source, copies=40)
    process = run_dying(source, target, "never", 0, jobs=2)
    while len(list(target.parent.glob("scratch/tested/*/*-*.h5"))) < seen:
        assert process.poll() is None, "it ended too soon to be killed"
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    assert not target.exists()
    time.sleep(0.2)  # the workers die with it; nothing is saved after this
    kept = {int(path.name[:6]) for path in target.parent.glob("scratch/tested/*/*-*.h5")}
    assert len(kept) >= seen
    run(source, target, "hog_face", "faces")
    assert computed == sorted(set(range(shards)) - kept)
    assert target.read_bytes() == run(source, tmp_path / "whole" / "store.h5", "hog_face", "faces").path.read_bytes()


def test_number_of_workers_does_not_change_the_bytes(many, run, tmp_path, whole, monkeypatch):
    monkeypatch.setenv("LACUNA_JOBS", "2")
    assert run(many, tmp_path / "two" / "store.h5", "hog_face", "faces").path.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extractor", "kind", "shard"), [("egemaps", "audio", 3), ("mfcc", "audio", 3), ("minilm", "text", 3)]
)
def test_number_of_workers_does_not_change_the_bytes_of_any_toolkit(
    streams, run, tmp_path, monkeypatch, extractor, kind, shard
):
    module = runner.registry.load("extractors", extractor)
    monkeypatch.setattr(runner.registry.entry_class(module, "extract"), "shard", shard)
    found = []
    for jobs in ("1", "2"):
        monkeypatch.setenv("LACUNA_JOBS", jobs)
        found.append(run(streams[kind], tmp_path / jobs / "store.h5", extractor, kind).path.read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("place", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_flipped_byte_anywhere_in_a_shard_is_found_and_that_shard_redone(
    many, run, whole, interrupted, computed, place
):
    shard = sorted(interrupted.parent.glob("scratch/tested/*/000002-*.h5"))[0]
    data = bytearray(shard.read_bytes())
    data[int(place * len(data))] ^= 0x40
    shard.write_bytes(data)
    run(many, interrupted, "hog_face", "faces")
    assert computed == [2]
    assert interrupted.read_bytes() == whole


def test_finished_shards_are_used_and_counted(many, run, whole, interrupted, computed, capsys):
    capsys.readouterr()
    run(many, interrupted, "hog_face", "faces")
    assert not computed
    assert "tested: 21 of 21 clips are there from an interrupted run" in capsys.readouterr().out
    assert interrupted.read_bytes() == whole


def test_other_options_do_not_use_these_shards(many, run, interrupted, computed):
    with run(many, interrupted, "hog_face", "faces", {"cell": 32}) as store:
        assert store.provenance.dim == 36
    assert computed == list(range(SHARDS))
    assert leftovers(interrupted.parent) == ["store.h5"]


def test_other_code_does_not_use_these_shards(many, run, interrupted, computed, monkeypatch):
    monkeypatch.setattr(runner.registry, "sources_sha256", lambda *modules: f"changed {modules}")
    run(many, interrupted, "hog_face", "faces")
    assert computed == list(range(SHARDS))


def test_shard_damaged_while_the_run_is_at_work_is_an_error(many, run, tmp_path, small_shards, monkeypatch):
    def damage(paths, *others):
        next(path for path in paths if path.name.startswith("000001-")).write_bytes(b"damaged")
        return original(paths, *others)

    original = runner._rows
    monkeypatch.setattr(runner, "_rows", damage)
    with pytest.raises(DataError, match=r"shard 1 is damaged or gone; run again to redo it$"):
        run(many, tmp_path / "out" / "store.h5", "hog_face", "faces")
    assert not (tmp_path / "out" / "store.h5").exists()


@pytest.mark.parametrize("rows_written", [1, 10, UTTERANCES + 3])
def test_full_disk_leaves_the_earlier_store_untouched_and_a_rerun_goes_on(
    many, run, tmp_path, whole, monkeypatch, rows_written
):
    target = tmp_path / "full" / "store.h5"
    target.parent.mkdir()
    target.write_bytes(b"earlier")
    count = 0
    original = PackedWriter.add

    def add(self, utt_id, **arrays):
        nonlocal count
        count += 1
        if count > rows_written:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, utt_id, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(PackedWriter, "add", add)
        with pytest.raises(DataError, match=r"the disk is full, nothing was written; free space on"):
            run(many, target, "hog_face", "faces")
    assert target.read_bytes() == b"earlier"
    assert not [name for name in leftovers(target.parent) if name.endswith((".tmp", ".part"))]
    run(many, target, "hog_face", "faces")
    assert target.read_bytes() == whole


def test_second_process_on_the_same_store_is_refused(many, run, tmp_path):
    with (
        exclusive(tmp_path / "scratch" / "tested"),
        pytest.raises(DataError, match=rf"process {os.getpid()} is working on it; wait for it or stop it"),
    ):
        run(many, tmp_path / "store.h5", "hog_face", "faces")
    assert not (tmp_path / "store.h5").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_not_finite_name_feature_set_utterance_and_step(streams, run, tmp_path, monkeypatch, value):
    def extract(self, prepared):
        values = np.zeros((5, 120), np.float32)
        values[3, 7] = value
        return [Features(values if utt_id == "g_voice_00" else values[:2]) for utt_id in prepared]

    monkeypatch.setattr(mfcc.Mfcc, "prepare", lambda self, utt_id, content: utt_id)
    monkeypatch.setattr(mfcc.Mfcc, "extract", extract)
    with pytest.raises(DataError) as caught:
        run(streams["audio"], tmp_path / "store.h5", "mfcc", "audio")
    message = str(caught.value)
    assert message.startswith(
        f"features.tested: utterance 'g_voice_00': mfcc gave {value} at step 3, feature 7, expected"
    )
    assert "\n" not in message
    assert not (tmp_path / "store.h5").exists()


WRONG = {
    "width": (Features(np.zeros((2, 3), np.float32)), r"gave values \(2, 3\) float32 .* expected \(T, 120\) float32"),
    "dtype": (Features(np.zeros((2, 120))), r"gave values \(2, 120\) float64"),
    "axes": (Features(np.zeros(2, np.float32)), r"gave values \(2,\) float32"),
    "present": (Features(np.zeros((2, 120), np.float32), np.ones(3, np.bool_)), r"present \(3,\)"),
    "unseen": (Features(np.ones((2, 120), np.float32), np.array([True, False])), r"features where nothing is present"),
}


@pytest.mark.parametrize("case", WRONG)
def test_extractor_that_breaks_the_protocol_is_refused(streams, run, tmp_path, monkeypatch, case):
    features, message = WRONG[case]
    monkeypatch.setattr(mfcc.Mfcc, "extract", lambda self, prepared: [features] * len(prepared))
    with pytest.raises(ContractError, match=message):
        run(streams["audio"], tmp_path / "store.h5", "mfcc", "audio")


def test_extractor_that_forgets_an_utterance_is_refused(streams, run, tmp_path, monkeypatch):
    monkeypatch.setattr(mfcc.Mfcc, "extract", lambda self, prepared: [])
    with pytest.raises(ContractError, match=r"mfcc: 0 results for 7 utterances"):
        run(streams["audio"], tmp_path / "store.h5", "mfcc", "audio")


def test_extractor_never_sees_an_absent_utterance(streams, run, tmp_path, monkeypatch):
    seen: list[str] = []
    original = mfcc.Mfcc.prepare
    monkeypatch.setattr(mfcc.Mfcc, "prepare", lambda self, u, content: seen.append(u) or original(self, u, content))
    run(streams["audio"], tmp_path / "store.h5", "mfcc", "audio")
    assert "a_voice_00" in seen
    assert "e_absent_00" not in seen


def test_stream_where_everything_is_absent_gives_a_store_of_empty_rows(run, tmp_path):
    write_text(tmp_path / "text.h5", [("a", ""), ("b", "")], {}, [])
    with run(tmp_path / "text.h5", tmp_path / "store.h5", "minilm", "text") as store:
        assert store.lengths().tolist() == [0, 0]
        assert store.provenance.dim == 384


@pytest.mark.parametrize("kind", ["audio", "faces", "text"])
def test_absent_works_on_any_stream(streams, run, tmp_path, kind):
    with run(streams[kind], tmp_path / "store.h5", "absent", kind, {"dim": 7}) as store:
        assert not store.lengths().any()
        assert len(store) >= 7
        assert store.provenance.dim == store.whole("values").shape[1] == 7


def test_stream_that_the_extractor_does_not_read_is_refused(streams, run, tmp_path):
    with pytest.raises(
        ParamsError, match=r"features\.tested\.stream: found 'audio', expected 'faces', which extractor"
    ):
        run(streams["audio"], tmp_path / "store.h5", "hog_face", "audio")


def test_unknown_extractor_is_refused_with_a_suggestion(streams, run, tmp_path):
    with pytest.raises(ParamsError, match="did you mean 'mfcc'"):
        run(streams["audio"], tmp_path / "store.h5", "mfc", "audio")


def test_options_of_an_unknown_extractor_are_refused(streams, tmp_path):
    params = runner.FeatureSet(
        corpus="c", modality="audio", stream="audio", extractor="mfcc", options={"mfccc": {"hop": 0.1}}
    )
    with pytest.raises(
        ParamsError, match=r"features\.tested\.options\.mfccc: no such extractor, expected one of .*mfcc"
    ):
        runner.extract_features("tested", params, streams["audio"], tmp_path / "store.h5", tmp_path / "scratch")


def test_missing_stream_is_refused(run, tmp_path):
    with pytest.raises(DataError, match=r"audio\.h5: no such file"):
        run(tmp_path / "audio.h5", tmp_path / "store.h5", "mfcc", "audio")


def test_summary_counts_clips_absence_speed_and_what_is_not_present(streams, run, tmp_path, capsys):
    run(streams["faces"], tmp_path / "store.h5", "hog_face", "faces")
    first, last = capsys.readouterr().out.splitlines()
    assert first == "tested: 7 clips, 2 absent in the faces stream, 1 quarantined"
    assert re.fullmatch(
        r"tested: 15 steps, 2 of them not present; 2 clips absent; [\d.]+ clips/s, [\d.]+ hours of media per hour "
        r"\(cpu, 1 worker\)",
        last,
    )
    run(streams["text"], tmp_path / "store.h5", "minilm", "text")
    assert re.search(r"2 clips absent; [\d.]+ clips/s \(cpu, 1 worker, float32\)$", capsys.readouterr().out.strip())
