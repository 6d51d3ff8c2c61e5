"""RAVDESS: the grammar of names, the counts of the release, and the real clips beside the checkout."""

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from pipeline.corpora.ravdess import Options, read
from pipeline.errors import DataError, ParamsError
from pipeline.section import options

CLIPS = Path(__file__).parents[2].parent / "shared" / "data" / "ravdess_clips"


def names(modality: str, channel: str) -> list[str]:
    """Every name of the release with that modality and channel."""
    suffix = "wav" if modality == "03" else "mp4"
    found = []
    for actor, emotion, intensity, statement, take in product(range(1, 25), range(1, 9), (1, 2), (1, 2), (1, 2)):
        song_has_it = emotion <= 6 and actor != 18
        if (emotion, intensity) != (1, 2) and (channel == "01" or song_has_it):
            found.append(
                f"{modality}-{channel}-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{actor:02d}.{suffix}"
            )
    return found


def make(root: Path, files: list[str], nested: bool = True) -> Path:
    for name in files:
        folder = root / f"Actor_{name[18:20]}" if nested else root
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return root


def test_the_whole_release_has_7356_files_of_which_1440_are_kept(tmp_path: Path):
    for modality, channel in product(("01", "02", "03"), ("01", "02")):
        make(tmp_path, names(modality, channel))
    reading = read(tmp_path, Options())
    assert reading.found == 7356
    assert len(reading.kept) == 1440
    assert len(reading.kept) + len(reading.dropped) == reading.found
    assert Counter(row.reason for row in reading.dropped) == {
        "channel 02 (song) is left out by include_song: false": 1012,
        "modality 02 (video only) is not in modality_codes": 2452,
        "modality 03 (audio only) is not in modality_codes": 2452,
    }
    counts = Counter(utterance.label_raw for utterance in reading.kept)
    assert counts.pop("neutral") == 96
    assert set(counts.values()) == {192}
    assert len(counts) == 7
    assert len(read(tmp_path, Options(include_song=True)).kept) == 2452


@pytest.mark.parametrize("nested", [True, False])
def test_fields_of_the_name_become_columns(tmp_path: Path, nested: bool):
    make(tmp_path, ["01-01-05-02-01-02-17.mp4", "03-02-04-01-02-01-24.wav"], nested)
    chosen = Options(allow_partial=True, include_song=True, modality_codes=("01", "03"))
    angry, sad = read(tmp_path, chosen).kept
    assert angry.utt_id == "01-01-05-02-01-02-17"
    assert (angry.speaker, angry.sex, angry.label_raw) == ("actor_17", "M", "angry")
    assert angry.text == "Kids are talking by the door"
    assert angry.video == angry.audio == next(tmp_path.rglob("01-*")).as_posix()
    assert angry.extras == {
        "take": "01-05-02-01-02-17",
        "modality_code": "01",
        "channel": "speech",
        "emotion": "angry",
        "intensity": "strong",
        "statement": "kids",
        "repetition": "02",
    }
    assert (sad.speaker, sad.sex, sad.label_raw, sad.video) == ("actor_24", "F", "sad", "")
    assert sad.text == "Dogs are sitting by the door"
    assert sad.extras["channel"] == "song"


def test_the_label_can_be_the_statement(tmp_path: Path):
    make(tmp_path, ["01-01-05-02-01-02-17.mp4", "01-01-05-02-02-02-17.mp4"])
    reading = read(tmp_path, Options(allow_partial=True, label="statement"))
    assert [utterance.label_raw for utterance in reading.kept] == ["kids", "dogs"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("readme.txt", "not a RAVDESS name"),
        ("01-01-09-01-01-01-01.mp4", "not a RAVDESS name"),
        ("01-01-05-01-01-01-25.mp4", "not a RAVDESS name"),
        ("01-01-05-01-01-01-01.mp4.part", "not a RAVDESS name"),
        ("03-01-05-01-01-01-01.mp4", r"a \.mp4 of modality 03, expected \.wav"),
        ("01-01-05-01-01-01-01.wav", r"a \.wav of modality 01, expected \.mp4"),
        ("01-01-01-02-01-01-01.mp4", "strong intensity of the neutral emotion"),
        ("01-02-07-01-01-01-01.mp4", "a song of emotion 07"),
        ("01-02-05-01-01-01-18.mp4", "a song of actor 18"),
    ],
)
def test_names_outside_the_grammar_stop_the_reader_by_name(tmp_path: Path, name: str, found: str):
    make(tmp_path, ["01-01-05-02-01-02-17.mp4"])
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=rf"{name}: {found}.*; move the file out"):
        read(tmp_path, Options(allow_partial=True))


def test_clutter_is_ignored_and_a_clip_in_two_folders_is_not(tmp_path: Path):
    make(tmp_path, ["01-01-05-02-01-02-17.mp4"])
    for name in (".DS_Store", "Thumbs.db", "._01-01-05-02-01-02-17.mp4"):
        (tmp_path / name).touch()
    assert read(tmp_path, Options(allow_partial=True)).found == 1
    make(tmp_path, ["01-01-05-02-01-02-17.mp4"], nested=False)
    with pytest.raises(DataError, match="the same clip as"):
        read(tmp_path, Options(allow_partial=True))


def test_folders_behind_links_are_read(tmp_path: Path):
    make(tmp_path / "elsewhere", ["01-01-05-02-01-02-17.mp4"], nested=False)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Actor_17").symlink_to(tmp_path / "elsewhere")
    (utterance,) = read(tmp_path / "raw", Options(allow_partial=True)).kept
    assert utterance.video == (tmp_path / "raw" / "Actor_17" / "01-01-05-02-01-02-17.mp4").as_posix()


def test_counts_are_asserted_unless_a_part_is_allowed(tmp_path: Path):
    make(tmp_path, names("01", "01")[1:])
    with pytest.raises(DataError, match=r"1439 speech clips of modality 01 .*expected 1440; .*allow_partial: true"):
        read(tmp_path, Options())
    assert len(read(tmp_path, Options(allow_partial=True)).kept) == 1439
    make(tmp_path, names("01", "01"))
    assert len(read(tmp_path, Options()).kept) == 1440
    with pytest.raises(DataError, match="0 song clips of modality 01"):
        read(tmp_path, Options(include_song=True))


@pytest.mark.parametrize("codes", [[], ["01", "01"], ["04"], [1]])
def test_bad_modality_codes_are_refused(codes: list[object]):
    with pytest.raises(ParamsError, match=r"corpora\.ravdess\.options\.modality_codes"):
        options(Options, {"modality_codes": codes}, "corpora.ravdess.options")


@pytest.mark.real_data
def test_the_real_clips_are_read():
    if not CLIPS.is_dir():
        pytest.skip(f"no {CLIPS}: real clips are not beside this checkout")
    reading = read(CLIPS, Options(modality_codes=("01", "02"), allow_partial=True, label="statement"))
    assert (reading.found, len(reading.kept)) == (8, 8)
    assert Counter(utterance.label_raw for utterance in reading.kept) == {"kids": 4, "dogs": 4}
    assert Counter(utterance.extras["modality_code"] for utterance in reading.kept) == {"01": 4, "02": 4}
    assert {utterance.speaker for utterance in reading.kept} == {"actor_01"}
    assert len({utterance.extras["take"] for utterance in reading.kept}) == 4
