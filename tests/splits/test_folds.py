"""Protocols: who is in which part, and what cannot be divided."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.manifest import Utterance
from pipeline.errors import DataError
from pipeline.schema import Folds
from pipeline.splits.folds import Fold, check_classes, description, make_folds

Make = Callable[..., Utterance]
PARTS = ("train", "valid", "test")


@pytest.fixture
def corpus(utterance: Make) -> list[Utterance]:
    """Three sessions of two speakers; speaker 1F says one thing, 1M two, ... 3M six."""
    counts = {("1", "F"): 1, ("1", "M"): 2, ("2", "F"): 3, ("2", "M"): 4, ("3", "F"): 5, ("3", "M"): 6}
    return [
        utterance(f"{session}{sex}{turn}", session=f"ses{session}", speaker=f"{session}{sex}", sex=sex)
        for (session, sex), count in counts.items()
        for turn in range(count)
    ]


def protocol(name: str, **numbers: Any) -> Folds:
    return Folds(protocol=name, **numbers)


def assert_parts_do_not_meet_and_cover(folds: list[Fold], corpus: list[Utterance]) -> None:
    for fold in folds:
        parts = [getattr(fold, part) for part in PARTS]
        together = sorted(utt_id for part in parts for utt_id in part)
        assert together == sorted(u.utt_id for u in corpus)
        assert all(part == sorted(part) for part in parts)


def speakers(fold: Fold, corpus: list[Utterance]) -> list[set[str]]:
    of = {u.utt_id: u.speaker for u in corpus}
    return [{of[utt_id] for utt_id in getattr(fold, part)} for part in PARTS]


ALL = [
    protocol("leave_one_session_out"),
    protocol("leave_one_session_out", test_speakers="both"),
    protocol("k_fold_by_speaker", folds=3),
    protocol("k_fold_by_speaker", folds=6),
    protocol("random_by_clip"),
    protocol("random_by_speaker"),
]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: f"{rule.protocol}-{rule.test_speakers}-{rule.folds}")
def test_parts_do_not_meet_cover_the_corpus_and_do_not_depend_on_the_order(
    corpus: list[Utterance], rule: Folds
) -> None:
    folds = make_folds(corpus, rule, 7)
    assert_parts_do_not_meet_and_cover(folds, corpus)
    shuffled = random.Random(1).sample(corpus, len(corpus))
    assert make_folds(shuffled, rule, 7) == folds
    assert len({fold.name for fold in folds}) == len(folds)


@pytest.mark.parametrize("rule", ALL[:4], ids=lambda rule: f"{rule.protocol}-{rule.test_speakers}-{rule.folds}")
def test_no_speaker_is_in_two_parts_and_the_artifact_proves_it(corpus: list[Utterance], rule: Folds) -> None:
    folds = make_folds(corpus, rule, 7)
    for fold in folds:
        train, valid, test = speakers(fold, corpus)
        assert not train & valid
        assert not train & test
        assert not valid & test
    found = description(folds, corpus, rule)
    assert found["speaker_independent"] is True
    assert found["note"] == "no speaker is in two parts of a fold"
    for row, fold in zip(found["folds"], folds, strict=True):
        assert [set(row["speakers"][part]) for part in PARTS] == speakers(fold, corpus)
        assert {part: row[part] for part in PARTS} == {part: getattr(fold, part) for part in PARTS}


@pytest.mark.parametrize(("role", "other"), [("F", "M"), ("M", "F")])
def test_one_speaker_of_the_held_out_session_tests_and_the_other_validates(
    corpus: list[Utterance], role: str, other: str
) -> None:
    folds = make_folds(corpus, protocol("leave_one_session_out", test_speakers=role), 7)
    assert [fold.name for fold in folds] == ["ses1", "ses2", "ses3"]
    for number, fold in enumerate(folds, start=1):
        _, valid, test = speakers(fold, corpus)
        assert test == {f"{number}{role}"}
        assert valid == {f"{number}{other}"}
        assert fold.seed is None


SPEAKERS = {
    "IEMOCAP": {"F": [528, 481, 522, 528, 590], "M": [557, 542, 629, 503, 651]},
    "MSP-IMPROV": {"F": [215, 312, 337, 234, 404, 425], "M": [211, 266, 361, 203, 371, 480]},
}
"""Utterances of each session's speakers in the lists of https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37."""
SIZES = {
    "IEMOCAP": [(4446, 557, 528), (4508, 542, 481), (4380, 629, 522), (4500, 503, 528), (4290, 651, 590)],
    "MSP-IMPROV": [
        (3393, 211, 215), (3241, 266, 312), (3121, 361, 337), (3382, 203, 234), (3044, 371, 404), (2914, 480, 425),
    ],
}  # fmt: skip
"""Training, validation and test part of their folds."""


@pytest.mark.parametrize("name", SIZES)
def test_folds_have_the_sizes_of_the_published_study(name: str, utterance: Make) -> None:
    corpus = [
        utterance(f"{session}{sex}{turn}", session=f"ses{session}", speaker=f"{session}{sex}", sex=sex)
        for sex, counts in SPEAKERS[name].items()
        for session, count in enumerate(counts, start=1)
        for turn in range(count)
    ]
    folds = make_folds(corpus, protocol("leave_one_session_out", test_speakers="F"), 7)
    assert len({fold.name for fold in folds}) == len(SIZES[name])
    assert [tuple(len(getattr(fold, part)) for part in PARTS) for fold in folds] == SIZES[name]
    for fold in folds:
        parts = speakers(fold, corpus)
        assert sum(map(len, parts)) == len(set().union(*parts))


def test_with_both_every_speaker_tests_once(corpus: list[Utterance]) -> None:
    folds = make_folds(corpus, protocol("leave_one_session_out", test_speakers="both"), 7)
    assert [fold.name for fold in folds] == ["ses1_f", "ses1_m", "ses2_f", "ses2_m", "ses3_f", "ses3_m"]
    assert sorted(utt_id for fold in folds for utt_id in fold.test) == sorted(u.utt_id for u in corpus)


def test_every_speaker_of_k_folds_tests_once_and_groups_are_of_like_size(corpus: list[Utterance]) -> None:
    folds = make_folds(corpus, protocol("k_fold_by_speaker", folds=3), 7)
    assert sorted(utt_id for fold in folds for utt_id in fold.test) == sorted(u.utt_id for u in corpus)
    assert sorted(len(fold.test) for fold in folds) == [7, 7, 7]
    assert [fold.valid for fold in folds] == [folds[(i + 1) % 3].test for i in range(3)]


def test_speakers_are_dealt_by_the_root_seed(utterance: Make) -> None:
    many = [utterance(f"u{i:02d}", speaker=f"s{i}") for i in range(20)]
    rule = protocol("k_fold_by_speaker", folds=4)
    assert make_folds(many, rule, 7) == make_folds(many, rule, 7)
    assert make_folds(many, rule, 7) != make_folds(many, rule, 8)


@given(count=st.integers(2, 60), share=st.floats(0.01, 0.95))
def test_the_test_part_of_random_clips_is_the_share_rounded_up(utterance: Make, count: int, share: float) -> None:
    corpus = [utterance(f"u{i:02d}") for i in range(count)]
    expected = math.ceil(round(share * count, 6))
    rule = protocol("random_by_clip", test_share=share)
    if expected == count:
        with pytest.raises(DataError, match="its train part is empty"):
            make_folds(corpus, rule, 7)
        return
    for fold in make_folds(corpus, rule, 7):
        assert (len(fold.test), len(fold.valid), len(fold.train)) == (expected, 0, count - expected)


def test_a_share_that_is_a_whole_number_of_clips_is_not_rounded_up(utterance: Make) -> None:
    corpus = [utterance(f"u{i:03d}") for i in range(100)]
    for share in (0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58):
        (fold,) = make_folds(corpus, protocol("random_by_clip", test_share=share, seeds=(1,)), 7)
        assert len(fold.test) == round(100 * share)


def test_random_clips_carry_their_seeds_and_are_labelled_as_not_speaker_independent(corpus: list[Utterance]) -> None:
    rule = protocol("random_by_clip", seeds=(42, 1))
    folds = make_folds(corpus, rule, 7)
    assert [(fold.name, fold.seed) for fold in folds] == [("seed_42", 42), ("seed_1", 1)]
    assert folds[0].test != folds[1].test
    found = description(folds, corpus, rule)
    assert found["speaker_independent"] is False
    assert "not comparable with speaker-independent results" in found["note"]
    assert [row["seed"] for row in found["folds"]] == [42, 1]


def test_random_speakers_are_in_one_part_only(corpus: list[Utterance]) -> None:
    rule = protocol("random_by_speaker", seeds=(42, 1), test_share=0.4)
    folds = make_folds(corpus, rule, 7)
    speakers = {u.utt_id: u.speaker for u in corpus}
    for fold in folds:
        tested, trained = ({speakers[u] for u in part} for part in (fold.test, fold.train))
        assert len(tested) == math.ceil(0.4 * len(set(speakers.values())))
        assert not tested & trained
        assert sorted(fold.test + fold.train) == sorted(speakers)
    assert [fold.seed for fold in folds] == [42, 1]
    assert description(folds, corpus, rule)["speaker_independent"] is True


def test_official_parts_are_the_owners(utterance: Make) -> None:
    corpus = [utterance(f"u{i}", split=part, speaker=f"s{i}") for i, part in enumerate(PARTS * 2)]
    (fold,) = make_folds(corpus, protocol("official"), 7)
    assert (fold.name, fold.train, fold.valid, fold.test) == ("official", ["u0", "u3"], ["u1", "u4"], ["u2", "u5"])
    assert description([fold], corpus, protocol("official"))["speaker_independent"] is True


def test_speakers_in_two_official_parts_are_said_aloud(utterance: Make) -> None:
    corpus = [utterance(f"u{i}", split=part, speaker="same") for i, part in enumerate(PARTS)]
    folds = make_folds(corpus, protocol("official"), 7)
    assert description(folds, corpus, protocol("official"))["speaker_independent"] is False


def test_unknown_speakers_prove_nothing(utterance: Make) -> None:
    corpus = [utterance("a", split="train", speaker="x"), utterance("b", split="test", speaker="")]
    folds = make_folds(corpus, protocol("official"), 7)
    assert description(folds, corpus, protocol("official"))["speaker_independent"] is False


@pytest.mark.parametrize(
    ("facts", "rule", "message"),
    [
        ({"session": ""}, protocol("leave_one_session_out"), "a: has no session, .* use k_fold_by_speaker"),
        ({"sex": ""}, protocol("leave_one_session_out"), "a: its speaker's sex is '', .* needs F or M"),
        ({}, protocol("leave_one_session_out"), "the corpus has 1 session, leave_one_session_out needs two or more"),
        ({"split": "dev"}, protocol("official"), "a: is in part 'dev', .* needs train, valid or test in that column"),
        ({}, protocol("official"), "fold official: its test part is empty; choose another protocol or fewer folds"),
        ({"split": "test"}, protocol("official"), "fold official: its train part is empty"),
        ({}, protocol("k_fold_by_speaker", folds=3), "the corpus has 1 speakers, k_fold_by_speaker has 3 folds"),
        ({"speaker": ""}, protocol("random_by_speaker"), "a: has no speaker, random_by_speaker needs one"),
        ({}, protocol("random_by_clip", test_share=0.999), "fold seed_42: its train part is empty"),
    ],
)
def test_a_corpus_that_cannot_be_divided_so_is_refused(
    utterance: Make, facts: dict[str, str], rule: Folds, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_folds([utterance("a", **facts)], rule, 7)


def test_two_folds_leave_no_speaker_to_train_on(corpus: list[Utterance]) -> None:
    with pytest.raises(DataError, match="has 2 folds; expected at least 3 folds"):
        make_folds(corpus, protocol("k_fold_by_speaker", folds=2), 7)


def test_a_session_without_a_speaker_of_the_tested_sex_is_refused(utterance: Make) -> None:
    corpus = [utterance("a", session="1", sex="F"), utterance("b", session="2", sex="M")]
    with pytest.raises(DataError, match="fold 2: its test part is empty"):
        make_folds(corpus, protocol("leave_one_session_out"), 7)


@pytest.mark.parametrize("session", ["a/b", ".", "..", ".hidden"])
def test_a_session_that_cannot_name_a_folder_is_refused(utterance: Make, session: str) -> None:
    corpus = [utterance("a", session="1"), utterance("b", session=session)]
    with pytest.raises(DataError, match="cannot name a folder"):
        make_folds(corpus, protocol("leave_one_session_out"), 7)


def test_a_class_that_is_never_trained_on_is_named_with_its_fold() -> None:
    folds = [Fold("one", None, ["a", "b"], [], ["c"]), Fold("two", None, ["a", "c"], [], ["b"])]
    labels = {"a": "joy", "b": "calm", "c": "joy"}
    with pytest.raises(DataError, match=r"fold two: no training utterance of class 'calm', .* map it to"):
        check_classes(folds, labels, ["calm", "joy"])
    check_classes(folds, labels, ["joy"])
