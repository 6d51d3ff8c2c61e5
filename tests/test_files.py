"""Artifacts appear whole or not at all."""

import errno
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.files import atomic, read_csv, read_json, sha256, write_csv, write_json, write_text

HOST = platform.node()


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic(target) as temporary:
        temporary.write_text("x")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "x"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "old").mkdir(parents=True)
    with atomic(target) as temporary:
        (temporary / "new").mkdir(parents=True)
        (temporary / "new" / "a").write_text("x")
        assert (target / "old").exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_earlier_artifact_and_no_temporary(tmp_path: Path, kind: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("earlier")

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.mkdir()
            (temporary / "half").write_text("x")
            raise kind

    with pytest.raises(kind):
        fail()
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_what_killed_processes_left_is_removed_and_what_others_write_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        killed.wait()
    target = tmp_path / "a.txt"
    (tmp_path / f".a.txt.{HOST}-{os.getpid()}.tmp").mkdir()
    (tmp_path / f".a.txt.{HOST}-{killed.pid}.tmp").touch()
    others = [
        tmp_path / f".a.txt.{HOST}-{os.getppid()}.tmp",
        tmp_path / f".b.txt.{HOST}-{killed.pid}.tmp",
        tmp_path / f".a.txt.{HOST}-x.tmp",
    ]
    for path in others:
        path.touch()
    write_text(target, "x")
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])


def test_what_a_process_of_another_user_writes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    other = tmp_path / f".a.txt.{HOST}-1.tmp"
    other.touch()
    write_text(tmp_path / "a.txt", "x")
    assert other.exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
        RuntimeError("Disable slist on flush dest failure failed (file write failed: errno = 28)"),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("earlier")

    def full(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.txt: the disk is full, nothing was written; free space on"):
        write_text(target, "later")
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_other_failures_of_the_system_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no")


def test_every_file_is_flushed_to_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync"))
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), rename(a, b)))
    with atomic(tmp_path / "folder") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "a").write_text("x")
        (temporary / "deep" / "b").write_text("x")
    assert events == ["sync", "sync", "rename", "sync"]


def test_json_is_sorted_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None], "a": "é"})
    assert (tmp_path / "a.json").read_text().startswith('{\n "a"')
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1, None]}


def test_json_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json: not JSON .* delete it and run"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"b\.json: no such file"):
        read_json(tmp_path / "b.json")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@settings(max_examples=15)
@example(rows=[{"id": "a\rb", "x,": "\r"}, {"id": "\n", "x,": '"'}])
@given(rows=st.lists(st.fixed_dictionaries({"id": cells.filter(bool), "x,": cells}), max_size=5))
def test_a_table_round_trips_as_text(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    write_csv(tmp_path / "a.csv", ["id", "x,"], rows)
    assert read_csv(tmp_path / "a.csv") == rows


def test_numbers_none_and_booleans_come_back_as_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["a", "b", "c"], [{"a": 1, "b": None, "c": 0.1}])
    assert (tmp_path / "a.csv").read_bytes() == b"a,b,c\n1,,0.1\n"
    assert read_csv(tmp_path / "a.csv") == [{"a": "1", "b": "", "c": "0.1"}]


@pytest.mark.parametrize("line", ["1", "1,2,3"])
def test_a_row_of_another_width_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f"a,b\n1,2\n{line}\n")
    with pytest.raises(DataError, match=r"a\.csv: line 3 has not as many cells as the header"):
        read_csv(tmp_path / "a.csv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: no such file; `dvc repro` makes it"):
        read_csv(tmp_path / "a.csv")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
