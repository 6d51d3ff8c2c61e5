"""The planting process: which cue every modality of a clip shows, and the best that a reader of the cues could do.

Every clip has a class and, per modality, one discrete symbol that is drawn before anything is rendered, so the optimum
of every modality set follows by enumeration. Modes (redundant, unique, synergic, partitioned) follow the terms of
partial information decomposition (Liang et al., arXiv 2302.12247).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CLASSES = ("anger", "calm", "joy", "sadness")
NEUTRAL, ABSENT = "neutral", "absent"
ALPHABET = (*CLASSES, NEUTRAL, "high", "low", "negative", "positive", ABSENT)
"""What a modality may show: a class, nothing in particular, one half of the classes (voice: arousal; text and face:
valence), or nothing at all."""

HIGH_AROUSAL = frozenset({"anger", "joy"})
POSITIVE = frozenset({"calm", "joy"})
_OPPOSITE = {"high": "low", "low": "high", "negative": "positive", "positive": "negative"}

SETS = {"t": (0,), "a": (1,), "v": (2,), "ta": (0, 1), "tv": (0, 2), "av": (1, 2), "tav": (0, 1, 2)}
"""Modality sets as positions in (text, audio, vision)."""

MODES = ("R", "A", "V", "T", "S", "P")
"""R all show the class; A, V, T only that one does; S voice and face give it together, neither alone; P voice shows
arousal, text and face show valence."""

# In mode S the two symbols pass through a fixed permutation, so that "anger in the voice" means nothing by itself.
_PERMUTED_AUDIO, _PERMUTED_VISION = (2, 0, 3, 1), (1, 3, 0, 2)


@dataclass(frozen=True)
class Process:
    """How symbols come about; every triple is in the order text, audio, vision.

    Args:
        weights: probability of each of `MODES`; when all are zero, every symbol is neutral.
        errors: probability that a symbol is replaced by another of its kind (class by class, half by half).
        absent: probability that a modality is not there at all.
    """

    weights: tuple[float, ...]
    errors: tuple[float, float, float]
    absent: tuple[float, float, float]


Symbols = tuple[str, str, str]


def intended(mode: str, label: str, r: int) -> Symbols:
    """The symbols of text, audio and vision before corruption; `r` in [0, K) matters in mode S only."""
    if mode == "S":
        rest = (CLASSES.index(label) - r) % len(CLASSES)
        return NEUTRAL, CLASSES[_PERMUTED_AUDIO[r]], CLASSES[_PERMUTED_VISION[rest]]
    if mode == "P":
        valence = "positive" if label in POSITIVE else "negative"
        return valence, "high" if label in HIGH_AROUSAL else "low", valence
    shown = {"R": "TAV"}.get(mode, mode)
    text, audio, vision = (label if modality in shown else NEUTRAL for modality in "TAV")
    return text, audio, vision


def draw(process: Process, label: str, chance: np.random.Generator) -> tuple[str, Symbols]:
    """Draw the mode ("" where there is no cue at all) and the three symbols of one clip."""
    # Every draw is made whatever comes of it, so that clips with the same stream stay alike across options.
    position, r = chance.random(), int(chance.integers(len(CLASSES)))
    wrong, other, gone = chance.random(3), chance.integers(len(CLASSES) - 1, size=3), chance.random(3)
    if not any(process.weights):
        mode, symbols = "", (NEUTRAL, NEUTRAL, NEUTRAL)
    else:
        mode = MODES[int(np.searchsorted(np.cumsum(process.weights), position * sum(process.weights), side="right"))]
        symbols = intended(mode, label, r)
    shown = []
    for m, symbol in enumerate(symbols):
        if gone[m] < process.absent[m]:
            shown.append(ABSENT)
        elif wrong[m] < process.errors[m]:
            shown.append(_confused(symbol)[int(other[m]) % len(_confused(symbol))])
        else:
            shown.append(symbol)
    return mode, (shown[0], shown[1], shown[2])


def joint(process: Process) -> Array:
    """P(class, text, audio, vision) `(K, A, A, A)` over `CLASSES` (even shares) and `ALPHABET`; sums to 1."""
    table = np.zeros((len(CLASSES), *3 * [len(ALPHABET)]))
    total = sum(process.weights)
    modes = [(mode, weight / total) for mode, weight in zip(MODES, process.weights, strict=True) if weight]
    for label, (mode, weight) in product(CLASSES, modes or [("", 1.0)]):
        for r in range(len(CLASSES)):
            text, audio, vision = (
                _seen(symbol, process.errors[m], process.absent[m]) for m, symbol in enumerate(intended(mode, label, r))
            )
            table[CLASSES.index(label)] += weight / len(CLASSES) ** 2 * np.einsum("i,j,k->ijk", text, audio, vision)
    return table


def optimum(process: Process) -> dict[str, float]:
    """Expected accuracy, in [0, 1], of the Bayes-optimal reader of the symbols of every modality set."""
    table = joint(process)
    return {name: float(_marginal(table, kept).max(axis=0).sum()) for name, kept in SETS.items()}


def best_class(table: Array, name: str, symbols: Symbols) -> str:
    """What the Bayes-optimal reader of the modality set `name` says; ties go to the first class.

    Args:
        table: see `joint`.
        name: key of `SETS`.
        symbols: what text, audio and vision show.
    """
    kept = SETS[name]
    evidence = np.moveaxis(_marginal(table, kept), 0, -1)[tuple(ALPHABET.index(symbols[m]) for m in kept)]
    # Rounded, so that a tie does not hang on the last bit of a sum.
    return CLASSES[int(np.argmax(np.round(evidence / evidence.sum(), 9)))]


def _seen(symbol: str, error: float, absent: float) -> Array:
    """Distribution `(A,)` of what is shown in place of `symbol`."""
    seen = np.zeros(len(ALPHABET))
    others = _confused(symbol)
    for other in others:
        seen[ALPHABET.index(other)] += error / len(others)
    seen[ALPHABET.index(symbol)] += 1 - seen.sum()
    seen *= 1 - absent
    seen[ALPHABET.index(ABSENT)] = absent
    return seen


def _confused(symbol: str) -> tuple[str, ...]:
    """What `symbol` may be mistaken for; a neutral rendering has no cue that could be wrong."""
    if symbol in CLASSES:
        return tuple(name for name in CLASSES if name != symbol)
    return (_OPPOSITE[symbol],) if symbol in _OPPOSITE else (symbol,)


def _marginal(table: Array, kept: tuple[int, ...]) -> Array:
    summed: Array = table.sum(axis=tuple(1 + m for m in range(3) if m not in kept))
    return summed
