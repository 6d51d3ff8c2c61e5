"""The demo corpus as a whole: files, bytes, planted truth, reader."""

import math
import shutil
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.corpora import demo
from pipeline.corpora.demo import generate as demo_generate
from pipeline.corpora.demo.generate import PRESETS, Options, compose, generate, optimum, process
from pipeline.corpora.demo.symbols import CLASSES, SETS, best_class, joint
from pipeline.errors import DataError, ParamsError
from pipeline.files import read_csv, sha256
from pipeline.section import options

TINY = Options(clips=24, px=64)
INCOMPLETE = Options(clips=10, px=64, noise=0, absent_text=0.5, absent_audio=0.5, absent_vision=0.5)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def decoded(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return frames, np.concatenate(sound)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("raw") / "demo"
    generate(target, TINY, 7)
    return target


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("raw") / "demo"
    generate(target, INCOMPLETE, 7)
    return target


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "demo"))


def test_the_corpus_is_metadata_and_one_mp4_per_row(corpus: Path):
    rows = read_csv(corpus / "metadata.csv")
    assert list(rows[0]) == list(demo.COLUMNS)
    named = {f"clips/{row['session']}/{row['utt_id']}.mp4" for row in rows} | {"metadata.csv"}
    assert set(contents(corpus)) == named
    assert len(rows) == 24
    assert len({row["speaker"] for row in rows}) == 10


def test_clips_are_h264_and_aac_of_the_length_that_metadata_says(corpus: Path):
    for row in read_csv(corpus / "metadata.csv")[::5]:
        path = corpus / "clips" / row["session"] / f"{row['utt_id']}.mp4"
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec.canonical_name, audio.codec.canonical_name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate) == (64, 64, 10)
            assert (audio.rate, audio.channels) == (16_000, 1)
            assert float(video.duration * video.time_base) == pytest.approx(float(row["seconds"]))
            assert float(audio.duration * audio.time_base) == pytest.approx(float(row["seconds"]), abs=1e-3)
            assert "creation_time" not in {**container.metadata, **video.metadata, **audio.metadata}
            assert "encoder" not in {**container.metadata, **video.metadata, **audio.metadata}
        frames, sound = decoded(path)
        assert len(frames) == round(float(row["seconds"]) * 10)
        assert 0 <= len(sound) - float(row["seconds"]) * 16_000 < 1024


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus: Path, tmp_path: Path):
    generate(tmp_path / "again", TINY, 7)
    generate(tmp_path / "other", TINY, 8)
    assert contents(tmp_path / "again") == contents(corpus)
    assert set(contents(tmp_path / "other").values()).isdisjoint(contents(corpus).values())


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for workers in ("1", "2"):
        monkeypatch.setenv("LACUNA_JOBS", workers)
        generate(tmp_path / workers, Options(clips=52, px=48), 7)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_an_interrupted_run_leaves_the_earlier_corpus_untouched(
    copy: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_generate, "write_mp4", stop)
    with pytest.raises(KeyboardInterrupt):
        generate(copy, TINY, 9)
    assert contents(copy) == contents(corpus)
    assert [path.name for path in copy.parent.iterdir()] == ["demo"]


def test_absent_modalities_are_silent_faceless_or_empty_and_others_are_not(incomplete: Path):
    absent = Counter()
    for row in read_csv(incomplete / "metadata.csv"):
        frames, sound = decoded(incomplete / "clips" / row["session"] / f"{row['utt_id']}.mp4")
        moving = max(int(np.abs(frame.astype(int) - frames[0]).max()) for frame in frames) > 30
        assert (row["symbol_text"] == "absent") == (row["text"] == "")
        assert (row["symbol_audio"] == "absent") == (not sound.any())
        assert (row["symbol_vision"] == "absent") == (not moving)
        absent.update(name for name in ("text", "audio", "vision") if row[f"symbol_{name}"] == "absent")
    assert all(1 < absent[name] < 9 for name in ("text", "audio", "vision"))


def test_the_planted_columns_are_what_the_best_reader_of_the_symbols_says(corpus: Path):
    table = joint(process(TINY))
    for row in read_csv(corpus / "metadata.csv"):
        shown = (row["symbol_text"], row["symbol_audio"], row["symbol_vision"])
        assert {name: row[f"planted_{name}"] for name in SETS} == {
            name: best_class(table, name, shown) for name in SETS
        }


@pytest.mark.parametrize("preset", PRESETS)
def test_realised_planted_accuracy_agrees_with_the_expected_optimum(preset: str):
    chosen = Options(clips=1500, preset=preset)
    clips, table = compose(chosen, 11), joint(process(chosen))
    for name, expected in optimum(chosen).items():
        right = np.mean([best_class(table, name, clip.shown) == clip.turn.label for clip in clips])
        assert right == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 1500))


def test_the_realistic_preset_is_near_its_targets():
    best = optimum(Options())
    assert [best[name] for name in ("a", "v", "t", "tav")] == pytest.approx([0.55, 0.60, 0.65, 0.84], abs=0.015)


def test_other_presets_plant_what_their_names_say():
    clean = {"error_text": 0.0, "error_audio": 0.0, "error_vision": 0.0, "absent_text": 0.0}
    clean |= {"absent_audio": 0.0, "absent_vision": 0.0}
    best = {preset: optimum(Options(preset=preset, **clean)) for preset in PRESETS}
    assert all(best["redundant"][name] == pytest.approx(1.0) for name in SETS)
    assert best["complementary"]["tav"] == pytest.approx(1.0)
    assert best["complementary"]["t"] == pytest.approx(0.5)
    assert (best["synergy"]["a"], best["synergy"]["av"]) == pytest.approx((0.25, 1.0))
    assert (best["text_only"]["t"], best["text_only"]["av"]) == pytest.approx((1.0, 0.25))
    assert all(best["null"][name] == pytest.approx(0.25) for name in SETS)


def test_null_shows_neutral_symbols_only_and_text_only_shows_them_in_voice_and_face():
    for clip in compose(Options(clips=300, preset="null"), 1):
        assert clip.mode == ""
        assert set(clip.shown) <= {"neutral", "absent"}
    for clip in compose(Options(clips=300, preset="text_only"), 1):
        assert set(clip.shown[1:]) <= {"neutral", "absent"}


def test_lengths_do_not_tell_the_class():
    clips = compose(Options(clips=3000, preset="redundant"), 1)
    seconds = {label: [clip.frames for clip in clips if clip.turn.label == label] for label in CLASSES}
    overall = np.concatenate(list(seconds.values()))
    error = overall.std() / math.sqrt(len(overall) / len(CLASSES))
    assert all(abs(np.mean(values) - overall.mean()) < 4 * error for values in seconds.values())
    assert 12 <= overall.min() <= overall.max() <= 50


def test_sound_and_length_of_a_clip_do_not_depend_on_the_face_and_other_way_round():
    """The same stream of chance, another preset: what a modality shows is all that differs."""
    null, full = (compose(Options(clips=50, preset=preset), 3) for preset in ("null", "redundant"))
    assert [clip.frames for clip in null] == [clip.frames for clip in full]
    assert [clip.strength for clip in null] == [clip.strength for clip in full]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clips": 8}, "clips is 8, expected at least two for each of 5 sessions"),
        ({"preset": "realistc"}, "synthetic.demo.options.preset"),
        ({"noise": 4}, "synthetic.demo.options.noise"),
        ({"px": 65}, "synthetic.demo.options.px"),
        ({"absent_text": 1.5}, "synthetic.demo.options.absent_text"),
        ({"clip": 8}, "did you mean 'clips'?"),
    ],
)
def test_bad_options_are_refused_with_their_place(values: dict[str, object], message: str):
    with pytest.raises(ParamsError, match=message.replace("?", r"\?")):
        options(Options, values, "synthetic.demo.options")


def test_the_reader_keeps_every_clip_with_its_planted_truth(corpus: Path):
    reading = demo.read(corpus, demo.Options())
    rows = {row["utt_id"]: row for row in read_csv(corpus / "metadata.csv")}
    assert (len(reading.kept), reading.dropped, reading.found) == (24, [], 24)
    for utterance in reading.kept:
        row = rows[utterance.utt_id]
        assert list(utterance.extras) == [
            "synthetic",
            "planted_mode",
            "symbol_text",
            "symbol_audio",
            "symbol_vision",
            *(f"planted_{name}" for name in ("t", "a", "v", "ta", "tv", "av", "tav")),
        ]
        assert utterance.extras["synthetic"] == "yes"
        assert all(utterance.extras[name] == row[name] for name in utterance.extras if name != "synthetic")
        assert utterance.label_raw == row["label"]
        assert Path(utterance.video) == Path(utterance.audio)
        assert Path(utterance.video).is_file()


def test_clutter_of_file_managers_is_ignored(copy: Path):
    for name in (".DS_Store", "Thumbs.db", "._s1_d01_t00.mp4"):
        (copy / "clips" / "session_1" / name).write_bytes(b"x")
    assert len(demo.read(copy, demo.Options()).kept) == 24


def test_a_missing_a_stray_and_a_repeated_clip_stop_the_reader_by_name(copy: Path):
    clip = copy / "clips" / "session_1" / "s1_d01_t00.mp4"
    clip.rename(copy / "clips" / "session_1" / "extra.mp4")
    with pytest.raises(DataError, match=r"s1_d01_t00\.mp4: no such file, but metadata\.csv lists it \(1 missing\)"):
        demo.read(copy, demo.Options())
    shutil.copy(copy / "clips" / "session_1" / "extra.mp4", clip)
    with pytest.raises(DataError, match=r"extra\.mp4: not listed in metadata\.csv \(1 such files\)"):
        demo.read(copy, demo.Options())
    lines = (copy / "metadata.csv").read_text().splitlines()
    (copy / "metadata.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(DataError, match="'s1_d01_t00' is listed twice"):
        demo.read(copy, demo.Options())


def test_a_metadata_table_without_its_columns_or_numbers_stops_the_reader(copy: Path):
    text = (copy / "metadata.csv").read_text()
    (copy / "metadata.csv").write_text(text.replace("planted_tav", "planted"))
    with pytest.raises(DataError, match=r"metadata\.csv: no column planted_tav"):
        demo.read(copy, demo.Options())
    (copy / "metadata.csv").write_text(text.replace("s1_d01,0,", "s1_d01,first,"))
    with pytest.raises(DataError, match=r"line 2: turn 'first', expected a number"):
        demo.read(copy, demo.Options())
    (copy / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"metadata\.csv: no such file"):
        demo.read(copy, demo.Options())


def test_the_preset_null_may_be_written_without_quotes():
    assert options(Options, {"preset": None}, "synthetic.demo.options") == Options(preset="null")
