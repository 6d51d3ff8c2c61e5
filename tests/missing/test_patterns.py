"""Patterns of absence: their rates, that they nest, and that nothing but their words decides them."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.missing.patterns import conditions, draw, repeats, requested
from pipeline.schema import (
    AtLeastOneMissing,
    BernoulliMissing,
    BurstsMissing,
    FramesMissing,
    ModalitiesMissing,
    TestMissing,
)
from pipeline.seeding import stream

GRID = tuple(k / 10 for k in range(11))
ALL = tuple(MODALITY_SETS)
MANY = 20_000
LONG = dict.fromkeys(MODALITIES, MANY)


def keep_of(pattern: Any, lengths: dict[str, int], *words: str | int) -> dict[str, npt.NDArray[np.bool_]]:
    return draw(pattern, lengths, partial(stream, *words))


def utterances(pattern: Any, count: int) -> npt.NDArray[np.bool_]:
    """Whether each modality of `count` one-step utterances is kept: `(count, C, R, M)`."""
    ones = dict.fromkeys(MODALITIES, 1)
    drawn = [keep_of(pattern, ones, "utterance", i) for i in range(count)]
    return np.stack([np.stack([keep[m][:, :, 0] for m in MODALITIES], axis=-1) for keep in drawn])


def patterns_with_rates(rates: tuple[float, ...], count: int = 1) -> list[FramesMissing]:
    return [
        FramesMissing(rates=rates, repeats=count),
        BurstsMissing(rates=rates, repeats=count, span=3.0),
        AtLeastOneMissing(rates=rates, repeats=count),
    ]


def test_frames_are_absent_at_their_rate_within_3_sigma() -> None:
    keep = keep_of(FramesMissing(rates=GRID), LONG, "frames")
    for m in MODALITIES:
        for rate, kept in zip(GRID, keep[m][:, 0], strict=True):
            assert abs((~kept).mean() - rate) <= 3 * np.sqrt(rate * (1 - rate) / MANY)


@pytest.mark.parametrize("span", [1.0, 2.5, 10.0])
def test_bursts_are_absent_at_their_rate_within_3_sigma(span: float) -> None:
    keep = keep_of(BurstsMissing(rates=GRID, span=span), LONG, "bursts")
    for m in MODALITIES:
        for rate, kept in zip(GRID, keep[m][:, 0], strict=True):
            # Steps of one span are equal: the variance of the mean grows by the sum of their correlations.
            sigma = np.sqrt(rate * (1 - rate) * (2 * span - 1) / MANY)
            assert abs((~kept).mean() - rate) <= 3 * sigma


def absent_runs(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    edges = np.diff(np.concatenate([[0], ~kept, [0]]).astype(int))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


@pytest.mark.parametrize("span", [1.0, 2.5, 10.0])
def test_absent_runs_of_bursts_have_a_mean_of_span_over_1_minus_rate(span: float) -> None:
    rates = (0.1, 0.5, 0.8)
    steps = 60_000
    keep = keep_of(BurstsMissing(rates=rates, span=span), dict.fromkeys(MODALITIES, steps), "runs")
    for rate, kept in zip(rates, keep["audio"][:, 0], strict=True):
        runs, expected = absent_runs(kept), span / (1 - rate)
        assert abs(runs.mean() - expected) <= 4 * expected / np.sqrt(len(runs))


def test_bursts_of_span_1_are_single_frames() -> None:
    steps = {"text": 50, "audio": 0, "vision": 7}
    assert all(
        np.array_equal(one, other)
        for one, other in zip(
            keep_of(BurstsMissing(rates=GRID, span=1.0), steps, "x").values(),
            keep_of(FramesMissing(rates=GRID), steps, "x").values(),
            strict=True,
        )
    )


def test_whole_modalities_are_absent_at_the_probabilities_of_bernoulli() -> None:
    wanted = ((0.0, 0.5, 1.0), (0.25, 0.25, 0.25), (0.9, 0.1, 0.3))
    absent = ~utterances(BernoulliMissing(conditions=wanted), 4000)
    for share, probabilities in zip(absent[:, :, 0].mean(0), wanted, strict=True):
        for found, p in zip(share, probabilities, strict=True):
            assert abs(found - p) <= 3 * np.sqrt(p * (1 - p) / 4000)


def test_at_least_one_is_absent_at_its_rate_but_for_the_one_that_stays() -> None:
    absent = ~utterances(AtLeastOneMissing(rates=GRID), 4000)
    for i, rate in enumerate(GRID):
        expected = rate - rate**3 / 3  # below the rate, and not the highest of three that all are
        for found in absent[:, i, 0].mean(0):
            assert abs(found - expected) <= 3 * np.sqrt(expected * (1 - expected) / 4000)


@given(
    lengths=st.fixed_dictionaries({m: st.integers(0, 4) for m in MODALITIES}),
    word=st.integers(0, 10**6),
)
def test_at_least_one_keeps_one_modality_that_is_there(lengths: dict[str, int], word: int) -> None:
    keep = keep_of(AtLeastOneMissing(rates=GRID, repeats=2), lengths, word)
    there = [m for m in MODALITIES if lengths[m]]
    for condition in range(len(GRID)):
        for repeat in range(2):
            states = {m: keep[m][condition, repeat] for m in there}
            assert all(state.all() or not state.any() for state in states.values())
            assert not there or any(state.all() for state in states.values())
    if there:
        assert sum(bool(keep[m][-1, 0].all()) for m in there) == 1


@given(
    lengths=st.fixed_dictionaries({m: st.integers(0, 9) for m in MODALITIES}),
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=6, unique=True).map(sorted).map(tuple),
    word=st.integers(0, 10**6),
)
def test_what_is_absent_at_a_rate_is_absent_at_every_higher_one(
    lengths: dict[str, int], rates: tuple[float, ...], word: int
) -> None:
    for pattern in patterns_with_rates(rates, 2):
        for kept in keep_of(pattern, lengths, word).values():
            assert (kept[1:] <= kept[:-1]).all()


@pytest.mark.parametrize("pattern", patterns_with_rates((0.0, 1.0)), ids=lambda pattern: type(pattern).__name__)
def test_at_rate_0_everything_is_kept_and_at_1_all_but_what_must_stay(pattern: FramesMissing) -> None:
    keep = keep_of(pattern, dict.fromkeys(MODALITIES, 30), "x")
    assert all(kept[0].all() for kept in keep.values())
    assert sum(bool(kept[1].any()) for kept in keep.values()) == isinstance(pattern, AtLeastOneMissing)


@given(
    fine=st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True).map(sorted).map(tuple),
    lengths=st.fixed_dictionaries({m: st.integers(0, 9) for m in MODALITIES}),
)
def test_a_mask_does_not_depend_on_the_grid_of_rates_nor_on_the_number_of_repeats(
    fine: tuple[float, ...], lengths: dict[str, int]
) -> None:
    for one, other in zip(patterns_with_rates(fine, 3), patterns_with_rates(fine[::2], 1), strict=True):
        all_of_them, some = keep_of(one, lengths, "x"), keep_of(other, lengths, "x")
        for m in MODALITIES:
            assert np.array_equal(all_of_them[m][::2, :1], some[m])


def test_a_mask_does_not_depend_on_the_lengths_of_other_modalities() -> None:
    for pattern in patterns_with_rates(GRID):
        one = keep_of(pattern, {"text": 5, "audio": 6, "vision": 7}, "x")
        other = keep_of(pattern, {"text": 9, "audio": 6, "vision": 1}, "x")
        assert np.array_equal(one["audio"], other["audio"])


def test_frames_are_independent_across_modalities_and_repeats() -> None:
    for pattern in (FramesMissing(rates=(0.5,), repeats=2), BurstsMissing(rates=(0.5,), repeats=2, span=1.5)):
        keep = keep_of(pattern, LONG, "x")
        rows = np.concatenate([keep[m][0] for m in MODALITIES])  # (M * R, T)
        correlation = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
        assert np.abs(correlation).max() < 4 / np.sqrt(MANY / 2)


def test_modalities_of_bernoulli_are_independent() -> None:
    kept = utterances(BernoulliMissing(conditions=((0.5, 0.5, 0.5),)), 4000)[:, 0, 0]
    correlation = np.corrcoef(kept.T)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)


def test_other_words_give_another_mask() -> None:
    lengths = dict.fromkeys(MODALITIES, 64)
    for pattern in patterns_with_rates((0.5,), 8):
        one, other = (keep_of(pattern, lengths, word) for word in ("a", "b"))
        assert any(not np.array_equal(one[m], other[m]) for m in MODALITIES)


def test_a_set_of_modalities_keeps_its_members_whole() -> None:
    lengths = {"text": 3, "audio": 0, "vision": 2}
    keep = keep_of(ModalitiesMissing(sets=ALL), lengths, "x")
    for m in MODALITIES:
        assert keep[m].shape == (len(ALL), 1, lengths[m])
        for name, kept in zip(ALL, keep[m], strict=True):
            assert (kept == (m[0] in name)).all()


@pytest.mark.parametrize(
    ("pattern", "names", "count"),
    [
        (FramesMissing(rates=(0.0, 0.25, 1.0), repeats=3), ["0.0", "0.25", "1.0"], 3),
        (BurstsMissing(rates=(0.1,)), ["0.1"], 1),
        (AtLeastOneMissing(rates=(0.1,), repeats=2), ["0.1"], 2),
        (ModalitiesMissing(sets=("av", "t")), ["av", "t"], 1),
        (BernoulliMissing(conditions=((0.25, 0.5, 0.0),), repeats=2), ["0.25/0.5/0.0"], 2),
    ],
)
def test_conditions_and_repeats_are_those_of_the_params(pattern: Any, names: list[str], count: int) -> None:
    assert conditions(pattern) == names
    assert repeats(pattern) == count
    keep = keep_of(pattern, {"text": 4, "audio": 0, "vision": 1}, "x")
    assert {m: k.shape for m, k in keep.items()} == {
        m: (len(names), count, steps) for m, steps in (("text", 4), ("audio", 0), ("vision", 1))
    }


def test_patterns_that_are_null_are_not_requested() -> None:
    missing = TestMissing(frames=FramesMissing(rates=(0.5,)), modalities=ModalitiesMissing(sets=("t",)))
    assert sorted(requested(missing)) == ["frames", "modalities"]
