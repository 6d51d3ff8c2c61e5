"""The manifest: what it refuses, and that it comes back as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.manifest import Dropped, Manifest, Utterance, write_dropped
from pipeline.errors import DataError
from pipeline.files import read_csv

Make = Callable[..., Utterance]
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
utterances = st.lists(
    st.builds(
        Utterance,
        utt_id=text.filter(bool) | st.sampled_from(["007", "1e5", "nan", "NA", "-0", "True", "1_000"]),
        dialogue=text,
        turn=st.integers(0, 99),
        speaker=text,
        sex=st.sampled_from(["F", "M", ""]),
        session=text,
        split=st.sampled_from(["train", "valid", "test", ""]),
        video=text,
        audio=text,
        start=st.floats(0, 1e4),
        end=st.none() | st.floats(2e4, 1e6),
        text=text,
        label_raw=text,
        extras=st.builds(lambda rater, symbol: {"rater": rater, "symbol": symbol}, text, text),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda u: u.utt_id,
)


@settings(max_examples=25)
@given(rows=utterances)
def test_a_manifest_round_trips_sorted_by_id(tmp_path: Path, rows: list[Utterance]) -> None:
    Manifest(rows).write(tmp_path / "m.csv")
    found = Manifest.read(tmp_path / "m.csv")
    assert found.utterances == sorted(rows, key=lambda u: u.utt_id.encode())
    assert len(found) == len(rows)


def test_ids_and_labels_that_look_like_numbers_stay_text(tmp_path: Path, utterance: Make) -> None:
    rows = [utterance("007", speaker="01", label_raw="1.0"), utterance("1e5"), utterance("7", text="NA")]
    Manifest(rows).write(tmp_path / "m.csv")
    found = Manifest.read(tmp_path / "m.csv")
    assert found.ids == ["007", "1e5", "7"]
    assert (found.utterances[0].speaker, found.utterances[0].label_raw, found.utterances[2].text) == ("01", "1.0", "NA")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"utt_id": "", "speaker": "jo"}, "an utterance of speaker 'jo' has an empty id"),
        ({"start": -0.1}, "u: start -0.1, end 1.5, expected 0 <= start < end"),
        ({"start": float("nan")}, "u: start nan"),
        ({"start": float("inf"), "end": None}, "u: start inf"),
        ({"end": 0.0}, r"u: start 0\.0, end 0\.0, expected 0 <= start < end"),
        ({"end": float("nan")}, "u: start 0.0, end nan"),
        ({"end": float("inf")}, "u: start 0.0, end inf"),
        ({"sex": "female"}, "u: sex 'female', expected F, M or nothing"),
        ({"extras": {"rater": "1"}}, r"u: extra columns \['rater'\], expected \[\]"),
    ],
)
def test_a_row_that_cannot_be_is_refused(utterance: Make, facts: dict[str, object], message: str) -> None:
    odd = replace(utterance("u"), **facts)
    with pytest.raises(DataError, match=f"m: {message}"):
        Manifest([utterance("a") if odd.utt_id else utterance("z"), odd], "m")


def test_a_repeated_id_is_refused(utterance: Make) -> None:
    with pytest.raises(DataError, match="m: 1 ids occur more than once, first 'a'"):
        Manifest([utterance("a"), utterance("b"), utterance("a", text="no")], "m")


def test_an_empty_manifest_is_refused() -> None:
    with pytest.raises(DataError, match="m: no utterance is left, expected at least one; see the dropped table"):
        Manifest([], "m")


def test_missing_media_are_counted_and_named(tmp_path: Path, utterance: Make) -> None:
    (tmp_path / "here.mp4").touch()
    here, gone = str(tmp_path / "here.mp4"), [str(tmp_path / f"gone{i}.wav") for i in range(5)]
    Manifest([utterance("a", video=here, audio=here), utterance("b")]).check_files()
    rows = [utterance(f"u{i}", video=here, audio=path) for i, path in enumerate(gone)]
    with pytest.raises(DataError, match=r"m: 5 of 6 media files do not exist, first .*gone0.*gone2\.wav; put"):
        Manifest(rows, "m").check_files()


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [("turn", "two", "line 2: .*'two'"), ("start", "", "line 2: could not convert"), ("end", "x", "line 2: could not")],
)
def test_a_cell_that_cannot_be_read_is_named_by_its_line(
    tmp_path: Path, utterance: Make, column: str, cell: str, message: str
) -> None:
    Manifest([utterance("a", turn=41, start=42.0, end=43.0)]).write(tmp_path / "m.csv")
    written = {"turn": "41", "start": "42.0", "end": "43.0"}[column]
    (tmp_path / "m.csv").write_text((tmp_path / "m.csv").read_text().replace(written, cell))
    with pytest.raises(DataError, match=rf"m\.csv: {message}"):
        Manifest.read(tmp_path / "m.csv")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utt_id,turn\na,0\n")
    with pytest.raises(DataError, match=r"m\.csv: line 2: 'dialogue'; run ingest again"):
        Manifest.read(tmp_path / "m.csv")


def test_an_open_end_and_an_empty_transcript_come_back(tmp_path: Path, utterance: Make) -> None:
    Manifest([utterance("a", end=None, text="")]).write(tmp_path / "m.csv")
    (found,) = Manifest.read(tmp_path / "m.csv").utterances
    assert found.end is None
    assert found.text == ""


def test_the_table_of_dropped_clips_is_sorted_and_may_be_empty(tmp_path: Path) -> None:
    write_dropped(tmp_path / "d.csv", [Dropped("b", "y"), Dropped("a", "z"), Dropped("b", "x")])
    assert [tuple(row.values()) for row in read_csv(tmp_path / "d.csv")] == [("a", "z"), ("b", "x"), ("b", "y")]
    write_dropped(tmp_path / "d.csv", [])
    assert (tmp_path / "d.csv").read_text() == "clip,reason\n"
