"""What is said, and what a recogniser makes of it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.corpora.demo.symbols import ALPHABET, CLASSES
from pipeline.corpora.demo.transcript import mishear, say
from pipeline.corpora.demo.words import CARRIERS, CLAUSES, INTENSIFIERS
from pipeline.seeding import stream

SAID = [*CLASSES, "neutral", "negative", "positive"]


def test_every_symbol_of_text_has_words():
    assert set(SAID) == set(ALPHABET) - {"absent", "high", "low"}
    assert set(CLAUSES) == set(SAID) - {"neutral"}
    assert all(len(CLAUSES[label]) == len(set(CLAUSES[label])) == 30 for label in CLASSES)


def test_no_clause_is_said_by_two_symbols_and_no_carrier_has_a_clause():
    counts = Counter([*CARRIERS, *(clause for clauses in CLAUSES.values() for clause in clauses)])
    assert set(counts.values()) == {1}


@given(st.sampled_from(SAID), st.floats(0, 1), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_utterances_have_two_to_fourteen_words_and_no_open_slot(symbol: str, strength: float, words: int, seed: int):
    text = say(symbol, strength, words, stream(seed))
    assert 2 <= len(text.split()) <= 14
    assert "{" not in text
    assert text == " ".join(text.split())


def test_neutral_text_holds_carriers_only():
    known = {word for carrier in CARRIERS for word in carrier.split()}
    assert all(set(say("neutral", 1.0, 9, stream(seed)).split()) <= known for seed in range(50))


def test_clauses_are_found_in_the_text_of_their_symbol():
    for seed in range(20):
        text = say("joy", 0.0, 10, stream(seed))
        assert any(" ".join(clause.replace("{}", "").split()) in text for clause in CLAUSES["joy"])


def test_strong_cues_are_intensified_more_often():
    def share(strength: float) -> float:
        texts = [say("sadness", strength, 8, stream(seed)).split() for seed in range(200)]
        return sum(any(word in INTENSIFIERS for word in text) for text in texts) / 200

    assert share(1.0) > share(0.0) + 0.2


def test_the_word_error_rate_is_hit_with_more_substitutions_than_deletions_and_insertions():
    sentence = " ".join(["zebra"] * 4000)
    heard = mishear(sentence, 0.2, stream(1)).split()
    kept, other = heard.count("zebra"), len(heard) - heard.count("zebra")
    assert kept / 4000 == pytest.approx(1 - 0.2 * 0.85, abs=0.02)
    assert other / 4000 == pytest.approx(0.2 * 0.75, abs=0.02)


def test_no_errors_change_nothing_and_all_errors_never_empty_a_transcript():
    assert mishear("well you know", 0.0, stream(1)) == "well you know"
    assert all(mishear("hello", 1.0, stream(seed)) for seed in range(30))
