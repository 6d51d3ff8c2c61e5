"""Named streams: the words decide everything, and nothing else does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.seeding import stream, stream_seed

words = st.lists(st.text(st.characters(codec="utf-8"), max_size=4) | st.integers(0, 99), min_size=1, max_size=4)


@given(words, words)
def test_streams_are_the_same_exactly_when_their_words_are(one: list[str | int], other: list[str | int]) -> None:
    same = list(map(str, one)) == list(map(str, other))
    assert (stream_seed(*one) == stream_seed(*other)) == same
    assert np.array_equal(stream(*one).random(3), stream(*other).random(3)) == same


@given(words)
def test_a_seed_fits_where_a_signed_64_bit_number_does(own: list[str | int]) -> None:
    assert 0 <= stream_seed(*own) < 2**63


def test_streams_have_the_same_numbers_on_every_platform() -> None:
    assert stream_seed(2021, "train", "demo", 0.5) == 3297468950371221923
    assert stream(2021, "train").random(2).tolist() == [0.5150979803419956, 0.9222334702950079]


def test_streams_do_not_touch_the_global_generator() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    stream("a").random(5)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_neighbouring_streams_are_unrelated() -> None:
    one, other = (stream("mask", i).random(20_000) for i in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 3 / np.sqrt(20_000)
