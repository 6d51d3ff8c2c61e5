"""PredictionStore: round trip, bytes, and what it refuses."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.data.predictions import PredictionStore, PredictionWriter, RowInfo, write_predictions
from pipeline.errors import DataError

SCORES = np.linspace(0, 1, 2 * 3 * 2 * 4).reshape(2, 3, 2, 4)


def fill(writer: PredictionWriter) -> None:
    writer.fold("session_1", ["b", "a"], np.array([3, 0]))
    writer.row("m", parameters=12, macs=34, regime="dynamic", params={"layers": 2})
    writer.row("m:x", parameters=12, macs=34, regime="complete", params={})
    writer.not_applicable("n", "it needs text")
    for seed in (2022, 2021):
        writer.add("m", "session_1", seed, "frames", ["0.0", "0.5"], SCORES)
    writer.add("m", "session_1", 2021, "bursts", ["0.0", "0.5"], SCORES / 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with write_predictions(tmp_path / "m.h5") as writer:
        fill(writer)
    return tmp_path / "m.h5"


def test_everything_written_is_read_back(path: Path) -> None:
    with PredictionStore(path) as store:
        assert store.rows == [
            RowInfo("m", 12, 34, "dynamic", {"layers": 2}),
            RowInfo("m:x", 12, 34, "complete"),
            RowInfo("n", not_applicable="it needs text"),
        ]
        (fold,) = store.folds
        assert (fold.name, fold.utt_ids, fold.labels.tolist()) == ("session_1", ["b", "a"], [3, 0])
        assert store.seeds("m", "session_1") == [2021, 2022]
        assert store.seeds("m:x", "session_1") == []
        assert store.patterns("m") == ["bursts", "frames"]
        assert store.patterns("n") == []
        conditions, scores = store.scores("m", "session_1", 2021, "bursts")
        assert conditions == ["0.0", "0.5"]
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, (SCORES / 2).astype(np.float32))


def test_the_same_content_written_later_has_the_same_bytes(path: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # HDF5 counts time in seconds
    with write_predictions(tmp_path / "again.h5") as writer:
        fill(writer)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


@settings(deadline=None)  # it writes files
@given(arrays.arrays(np.float32, st.tuples(*[st.integers(1, 4)] * 4), elements=st.floats(0, 1, width=32)))
def test_scores_of_any_shape_survive(tmp_path_factory: pytest.TempPathFactory, scores: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("p") / "p.h5"
    conditions, count = [f"c{i}" for i in range(len(scores))], scores.shape[2]
    with write_predictions(path) as writer:
        writer.fold("f", [f"u{i}" for i in range(count)], np.zeros(count, np.int64))
        writer.row("m", parameters=0, macs=0, regime="complete", params={})
        writer.add("m", "f", 1, "frames", conditions, scores)
    with PredictionStore(path) as store:
        found = store.scores("m", "f", 1, "frames")
    assert found[0] == conditions
    np.testing.assert_array_equal(found[1], scores)


def test_scores_larger_than_a_chunk_survive(tmp_path: Path) -> None:
    scores = np.arange(3 * 2 * 50_000 * 4, dtype=np.float32).reshape(3, 2, 50_000, 4)
    with write_predictions(tmp_path / "big.h5") as writer:
        writer.fold("f", [f"u{i}" for i in range(50_000)], np.zeros(50_000, np.int64))
        writer.row("m", parameters=0, macs=0, regime="complete", params={})
        writer.add("m", "f", 1, "frames", ["a", "b", "c"], scores)
    with PredictionStore(tmp_path / "big.h5") as store:
        np.testing.assert_array_equal(store.scores("m", "f", 1, "frames")[1], scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.fold("session_1", ["c"], np.array([0])), "declared twice"),
        (lambda w: w.fold("s", ["c", "c"], np.array([0, 1])), "unique ids"),
        (lambda w: w.fold("s", [], np.array([], int)), "at least one utterance"),
        (lambda w: w.fold("s", ["c"], np.array([0, 1])), "one label each"),
        (lambda w: w.not_applicable("m", "why"), "declared twice"),
        (lambda w: w.add("o", "session_1", 1, "frames", ["0.0", "0.5"], SCORES), "undeclared"),
        (lambda w: w.add("n", "session_1", 1, "frames", ["0.0", "0.5"], SCORES), "undeclared"),
        (lambda w: w.add("m", "session_2", 1, "frames", ["0.0", "0.5"], SCORES), "undeclared"),
        (lambda w: w.add("m", "session_1", 2021, "frames", ["0.0", "0.5"], SCORES), "written twice"),
        (lambda w: w.add("m", "session_1", 7, "frames", ["0.0"], SCORES), r"expected \(1, repeats, 2, classes\)"),
        (lambda w: w.add("m", "session_1", 7, "frames", ["0.0", "0.5"], SCORES[..., :1, :]), "have shape"),
        (lambda w: w.add("m", "session_1", 7, "frames", ["0.0", "0.5"], SCORES * np.nan), "nan under 0.0"),
    ],
)
def test_what_does_not_fit_is_refused_and_no_file_appears(tmp_path: Path, call, message: str) -> None:
    path = tmp_path / "m.h5"

    def write() -> None:
        with write_predictions(path) as writer:
            fill(writer)
            call(writer)

    with pytest.raises(DataError, match=message) as caught:
        write()
    assert str(caught.value).startswith(f"{path}: ")
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_refused(path: Path) -> None:
    with PredictionStore(path) as store:
        for ask in (
            lambda: store.seeds("x", "session_1"),
            lambda: store.seeds("m", "x"),
            lambda: store.patterns("x"),
            lambda: store.scores("m", "session_1", 2022, "bursts"),
            lambda: store.scores("m", "session_1", 1, "frames"),
        ):
            with pytest.raises(DataError, match=r"m\.h5: "):
                ask()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5: no such file; `dvc repro` makes it"):
        PredictionStore(tmp_path / "none.h5")


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable prediction store"):
        PredictionStore(path)


def test_a_flipped_byte_in_the_scores_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(SCORES.astype(np.float32).tobytes())
    content[place + 8] ^= 1
    path.write_bytes(bytes(content))
    with PredictionStore(path) as store, pytest.raises(DataError, match=r"seed 2022, 'frames' is damaged"):
        store.scores("m", "session_1", 2022, "frames")
