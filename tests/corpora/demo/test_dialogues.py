"""Who speaks when, and which class every turn has."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpora.demo.dialogues import Turn, plan
from pipeline.corpora.demo.symbols import CLASSES


def by(turns: list[Turn], field: str) -> dict[str, list[Turn]]:
    groups: dict[str, list[Turn]] = {}
    for turn in turns:
        groups.setdefault(getattr(turn, field), []).append(turn)
    return groups


@given(st.integers(1, 6), st.integers(0, 300), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_any_number_of_clips_is_planned_with_both_speakers_in_every_session(sessions: int, more: int, seed: int):
    turns = plan(2 * sessions + more, sessions, seed)
    assert len(turns) == len({turn.utt_id for turn in turns}) == 2 * sessions + more
    groups = by(turns, "session")
    assert len(groups) == sessions
    for group in groups.values():
        assert {turn.sex for turn in group} == {"F", "M"}
        assert len({turn.speaker for turn in group}) == 2


def test_speakers_alternate_in_dialogues_of_six_to_fourteen_turns():
    for turns in by(plan(600, 5, 1), "dialogue").values():
        assert 6 <= len(turns) <= 14
        assert [turn.turn for turn in turns] == list(range(len(turns)))
        assert all(one.speaker != other.speaker for one, other in pairwise(turns))


def test_classes_have_even_shares():
    counts = Counter(turn.label for turn in plan(600, 5, 1))
    assert set(counts) == set(CLASSES)
    assert all(count == pytest.approx(150, abs=12) for count in counts.values())


def test_a_speaker_keeps_a_class_more_often_than_chance_and_also_takes_the_partners():
    own = partner = total = 0
    for turns in by(plan(3000, 5, 1), "dialogue").values():
        for before, last, turn in zip(turns, turns[1:], turns[2:], strict=False):
            own += turn.label == before.label
            partner += turn.label == last.label and turn.label != before.label
            total += before.label != last.label
    assert own / 3000 > 0.5
    assert partner / total > 0.2


@pytest.mark.parametrize("clips", [20, 24, 31, 60])
@pytest.mark.parametrize("seed", range(10))
def test_small_corpora_have_every_class_in_every_session(clips: int, seed: int):
    for turns in by(plan(clips, 5, seed), "session").values():
        assert {turn.label for turn in turns} == set(CLASSES)


@pytest.mark.parametrize("seed", range(10))
def test_speakers_with_room_have_every_class(seed: int):
    for turns in by(plan(60, 5, seed), "speaker").values():
        assert {turn.label for turn in turns} == set(CLASSES)
