"""FeatureStore: values, what is present, and what made them."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.data.packed import Field, write_packed
from pipeline.data.store import FeatureStore, Provenance, write_store
from pipeline.errors import DataError

Made = Callable[..., Provenance]
ROWS = [
    ("a", np.arange(6.0).reshape(2, 3), np.array([True, False])),
    ("b", np.zeros((0, 3)), None),
    ("c", np.ones((4, 3)), None),
]


@pytest.fixture
def path(tmp_path: Path, made_by: Made) -> Path:
    write_store(tmp_path / "f.h5", ROWS, made_by("text"), ["q"])
    return tmp_path / "f.h5"


def test_rows_lengths_and_provenance_come_back(path: Path, made_by: Made) -> None:
    with FeatureStore(path) as store:
        assert store.ids == ["a", "b", "c"]
        assert store.excluded == ["q"]
        assert store.lengths().tolist() == [2, 0, 4]
        assert store.provenance == made_by("text")
        values, present = store.row("a")
        assert values.dtype == np.float32
        assert np.array_equal(values, ROWS[0][1])
        assert present.tolist() == [True, False]
        assert store.row("b")[0].shape == (0, 3)
        assert store.row("c")[1].all()


def test_a_store_without_any_utterance_can_be_read(tmp_path: Path, made_by: Made) -> None:
    write_store(tmp_path / "f.h5", [], made_by("text"))
    with FeatureStore(tmp_path / "f.h5") as store:
        assert store.lengths().tolist() == []


def test_an_id_that_does_not_fit_is_named(path: Path) -> None:
    with FeatureStore(path) as store, pytest.raises(DataError, match=r"f\.h5: no utterance 'x'; its ids do not fit"):
        store.row("x")


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_by_file_and_utterance(path: Path, made_by: Made, odd: float) -> None:
    before = path.read_bytes()
    with pytest.raises(DataError, match=rf"f\.h5: b: values is {odd} at step 1, expected finite numbers"):
        write_store(path, [ROWS[0], ("b", np.array([[0.0, 0, 0], [0, odd, 0]]), None)], made_by("text"))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_width_and_unsorted_rows_are_refused_with_the_file(path: Path, made_by: Made) -> None:
    with pytest.raises(DataError, match=r"f\.h5: a: values has shape"):
        write_store(path, [("a", np.zeros((2, 4)), None)], made_by("text"))
    with pytest.raises(DataError, match=r"f\.h5: a: written after c"):
        write_store(path, [ROWS[2], ROWS[0]], made_by("text"))


def test_an_earlier_error_about_this_file_is_passed_on_unchanged(path: Path, made_by: Made) -> None:
    def rows() -> object:
        raise DataError(f"{path}: found something")
        yield

    with pytest.raises(DataError) as caught:
        write_store(path, rows(), made_by("text"))
    assert str(caught.value) == f"{path}: found something"


FIELDS = {"values": Field(np.float32, 3), "present": Field(np.bool_)}
GOOD = {
    "modality": "text", "extractor": "x", "version": "1", "options": {}, "dim": 3, "hop": None,
    "weights_sha256": None, "source_sha256": "0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({}, "provenance does not fit"),
        ({k: v for k, v in GOOD.items() if k != "dim"}, "provenance does not fit .*'dim'"),
        ({**GOOD, "colour": 1}, "provenance does not fit .*'colour'"),
        ({**GOOD, "dim": 4}, "1 ids, 1 rows, 2 steps of 3; the index says 2 steps of 4"),
    ],
)
def test_a_store_whose_provenance_does_not_fit_is_refused(
    tmp_path: Path, provenance: dict[str, object], message: str
) -> None:
    with write_packed(tmp_path / "f.h5", FIELDS, provenance) as writer:
        writer.add("a", values=np.zeros((2, 3)), present=np.ones(2, bool))
    with pytest.raises(DataError, match=rf"f\.h5: {message}"):
        FeatureStore(tmp_path / "f.h5")


@pytest.mark.parametrize("odd", [[0, 2], [0, 2, 2, 7], [0, 2, 2]])
def test_an_index_that_does_not_fit_its_arrays_is_refused(path: Path, odd: list[int]) -> None:
    with h5py.File(path, "r+") as file:
        del file["offsets"]
        file["offsets"] = np.asarray(odd, np.int64)
    with pytest.raises(DataError, match=r"f\.h5: 3 ids, \d rows, 6 steps of 3; the index says"):
        FeatureStore(path)


def test_random_weights_are_part_of_the_provenance(tmp_path: Path, made_by: Made) -> None:
    write_store(tmp_path / "f.h5", ROWS, made_by("text", random_weights=True))
    with FeatureStore(tmp_path / "f.h5") as store:
        assert store.provenance.random_weights
