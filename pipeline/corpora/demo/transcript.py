"""What is said: clauses, carriers and intensifiers put together, and the mistakes of a speech recogniser."""

import numpy as np

from pipeline.corpora.demo.words import CARRIERS, CLAUSES, INTENSIFIERS

_SUBSTITUTED, _DELETED = 0.60, 0.25
_LONGEST = 14
_VOCABULARY = tuple(sorted({word for line in CARRIERS for word in line.split()}))


def say(symbol: str, strength: float, words: int, chance: np.random.Generator) -> str:
    """Make an utterance of about `words` words.

    Args:
        symbol: key of `CLAUSES`, or `neutral` for carriers alone.
        strength: in [0, 1]: how likely the clause is made stronger by an intensifier.
        words: aimed at; the clause is said even where it is longer.
        chance: for the choice.
    """
    parts: list[str] = []
    if symbol in CLAUSES:
        intensifier = str(chance.choice(INTENSIFIERS)) if chance.random() < strength else ""
        parts.append(" ".join(str(chance.choice(CLAUSES[symbol])).format(intensifier).split()))
    for place in chance.permutation(len(CARRIERS))[:4]:
        carrier = CARRIERS[int(place)]
        length = len(" ".join(parts).split()) + len(carrier.split())
        if length <= min(max(words, 3), _LONGEST):
            parts.insert(int(chance.integers(len(parts) + 1)), carrier)
    return " ".join(parts) or CARRIERS[int(chance.integers(len(CARRIERS)))]


def mishear(text: str, rate: float, chance: np.random.Generator) -> str:
    """Make a recogniser's mistakes at word error rate `rate`: 60 % substitutions, 25 % deletions, 15 % insertions."""
    heard: list[str] = []
    words = text.split()
    for word, wrong, kind, other in zip(
        words,
        chance.random(len(words)) < rate,
        chance.random(len(words)),
        chance.integers(len(_VOCABULARY), size=len(words)),
        strict=True,
    ):
        if not wrong:
            heard.append(word)
        elif kind < _SUBSTITUTED:
            heard.append(_VOCABULARY[int(other)])
        elif kind >= _SUBSTITUTED + _DELETED:
            heard += [word, _VOCABULARY[int(other)]]
    # A transcript in which every word was lost would look like a modality that is not there, which is planted apart.
    return " ".join(heard or words[:1])
