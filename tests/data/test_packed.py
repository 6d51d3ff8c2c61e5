"""Packed files: the same content gives the same bytes, and nothing wrong gets in or out unseen."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import packed
from pipeline.data.packed import Field, Packed, write_packed
from pipeline.errors import DataError

FIELDS = {
    "values": Field(np.float32, 3),
    "present": Field(np.bool_),
    "marks": Field(np.int32, axis="mark_offsets"),
}
ids = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5), unique=True)
contents = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=6)

blocks = st.sampled_from([1, 40, 200, 4096])


def rows_of(names: list[str], lengths: list[tuple[int, int]]) -> list[tuple[str, dict[str, Any]]]:
    rng = np.random.default_rng(len(names))
    return [
        (
            name,
            {
                "values": rng.standard_normal((steps, 3)).astype(np.float32),
                "present": rng.random(steps) < 0.5,
                "marks": rng.integers(-9, 9, marks).astype(np.int32),
            },
        )
        for name, (steps, marks) in zip(sorted(names), lengths, strict=False)
    ]


def write(path: Path, rows: list[tuple[str, dict[str, Any]]], excluded: tuple[str, ...] = ()) -> Path:
    with write_packed(path, FIELDS, {"b": 1, "a": [None, "é"]}, excluded) as writer:
        for utt_id, arrays in rows:
            writer.add(utt_id, **arrays)
    return path


@given(names=ids, lengths=contents)
def test_ragged_and_empty_rows_come_back_as_they_were(
    tmp_path: Path, names: list[str], lengths: list[tuple[int, int]]
) -> None:
    rows = rows_of(names, lengths)
    with Packed(write(tmp_path / "a.h5", rows), FIELDS) as file:
        assert file.ids == [utt_id for utt_id, _ in rows]
        assert len(file) == len(rows)
        assert file.attrs == {"a": [None, "é"], "b": 1}
        offsets = {axis: file.offsets(axis) for axis in ("offsets", "mark_offsets")}
        for utt_id, arrays in rows:
            assert utt_id in file
            row = file.position(utt_id)
            for name, array in arrays.items():
                start, stop = offsets[FIELDS[name].axis][row : row + 2]
                found = file.part(name, start, stop)
                assert found.dtype == array.dtype
                assert np.array_equal(found, array)
        assert len(file.whole("values")) == offsets["offsets"][-1]


@given(names=ids, lengths=contents, block=blocks, other=blocks)
def test_the_same_rows_give_the_same_bytes_and_the_same_hash_whatever_the_size_of_a_block(
    tmp_path: Path, names: list[str], lengths: list[tuple[int, int]], block: int, other: int
) -> None:
    rows = rows_of(names, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_BLOCK_BYTES", block)
        first, second = (write(tmp_path / name, rows).read_bytes() for name in ("a.h5", "b.h5"))
        assert first == second
        patch.setattr(packed, "_BLOCK_BYTES", other)
        write(tmp_path / "c.h5", rows)
    with Packed(tmp_path / "a.h5", FIELDS) as one, Packed(tmp_path / "c.h5", FIELDS) as another:
        assert one.content_sha256 == another.content_sha256
        for name in (*FIELDS, "offsets", "mark_offsets"):
            assert np.array_equal(one.whole(name), another.whole(name))


@pytest.mark.parametrize("block", [1, 40, 200])
def test_a_row_longer_than_a_block_and_rows_that_share_one_give_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(packed, "_BLOCK_BYTES", block)
    rows = rows_of(["a", "b", "c", "d"], [(1, 2), (50, 0), (0, 9), (3, 1)])
    with Packed(write(tmp_path / "a.h5", rows), FIELDS) as file:
        for name in FIELDS:
            assert np.array_equal(file.whole(name), np.concatenate([arrays[name] for _, arrays in rows]))


def test_the_bytes_do_not_depend_on_the_file_written_over_nor_on_the_order_of_attributes(tmp_path: Path) -> None:
    rows = rows_of(["a", "b"], [(3, 1), (0, 0)])
    first = write(tmp_path / "a.h5", rows).read_bytes()
    write(tmp_path / "a.h5", rows_of(["x"], [(9, 9)]))
    with write_packed(tmp_path / "a.h5", FIELDS, {"a": [None, "é"], "b": 1}) as writer:
        for utt_id, arrays in rows:
            writer.add(utt_id, **arrays)
    assert (tmp_path / "a.h5").read_bytes() == first


@given(names=ids, lengths=contents)
def test_the_content_hash_tells_different_contents_apart(
    tmp_path: Path, names: list[str], lengths: list[tuple[int, int]]
) -> None:
    rows = rows_of(names, lengths)
    with Packed(write(tmp_path / "a.h5", rows), FIELDS) as file:
        before = file.content_sha256
    for utt_id, arrays in rows:
        if len(arrays["marks"]):
            arrays["marks"] = arrays["marks"] + 1
            with Packed(write(tmp_path / "b.h5", rows), FIELDS) as file:
                assert file.content_sha256 != before, utt_id
            return


def test_excluded_ids_are_kept_sorted(tmp_path: Path) -> None:
    with Packed(write(tmp_path / "a.h5", [], ("z", "b")), FIELDS) as file:
        assert file.excluded == ["b", "z"]
        assert file.ids == []


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"]])
def test_unsorted_or_repeated_ids_are_refused(tmp_path: Path, names: list[str]) -> None:
    (_, arrays), _ = rows_of(["a", "b"], [(1, 0), (1, 0)])
    with pytest.raises(DataError, match=f"{names[1]}: written after {names[0]}, expected ascending unique ids"):
        write(tmp_path / "x.h5", [(name, arrays) for name in names])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros((2, 4), np.float32)}, r"u: values has shape \(2, 4\), expected \(2, 3\)"),
        ({"values": np.zeros(2, np.float32)}, r"u: values has shape \(2,\), expected \(2, 3\)"),
        ({"present": np.ones((2, 1), bool)}, r"u: present has shape \(2, 1\), expected \(2,\)"),
        ({"present": np.ones(3, bool)}, "u: present has 3 steps, its neighbours 2"),
        ({"values": np.array([[0, 0, 0], [0, np.nan, 0]])}, "u: values is nan at step 1, expected finite numbers"),
        ({"values": np.array([[0, 0, np.inf], [0, 0, 0]])}, "u: values is inf at step 0, expected finite numbers"),
        ({"values": np.full((2, 3), 1e300)}, "u: values is inf at step 0, expected finite numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_row_that_does_not_fit_is_refused_by_its_id(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {"values": np.zeros((2, 3)), "present": np.ones(2, bool), "marks": np.zeros(0, np.int32), **change}
    with pytest.raises(DataError, match=message):
        write(tmp_path / "x.h5", [("u", arrays)])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return write(tmp_path / "a.h5", rows_of(["a", "b", "c"], [(40, 3), (0, 0), (25, 5)]), ("d",))


def test_a_flipped_byte_anywhere_in_the_values_is_an_error(healthy: Path) -> None:
    with h5py.File(healthy) as file:
        spans = [
            (name, info.byte_offset, info.size)
            for name in (*FIELDS, "offsets", "mark_offsets")
            for info in [file[name].id.get_chunk_info(i) for i in range(file[name].id.get_num_chunks())]
        ]
    whole = healthy.read_bytes()
    for name, start, size in spans:
        for place in range(start, start + size, max(1, size // 25)):
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            healthy.write_bytes(damaged)
            with (
                Packed(healthy, FIELDS) as file,
                pytest.raises(DataError, match=f"a.h5: {name} is damaged .*`dvc checkout`"),
            ):
                file.whole(name)


def test_a_flipped_byte_anywhere_is_never_taken_for_other_numbers(healthy: Path) -> None:
    whole = healthy.read_bytes()
    with Packed(healthy, FIELDS) as file:
        expected = {name: file.whole(name) for name in (*FIELDS, "offsets", "mark_offsets")}
    for place in range(0, len(whole), len(whole) // 300):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        healthy.write_bytes(damaged)
        with contextlib.suppress(DataError), Packed(healthy, FIELDS) as file:
            for name, array in expected.items():
                assert np.array_equal(file.whole(name), array), (place, name)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_an_error(healthy: Path, share: float) -> None:
    whole = healthy.read_bytes()
    healthy.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"a\.h5: not a readable store .* delete it and run"):
        Packed(healthy, FIELDS)


def test_what_is_no_packed_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5: no such file; `dvc repro` makes it"):
        Packed(tmp_path / "none.h5", FIELDS)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match=r"text\.h5: not a readable store"):
        Packed(tmp_path / "text.h5", FIELDS)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match=r"other\.h5: not a readable store"):
        Packed(tmp_path / "other.h5", FIELDS)


def test_a_file_without_a_wanted_field_is_an_error(healthy: Path) -> None:
    with pytest.raises(DataError, match=r"a\.h5: not a readable store"):
        Packed(healthy, ["values", "frame_times"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_earlier_file_and_no_temporary(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = healthy.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(number, "the disk")

    monkeypatch.setattr(h5py.Dataset, "resize", full)
    with pytest.raises(DataError, match=r"a\.h5: the disk is full, nothing was written"):
        write(healthy, rows_of(["x"], [(9, 9)]))
    assert healthy.read_bytes() == before
    assert list(healthy.parent.iterdir()) == [healthy]


def test_the_size_of_a_block_bounds_what_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_BLOCK_BYTES", 1200)  # 100 steps of three float32
    one = rows_of(["a"], [(30, 0)])[0][1]
    with write_packed(tmp_path / "a.h5", FIELDS, {}) as writer:
        for number in range(20):
            writer.add(f"u{number:02d}", **one)
            assert sum(map(len, writer._pending["values"])) < 100
            assert len(writer._file["values"]) == 30 * (number + 1) // 100 * 100


FULL_DISK = """
from pathlib import Path
import numpy as np
from pipeline import cli
from pipeline.data.packed import Field, write_packed

def main():
    "Write until the disk is full."
    with write_packed(Path("disk/a.h5"), {"values": Field(np.float32, 64)}, {}) as writer:
        for number in range(9):
            writer.add(f"u{number}", values=np.ones((500, 64)))

cli.run(main)
"""


@pytest.mark.parametrize("kib", [4, 300, 1100, 1156])
def test_a_disk_that_is_really_full_ends_in_one_line_and_not_in_a_crash_of_hdf5(tmp_path: Path, kib: int) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "script.py").write_text(FULL_DISK)
    mount = f"mount -t tmpfs -o size={kib}k none disk"
    command = [*("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"), mount]
    if sys.platform != "linux" or subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("needs a Linux that lets a user mount a small disk")
    command[-1] += f" && {sys.executable} script.py; code=$?; ls -A disk; exit $code"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stderr.startswith("error: disk/a.h5: the disk is full, nothing was written; free space on")
    assert len(ended.stderr.splitlines()) == 1
    assert (ended.returncode, ended.stdout) == (1, "")
