"""Protocols that divide utterances into train, valid and test.

leave_one_session_out  one fold per session; in it one speaker tests and the other validates (MCT-HFR, arXiv 2312.15848,
                       section 5.3); with `both` every session gives two folds, the roles exchanged
official               the owner's parts, as a column of the manifest has them
k_fold_by_speaker      speakers are dealt into k groups of like size; group i tests, group i + 1 validates
random_by_clip         a share of clips at random per seed, nothing validates, speakers are in both parts
                       (UCB/EECS-2022-85, section 4.3); every fold carries its seed
random_by_speaker      the same with a share of speakers, who are then in one part only
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.data.manifest import Utterance
from pipeline.errors import DataError
from pipeline.schema import Folds
from pipeline.seeding import stream

_PARTS = ("train", "valid", "test")
_NOTES = {
    True: "no speaker is in two parts of a fold",
    False: "speakers are in training and test: not comparable with speaker-independent results",
}


@dataclass(frozen=True)
class Fold:
    """One division; ids are sorted.

    Args:
        name: of the fold.
        seed: the training seed that it carries, or None.
        train: ids that are trained on.
        valid: ids that select, may be empty.
        test: ids that are scored.
    """

    name: str
    seed: int | None
    train: list[str]
    valid: list[str]
    test: list[str]


def make_folds(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    """Divide utterances.

    Args:
        utterances: those that have a label, in any order.
        protocol: which rule, with its numbers.
        seed: root seed, for rules that draw.

    Raises:
        DataError: the corpus cannot be divided so.
    """
    rule = {
        "leave_one_session_out": _leave_one_session_out,
        "official": _official,
        "k_fold_by_speaker": _k_fold_by_speaker,
        "random_by_clip": _random_by_clip,
        "random_by_speaker": _random_by_speaker,
    }[protocol.protocol]
    folds = rule(sorted(utterances, key=lambda u: u.utt_id), protocol, seed)
    for fold in folds:
        if "/" in fold.name or fold.name.startswith("."):
            raise DataError(f"fold '{fold.name}': cannot name a folder; name the corpus' sessions without '/' and '.'")
        empty = [part for part in ("train", "test") if not getattr(fold, part)]
        if empty:
            raise DataError(f"fold {fold.name}: its {empty[0]} part is empty; choose another protocol or fewer folds")
    return folds


def check_classes(folds: list[Fold], labels: Mapping[str, object], classes: Iterable[str]) -> None:
    """Check that every class is trained on in every fold.

    Raises:
        DataError: names the fold and the class.
    """
    for fold in folds:
        missing = sorted(set(classes) - {labels[utt_id] for utt_id in fold.train})
        if missing:
            raise DataError(
                f"fold {fold.name}: no training utterance of class '{missing[0]}', expected every class in every "
                "training part; map it to another class (task.labels) or choose another protocol"
            )


def description(folds: list[Fold], utterances: list[Utterance], protocol: Folds) -> dict[str, Any]:
    """The artifact: ids, speakers of every part, and whether they are disjoint."""
    speaker = {u.utt_id: u.speaker for u in utterances}
    rows = []
    for fold in folds:
        speakers = {part: sorted({speaker[utt_id] for utt_id in getattr(fold, part)}) for part in _PARTS}
        rows.append(asdict(fold) | {"speakers": speakers})
    independent = all(_disjoint(row["speakers"]) for row in rows) and all(speaker.values())
    return {
        "protocol": protocol.protocol,
        "speaker_independent": independent,
        "note": _NOTES[independent],
        "folds": rows,
    }


def _disjoint(speakers: dict[str, list[str]]) -> bool:
    return len(set().union(*speakers.values())) == sum(map(len, speakers.values()))


def _leave_one_session_out(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    sessions: dict[str, list[Utterance]] = defaultdict(list)
    for u in utterances:
        if not u.session:
            raise DataError(f"{u.utt_id}: has no session, leave_one_session_out needs one; use k_fold_by_speaker")
        if u.sex not in {"F", "M"}:
            raise DataError(f"{u.utt_id}: its speaker's sex is '{u.sex}', leave_one_session_out needs F or M")
        sessions[u.session].append(u)
    if len(sessions) < 2:
        raise DataError(f"the corpus has {len(sessions)} session, leave_one_session_out needs two or more")
    roles = ["F", "M"] if protocol.test_speakers == "both" else [protocol.test_speakers]
    folds = []
    for session in sorted(sessions):
        train = [u.utt_id for u in utterances if u.session != session]
        for role in roles:
            test = [u.utt_id for u in sessions[session] if u.sex == role]
            valid = [u.utt_id for u in sessions[session] if u.sex != role]
            folds.append(Fold(session if len(roles) == 1 else f"{session}_{role.lower()}", None, train, valid, test))
    return folds


def _official(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    parts: dict[str, list[str]] = {part: [] for part in _PARTS}
    for u in utterances:
        part = u.columns.get(protocol.column)
        if part not in parts:
            found = f"has no column '{protocol.column}'" if part is None else f"is in part '{part}'"
            raise DataError(f"{u.utt_id}: {found}, the protocol official needs train, valid or test in that column")
        parts[part].append(u.utt_id)
    return [Fold("official", None, **parts)]


def _k_fold_by_speaker(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for u in utterances:
        by_speaker[u.speaker].append(u.utt_id)
    if len(by_speaker) < protocol.folds or protocol.folds < 3:
        raise DataError(
            f"the corpus has {len(by_speaker)} speakers, k_fold_by_speaker has {protocol.folds} folds; expected at "
            "least 3 folds and as many speakers"
        )
    order = stream(seed, "k_fold_by_speaker").permutation(sorted(by_speaker)).tolist()
    groups: list[list[str]] = [[] for _ in range(protocol.folds)]
    for speaker in sorted(order, key=lambda name: -len(by_speaker[name])):
        min(groups, key=len).extend(by_speaker[speaker])
    folds = []
    for i, test in enumerate(groups):
        valid = groups[(i + 1) % len(groups)]
        train = {u.utt_id for u in utterances} - set(test) - set(valid)
        folds.append(Fold(f"fold_{i + 1}", None, sorted(train), sorted(valid), sorted(test)))
    return folds


def _random_by_clip(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    return _random({u.utt_id: u.utt_id for u in utterances}, protocol, seed)


def _random_by_speaker(utterances: list[Utterance], protocol: Folds, seed: int) -> list[Fold]:
    if unknown := [u.utt_id for u in utterances if not u.speaker]:
        raise DataError(f"{unknown[0]}: has no speaker, random_by_speaker needs one; use random_by_clip")
    return _random({u.utt_id: u.speaker for u in utterances}, protocol, seed)


def _random(unit: dict[str, str], protocol: Folds, seed: int) -> list[Fold]:
    """One fold per seed: the share of units that is tested, rounded up; `unit` by utterance."""
    names = sorted(set(unit.values()))
    count = math.ceil(protocol.test_share * len(names) - 1e-9)
    folds = []
    for own in protocol.seeds:
        tested = set(stream(seed, protocol.protocol, own).permutation(names)[:count].tolist())
        test = sorted(utt_id for utt_id, name in unit.items() if name in tested)
        folds.append(Fold(f"seed_{own}", own, sorted(set(unit) - set(test)), [], test))
    return folds
