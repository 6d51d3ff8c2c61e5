"""The planting process: its optimum against closed forms, and against what is drawn."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpora.demo.symbols import (
    ABSENT,
    ALPHABET,
    CLASSES,
    MODES,
    NEUTRAL,
    SETS,
    Process,
    best_class,
    draw,
    intended,
    joint,
    optimum,
)
from pipeline.seeding import stream

NONE = (0.0, 0.0, 0.0)
share = st.floats(0.0, 1.0)
processes = st.builds(
    Process, st.tuples(*6 * [share]), st.tuples(*3 * [st.floats(0.0, 0.5)]), st.tuples(*3 * [st.floats(0.0, 0.3)])
)


def only(mode: str) -> tuple[float, ...]:
    return tuple(float(mode == name) for name in MODES)


def test_one_symbol_of_accuracy_p_is_read_with_accuracy_p():
    best = optimum(Process(only("R"), (0.16, 0.25, 0.4), NONE))
    assert [best[name] for name in "tav"] == pytest.approx([0.84, 0.75, 0.6])
    # Of two hard symbols the better one wins every disagreement, so the second adds nothing.
    assert best["ta"] == pytest.approx(0.84)
    assert best["tav"] > 0.84


def test_three_symbols_of_accuracy_half_give_the_closed_form():
    best = optimum(Process(only("R"), (0.5, 0.5, 0.5), NONE))
    # Two or three show the truth; or all differ, and the guess among them is right in one of three cases.
    p, q = 0.5, 0.5 / 3
    two_or_three = p**3 + 3 * p**2 * (1 - p)
    all_differ_truth_among = 3 * p * 3 * 2 * q**2
    assert best["tav"] == pytest.approx(two_or_three + all_differ_truth_among / 3)


def test_information_of_a_symmetric_symbol_is_the_closed_form():
    k, p = len(CLASSES), 0.7
    table = joint(Process(only("T"), (1 - p, 0.0, 0.0), NONE)).sum(axis=(2, 3))
    inside = table[table > 0]
    product_of_margins = (table.sum(axis=0)[None] * table.sum(axis=1)[:, None])[table > 0]
    information = float(np.sum(inside * np.log2(inside / product_of_margins)))
    assert information == pytest.approx(math.log2(k) + p * math.log2(p) + (1 - p) * math.log2((1 - p) / (k - 1)))


def test_synergy_says_nothing_in_one_modality_and_all_in_two():
    best = optimum(Process(only("S"), NONE, NONE))
    chance = 1 / len(CLASSES)
    assert [best[name] for name in ("t", "a", "v", "ta", "tv")] == pytest.approx(5 * [chance])
    assert [best["av"], best["tav"]] == pytest.approx([1.0, 1.0])


def test_partition_gives_the_class_from_arousal_and_valence_together():
    best = optimum(Process(only("P"), NONE, NONE))
    assert [best[name] for name in ("t", "a", "v", "tv")] == pytest.approx(4 * [0.5])
    assert [best[name] for name in ("ta", "av", "tav")] == pytest.approx(3 * [1.0])


def test_partition_shows_arousal_in_the_voice_and_valence_elsewhere():
    assert intended("P", "joy", 0) == ("positive", "high", "positive")
    assert intended("P", "sadness", 0) == ("negative", "low", "negative")


def test_no_cue_leaves_chance_whatever_is_seen():
    best = optimum(Process(6 * (0.0,), (0.1, 0.2, 0.3), (0.1, 0.1, 0.1)))
    assert all(value == pytest.approx(1 / len(CLASSES)) for value in best.values())
    mode, shown = draw(Process(6 * (0.0,), (1.0, 1.0, 1.0), NONE), "joy", stream(1))
    assert (mode, shown) == ("", (NEUTRAL, NEUTRAL, NEUTRAL))


@given(processes)
@settings(max_examples=25, deadline=None)
def test_the_joint_distribution_sums_to_one_and_more_modalities_never_hurt(process: Process):
    table = joint(process)
    assert table.sum() == pytest.approx(1.0)
    assert table.sum(axis=(1, 2, 3)) == pytest.approx(len(CLASSES) * [1 / len(CLASSES)])
    best = optimum(process)
    for small, large in product(SETS, SETS):
        if set(SETS[small]) <= set(SETS[large]):
            assert best[small] <= best[large] + 1e-12


def test_draws_agree_with_the_enumeration():
    process = Process((0.45, 0.10, 0.10, 0.20, 0.05, 0.10), (0.15, 0.22, 0.14), (0.05, 0.05, 0.05))
    table, chance, count = joint(process), stream(2, "draws"), 8000
    drawn = np.zeros_like(table)
    right = dict.fromkeys(SETS, 0)
    modes = []
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        mode, shown = draw(process, label, chance)
        modes.append(mode)
        drawn[(CLASSES.index(label), *(ALPHABET.index(symbol) for symbol in shown))] += 1 / count
        for name in SETS:
            right[name] += best_class(table, name, shown) == label
    assert drawn[table == 0].sum() == 0
    assert np.abs(drawn - table).max() < 0.01
    for name, expected in optimum(process).items():
        assert right[name] / count == pytest.approx(expected, abs=4 * math.sqrt(0.25 / count))
    assert [modes.count(name) / count for name in MODES] == pytest.approx(process.weights, abs=0.025)


def test_absent_modalities_are_not_seen():
    gone = Process(only("R"), NONE, (1.0, 0.0, 0.0))
    assert draw(gone, "joy", stream(3))[1] == (ABSENT, "joy", "joy")
    best = optimum(gone)
    assert best["t"] == pytest.approx(0.25)
    assert best["ta"] == pytest.approx(1.0)
    assert best_class(joint(gone), "t", (ABSENT, "joy", "joy")) == CLASSES[0]
    assert best_class(joint(gone), "ta", (ABSENT, "joy", "joy")) == "joy"
