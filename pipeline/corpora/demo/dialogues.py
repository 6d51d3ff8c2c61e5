"""Who speaks when, and which class every turn has: pairs of speakers, dialogues, emotional inertia."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from pipeline.corpora.demo.symbols import CLASSES
from pipeline.seeding import stream

_SHORTEST, _LONGEST = 6, 14
_OWN_LAST, _PARTNERS_LAST = 0.5, 0.2


@dataclass(frozen=True)
class Turn:
    """One turn of a dialogue.

    Args:
        utt_id: names session, dialogue and turn.
        session: id.
        dialogue: id.
        turn: from 0.
        speaker: id.
        sex: F or M.
        label: class.
    """

    utt_id: str
    session: str
    dialogue: str
    turn: int
    speaker: str
    sex: str
    label: str


def plan(clips: int, sessions: int, seed: int) -> list[Turn]:
    """Divide `clips` turns over `sessions` of two speakers each, and give every turn a class.

    A turn keeps the class of that speaker's last turn with probability .5, takes the partner's last class with .2, and
    else draws from the rarer half of the session's classes, so that shares stay even. Every speaker, or else every
    session, that has enough turns for it has all classes.
    """
    turns: list[Turn] = []
    for session in range(1, sessions + 1):
        count = clips // sessions + (session <= clips % sessions)
        turns += _session(session, count, stream(seed, "demo", "session", session))
    return turns


def _session(number: int, count: int, chance: np.random.Generator) -> list[Turn]:
    turns: list[Turn] = []
    dialogue = 0
    used: Counter[str] = Counter()
    while len(turns) < count:
        dialogue += 1
        length = _length(count - len(turns), chance)
        begins = int(chance.integers(2))
        last: dict[str, str] = {}
        for turn in range(length):
            sex = "FM"[(begins + turn) % 2]
            label = _next_class(last.get(sex), last.get("FM"[sex == "F"]), used, chance)
            last[sex] = label
            used[label] += 1
            name = f"s{number}_d{dialogue:02d}"
            speaker = f"s{number}_{sex.lower()}"
            turns.append(Turn(f"{name}_t{turn:02d}", f"session_{number}", name, turn, speaker, sex, label))
    for speaker in sorted({turn.speaker for turn in turns}):
        turns = _complete(turns, [place for place, turn in enumerate(turns) if turn.speaker == speaker])
    return _complete(turns, list(range(len(turns))))


def _length(left: int, chance: np.random.Generator) -> int:
    """Turns of the next dialogue when `left` are to be placed, so that the last one is not too short."""
    if left <= _LONGEST:
        return left
    return int(chance.integers(_SHORTEST, min(_LONGEST, left - _SHORTEST) + 1))


def _next_class(own: str | None, partner: str | None, used: Counter[str], chance: np.random.Generator) -> str:
    rarest = sorted(CLASSES, key=lambda name: used[name])[: len(CLASSES) // 2]
    position, fresh = chance.random(), rarest[int(chance.integers(len(rarest)))]
    if position < _OWN_LAST:
        return own or fresh
    return (partner or fresh) if position < _OWN_LAST + _PARTNERS_LAST else fresh


def _complete(turns: list[Turn], places: list[int]) -> list[Turn]:
    """Give classes that are missing at `places` to turns of the class that is most frequent there, if there is room."""
    if len(places) < len(CLASSES):
        return turns
    turns = list(turns)
    for label in CLASSES:
        counts = Counter(turns[place].label for place in places)
        if label not in counts:
            most = max(CLASSES, key=lambda name: counts[name])
            taken = next(place for place in places if turns[place].label == most)
            turns[taken] = replace(turns[taken], label=label)
    return turns
