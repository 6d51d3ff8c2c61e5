"""Pickles of strangers: plain values come through, anything that could run does not."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.unpickling import read_pickle
from pipeline.errors import DataError


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_containers_numbers_and_arrays_come_through(tmp_path: Path) -> None:
    value = [{"a": [1, 2.5, "x"]}, {"v"}, np.arange(6.0).reshape(2, 3), np.float64(0.5), np.array(["yes", "no"])]
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(value))
    found = read_pickle(path)
    assert found[:2] == value[:2]
    assert np.array_equal(found[2], value[2])
    assert found[3] == 0.5
    assert found[4].tolist() == ["yes", "no"]


def test_names_of_numpy_1_come_through(tmp_path: Path) -> None:
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(np.arange(3), protocol=2).replace(b"numpy._core", b"numpy.core"))
    assert read_pickle(path).tolist() == [0, 1, 2]


def test_no_other_codec_is_let_in(tmp_path: Path) -> None:
    path = tmp_path / "codec.pkl"
    path.write_bytes(pickle.dumps(b"abc", protocol=2).replace(b"latin1", b"zip___"))
    with pytest.raises(DataError, match="asks for the codec zip___"):
        read_pickle(path)


def test_what_could_run_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps([_Evil(mark)]))
    with pytest.raises(DataError, match=r"evil\.pkl: not read \(asks for (builtins|pathlib)"):
        read_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2, 3])[:-2]])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.pkl: not read \("):
        read_pickle(path)


def test_objects_inside_arrays_are_refused(tmp_path: Path) -> None:
    path, mark = tmp_path / "inside.pkl", tmp_path / "ran"
    array = np.empty(1, object)
    array[0] = _Evil(mark)
    path.write_bytes(pickle.dumps(array))
    with pytest.raises(DataError, match="asks for"):
        read_pickle(path)
    assert not mark.exists()
