"""Dataset and Batch: gathering equals the naive way, and what is not observed is exactly 0."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline import paths
from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.data.store import FeatureStore
from pipeline.errors import DataError
from pipeline.files import read_csv, write_csv
from stages.split import split

Make = Callable[..., Dataset]


@st.composite
def ragged_lengths(draw: st.DrawFn) -> dict[str, list[int]]:
    count = draw(st.integers(1, 6))
    return {m: draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)) for m in MODALITIES}


def masks_of(data: Dataset, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.rand(len(c.values), generator=generator) < 0.6 for m, c in data.columns.items()}


def poisoned(data: Dataset, poison: float) -> Dataset:
    """The dataset with a value where no step is present."""
    columns = {m: replace(c, values=c.values.masked_fill(~c.present[:, None], poison)) for m, c in data.columns.items()}
    return replace(data, columns=columns)


def naive(data: Dataset, m: str, row: int, keep: dict[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Values and observed steps of one utterance, without padding."""
    column = data.columns[m]
    steps = slice(int(column.offsets[row]), int(column.offsets[row] + column.lengths[row]))
    seen = column.present[steps] if keep is None else column.present[steps] & keep[m][steps]
    return torch.where(seen[:, None], column.values[steps], 0.0), seen


def assert_is_gathered(batch: Batch, data: Dataset, index: list[int], keep: dict[str, Tensor] | None) -> None:
    for m, features in batch.features.items():
        longest = max((int(data.columns[m].lengths[row]) for row in index), default=0)
        assert features.shape == (len(index), longest, data.columns[m].values.shape[1])
        for position, row in enumerate(index):
            values, seen = naive(data, m, row, keep)
            count = len(values)
            assert torch.equal(features[position, :count], values)
            assert torch.equal(batch.observed[m][position, :count], seen)
            assert torch.equal(batch.present[m][position, :count], naive(data, m, row, None)[1])
            assert batch.valid[m][position].tolist() == [True] * count + [False] * (longest - count)
            assert not features[position, count:].any()
            assert not batch.observed[m][position, count:].any()
            assert not batch.present[m][position, count:].any()


@given(lengths=ragged_lengths(), chosen=st.data(), poison=st.sampled_from([0.0, 1e6, np.inf, np.nan]))
def test_a_batch_equals_gathering_one_utterance_after_the_other(
    make_data: Make, lengths: dict[str, list[int]], chosen: st.DataObject, poison: float
) -> None:
    data = make_data(lengths, absent_steps=0.3)
    index = chosen.draw(st.lists(st.integers(0, len(data) - 1), max_size=5))
    keep = chosen.draw(st.sampled_from([None, masks_of(data)]))
    batch = poisoned(data, poison).batch(torch.tensor(index, dtype=torch.int64), keep)
    assert_is_gathered(batch, data, index, keep)
    assert len(batch) == len(index)
    assert batch.labels.tolist() == [int(data.labels[row]) for row in index]
    assert batch.index.tolist() == index
    assert batch.complete is None


@pytest.mark.parametrize("poison", [1e6, float("inf"), float("nan")])
def test_features_are_exactly_zero_where_a_step_is_masked_out_whatever_it_held(make_data: Make, poison: float) -> None:
    data = make_data(12, absent_steps=0.2)
    keep = masks_of(data)
    columns = {m: replace(c, values=c.values.masked_fill(~keep[m][:, None], poison)) for m, c in data.columns.items()}
    clean, odd = (d.batch(torch.arange(12), keep) for d in (data, replace(data, columns=columns)))
    for m in MODALITIES:
        assert (odd.features[m][~odd.observed[m]] == 0).all()
        assert torch.equal(clean.features[m], odd.features[m])


@given(lengths=ragged_lengths(), chosen=st.data())
def test_taking_rows_and_then_a_batch_equals_a_batch_of_these_rows(
    make_data: Make, lengths: dict[str, list[int]], chosen: st.DataObject
) -> None:
    data = make_data(lengths, absent_steps=0.3)
    rows = chosen.draw(st.lists(st.integers(0, len(data) - 1), unique=True))
    index = torch.tensor(rows, dtype=torch.int64)
    part = data.take(index)
    assert len(part) == len(rows)
    assert part.ids == [data.ids[row] for row in rows]
    assert part.rows == [data.rows[row] for row in rows]
    assert part.labels.tolist() == data.labels[index].tolist()
    for m in MODALITIES:
        assert len(part.columns[m].values) == sum(lengths[m][row] for row in rows)
    taken, whole = part.batch(torch.arange(len(rows))), data.batch(index)
    for name in ("features", "valid", "present", "observed"):
        for m in MODALITIES:
            assert torch.equal(getattr(taken, name)[m], getattr(whole, name)[m])


@given(lengths=ragged_lengths())
def test_packed_masks_and_masks_of_the_batch_say_the_same(make_data: Make, lengths: dict[str, list[int]]) -> None:
    data = make_data(lengths, absent_steps=0.3)
    index, keep = torch.arange(len(data)), masks_of(data)
    padded = {
        m: torch.nn.utils.rnn.pad_sequence(
            [
                keep[m][start : start + count]
                for start, count in zip(column.offsets.tolist(), column.lengths.tolist(), strict=True)
            ],
            batch_first=True,
            padding_value=True,
        )
        for m, column in data.columns.items()
    }
    one, other = data.batch(index, keep), data.batch(index, padded)
    for m in MODALITIES:
        assert torch.equal(one.observed[m], other.observed[m])
        assert torch.equal(one.features[m], other.features[m])


def test_the_complete_view_is_the_batch_without_a_mask(make_data: Make) -> None:
    data = make_data(12, absent_steps=0.2)
    masked = data.batch(torch.arange(12), masks_of(data), complete=True)
    view, plain = masked.unmasked(), data.batch(torch.arange(12))
    for m in MODALITIES:
        assert not torch.equal(masked.features[m], plain.features[m])
        assert torch.equal(view.features[m], plain.features[m])
        assert torch.equal(view.observed[m], plain.observed[m])
        assert torch.equal(masked.valid[m], plain.valid[m])


@pytest.mark.parametrize("poison", [1e6, float("inf"), float("nan")])
def test_the_complete_features_are_zero_where_a_step_is_not_present_whatever_it_held(
    make_data: Make, poison: float
) -> None:
    data = make_data(12, absent_steps=0.3)
    clean, odd = (d.batch(torch.arange(12), complete=True).complete for d in (data, poisoned(data, poison)))
    assert clean is not None
    assert odd is not None
    assert all(torch.equal(clean[m], odd[m]) for m in MODALITIES)


def test_a_modality_that_nobody_has_gives_a_batch_without_steps(make_data: Make) -> None:
    data = make_data({"text": [2, 3], "audio": [0, 0], "vision": [1, 0]})
    batch = data.batch(torch.arange(2), masks_of(data))
    assert batch.features["audio"].shape == (2, 0, 2)
    assert batch.observed["audio"].shape == (2, 0)


def test_rows_are_found_by_id_and_a_foreign_id_is_refused(make_data: Make) -> None:
    data = make_data(5)
    assert data.positions(["u003", "u000"]).tolist() == [3, 0]
    assert data.positions([]).shape == (0,)
    with pytest.raises(DataError, match="fold: utterance 'x' is not in the benchmark; run the split stage again"):
        data.positions(["u000", "x", "y"])


def test_a_dataset_says_and_changes_where_it_is(make_data: Make) -> None:
    data = make_data(5)
    assert data.device == torch.device("cpu")
    moved = data.to(torch.device("meta"))
    assert moved.device == torch.device("meta")
    assert {x.device.type for c in moved.columns.values() for x in (c.values, c.present, c.offsets, c.lengths)} == {
        "meta"
    }


def test_the_sets_of_modalities_are_all_there_are() -> None:
    assert len(set(map(frozenset, MODALITY_SETS.values()))) == 7
    for name, members in MODALITY_SETS.items():
        assert name == "".join(m[0] for m in members)
        assert list(members) == [m for m in MODALITIES if m in members]


def test_a_benchmark_folder_is_loaded_as_its_stores_hold_it(workplace: Path) -> None:
    split("tiny")
    folder = paths.benchmark("tiny")
    data = load_dataset(folder)
    rows = read_csv(folder / "labels.csv")
    assert data.ids == [row["utt_id"] for row in rows]
    assert [data.task.labels[label] for label in data.labels] == [row["label"] for row in rows]
    assert data.rows == rows
    assert data.max_lengths == {"text": 6, "audio": 9, "vision": 5}
    for m in MODALITIES:
        with FeatureStore(folder / f"{m}.h5") as store:
            assert data.columns[m].hop == store.provenance.hop
            for row in (0, 7, len(data) - 1):
                values, _ = store.row(data.ids[row])
                assert torch.equal(naive(data, m, row, None)[0], torch.from_numpy(values))


@pytest.mark.parametrize("change", [lambda rows: rows[1:], lambda rows: rows[::-1]])
def test_a_store_whose_ids_are_not_those_of_the_labels_is_refused(
    workplace: Path, change: Callable[[list[Any]], list[Any]]
) -> None:
    split("tiny")
    path = paths.benchmark("tiny") / "labels.csv"
    rows = read_csv(path)
    write_csv(path, list(rows[0]), change(rows))
    with pytest.raises(DataError, match=r"text\.h5: its ids are not those of labels\.csv; run the split stage again"):
        load_dataset(paths.benchmark("tiny"))


def test_an_utterance_that_a_batch_has_under_many_masks_is_in_its_tables_once(make_data: Make) -> None:
    data = make_data(5)
    keep = {m: torch.rand(6, int(c.lengths[[1, 3]].max())) < 0.5 for m, c in data.columns.items()}
    batch = data.batch(torch.tensor([3, 3, 3, 3, 1, 1]), keep, complete=True)
    assert batch.complete is not None
    for m, column in data.columns.items():
        assert len(batch.features.steps[m].table) == 2 * int(column.lengths[[1, 3]].max())
        assert batch.complete.steps[m].table is batch.features.steps[m].table
