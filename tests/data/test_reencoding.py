"""Dropped text: [UNK] in its place, the whole text encoded anew, and no trace of what it was."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.reencoding import Reencoder
from pipeline.data.scaling import Scaler

CLS, SEP, UNK = 1, 2, 3
LENGTHS = {"text": [5, 0, 4, 3, 2], "audio": [3, 2, 0, 4, 1], "vision": [2, 1, 3, 0, 1]}
TABLE = np.random.default_rng(3).standard_normal((40, 3)).astype(np.float32)
INSIDE = [1, 2, 3, 6, 7, 10]
"""Packed steps of the text that are no marks."""


def encode(texts: Sequence[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.float32]]:
    """A small contextual encoder: a token's vector, and half of the mean of the text."""
    return [TABLE[ids] + TABLE[ids].mean(0) / 2 for ids in texts]


def encoded(make_data: Callable[..., Dataset], inner: Sequence[int] = (11, 12, 13, 14, 15, 16)) -> Dataset:
    """Five utterances, texts of these tokens between their marks, with the encoder attached; the second has no text."""
    data = make_data(LENGTHS)
    tokens = torch.tensor([CLS, *inner[:3], SEP, CLS, *inner[3:5], SEP, CLS, inner[5], SEP, CLS, SEP]).int()
    text = data.columns["text"]
    parts = [ids.numpy() for ids in tokens.split(text.lengths.tolist()) if len(ids)]
    values = torch.from_numpy(np.concatenate(encode(parts)))
    text = replace(text, values=values, tokens=tokens, reencoder=Reencoder(encode, UNK, (CLS, SEP)))
    return replace(data, columns=data.columns | {"text": text})


@pytest.fixture
def data(make_data: Callable[..., Dataset]) -> Dataset:
    return encoded(make_data)


def keep_without(data: Dataset, steps: Sequence[int]) -> dict[str, Tensor]:
    """Masks that drop these packed steps of the text, and every second step of the rest."""
    keep = {m: torch.arange(len(c.values)) % 2 == 0 for m, c in data.columns.items()}
    keep["text"] = ~torch.isin(torch.arange(len(data.columns["text"].values)), torch.tensor(steps, dtype=torch.int64))
    return keep


def everyone(data: Dataset, steps: Sequence[int]) -> Batch:
    return data.batch(torch.arange(len(data)), keep_without(data, steps), complete=True)


def test_texts_that_lack_nothing_keep_their_stored_features(data: Dataset) -> None:
    whole, masked = data.batch(torch.arange(len(data))), everyone(data, [2])
    assert torch.equal(whole.features["text"], everyone(data, []).features["text"])
    assert torch.equal(whole.features["text"][1:], masked.features["text"][1:])
    assert not torch.equal(whole.features["text"][0], masked.features["text"][0])


def test_a_dropped_token_is_read_as_unknown_and_its_neighbours_change_too(data: Dataset) -> None:
    whole, masked = data.batch(torch.tensor([0])).features["text"][0], everyone(data, [2]).features["text"][0]
    expected = torch.from_numpy(encode([np.array([CLS, 11, UNK, 13, SEP])])[0])
    assert torch.equal(masked, expected)
    assert ((masked - whole).abs().amax(1) > 1e-3).all()


def test_marks_are_never_dropped(data: Dataset) -> None:
    batch = everyone(data, range(14))
    assert batch.observed["text"].tolist() == [
        [True, False, False, False, True],
        [False] * 5,
        [True, False, False, True, False],
        [True, False, True, False, False],
        [True, True, False, False, False],
    ]
    assert torch.equal(batch.features["text"][0], torch.from_numpy(encode([np.array([CLS, UNK, UNK, UNK, SEP])])[0]))
    assert torch.equal(batch.features["text"][4], data.batch(torch.arange(5)).features["text"][4])


def test_a_text_that_is_naturally_absent_stays_absent(data: Dataset) -> None:
    batch = everyone(data, range(14))
    assert not batch.valid["text"][1].any()
    assert not batch.features["text"][1].any()
    assert data.batch(torch.tensor([1]), keep_without(data, [])).features["text"].shape == (1, 0, 3)


def test_padding_is_zero(data: Dataset) -> None:
    batch = everyone(data, INSIDE)
    assert not batch.features["text"][~batch.valid["text"]].any()


def test_other_modalities_are_zero_where_they_were_dropped(data: Dataset) -> None:
    batch = everyone(data, [2])
    assert batch.reencoded == {"text"}
    for m in ("audio", "vision"):
        assert (batch.present[m] & ~batch.observed[m]).any()
        assert not batch.features[m][~batch.observed[m]].any()


def test_targets_and_the_complete_view_are_the_stored_features(data: Dataset) -> None:
    batch, whole = everyone(data, INSIDE), data.batch(torch.arange(len(data)))
    assert batch.complete is not None
    assert torch.equal(batch.complete["text"], whole.features["text"])
    view = batch.unmasked()
    assert torch.equal(view.features["text"], whole.features["text"])
    assert torch.equal(view.observed["text"], whole.present["text"])


@given(
    st.sets(st.sampled_from(INSIDE), min_size=1),
    st.lists(st.integers(4, 39), min_size=6, max_size=6),
    st.floats(-1e6, 1e6, width=32),
)
def test_nothing_of_a_dropped_token_reaches_the_batch(
    make_data: Callable[..., Dataset], dropped: set[int], others: list[int], value: float
) -> None:
    data = encoded(make_data)
    inner = [other if step in dropped else 11 + i for i, (step, other) in enumerate(zip(INSIDE, others, strict=True))]
    changed = encoded(make_data, inner)
    text = changed.columns["text"]
    gone = ~keep_without(data, sorted(dropped))["text"]
    text = replace(text, values=text.values.masked_fill(gone[:, None], value))
    changed = replace(changed, columns=changed.columns | {"text": text})
    before, after = everyone(data, sorted(dropped)), everyone(changed, sorted(dropped))
    assert torch.equal(before.features["text"], after.features["text"])
    assert torch.equal(before.observed["text"], after.observed["text"])


@given(st.sets(st.sampled_from(INSIDE)), st.permutations(range(5)), st.integers(1, 5))
def test_company_in_a_batch_changes_nothing(
    make_data: Callable[..., Dataset], dropped: set[int], order: list[int], size: int
) -> None:
    data = encoded(make_data)
    together = everyone(data, sorted(dropped)).features["text"]
    for index in torch.tensor(order).split(size):
        own = data.batch(index, keep_without(data, sorted(dropped))).features["text"]
        assert torch.equal(own, together[index, : own.shape[1]])


def test_masks_of_a_batch_do_what_masks_of_the_dataset_do(data: Dataset) -> None:
    keep = keep_without(data, [2, 7])
    packed = everyone(data, [2, 7])
    own = {}
    for m, column in data.columns.items():
        steps = column.offsets[:, None] + torch.arange(int(column.lengths.max()))
        own[m] = keep[m][steps.clamp(max=len(column.values) - 1)]
    padded = data.batch(torch.arange(len(data)), own)
    assert torch.equal(padded.features["text"], packed.features["text"])


def test_what_is_encoded_anew_is_standardised_as_the_stored_features_are(data: Dataset) -> None:
    scaler = Scaler.fit(data)
    scaled, plain = everyone(scaler.apply(data), INSIDE), everyone(data, INSIDE)
    expected = (plain.features["text"] - scaler.mean["text"]) / scaler.deviation["text"]
    there = plain.valid["text"]
    assert torch.equal(scaled.features["text"][there], expected[there])
    same = everyone(Scaler.identity(data).apply(data), INSIDE)
    assert torch.equal(same.features["text"], plain.features["text"])


def test_a_part_of_the_dataset_keeps_its_tokens(data: Dataset) -> None:
    part = data.take(torch.tensor([2, 0, 2])).to(torch.device("cpu"))
    tokens = part.columns["text"].tokens
    assert tokens is not None
    assert tokens.tolist() == [CLS, 14, 15, SEP, CLS, 11, 12, 13, SEP, CLS, 14, 15, SEP]
    masked = part.batch(torch.arange(3), keep_without(part, [1, 6]))
    assert torch.equal(masked.features["text"][1], everyone(data, [2]).features["text"][0])


def test_without_an_encoder_dropped_text_is_zero(data: Dataset) -> None:
    plain = replace(data, columns=data.columns | {"text": replace(data.columns["text"], reencoder=None)})
    batch = everyone(plain, range(14))
    assert batch.reencoded == frozenset()
    assert not batch.observed["text"].any()
    assert not batch.features["text"].any()


def test_no_gradient_goes_through_the_encoder(data: Dataset) -> None:
    assert not everyone(data, INSIDE).features["text"].requires_grad
