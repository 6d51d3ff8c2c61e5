"""From words to a plan of syllables in time, which voice and face share."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

VOWELS = "aeiou"
_LEAD_S, _TAIL_S = 0.12, 0.15
_WORD_GAP = 0.5
_VOWEL_FROM_TEXT = 0.5


@dataclass(frozen=True)
class Plan:
    """When which vowel is said.

    Args:
        onsets: seconds at which the syllables begin, `(S,)`.
        slot: seconds between the onsets of two syllables of a word.
        vowels: position in `VOWELS` per syllable, `(S,)`.
        stress: loudness of every syllable in [0, 1], `(S,)`.
        opening: how far the vowel opens the mouth in [0, 1], `(S,)`.
    """

    onsets: Array
    slot: float
    vowels: npt.NDArray[np.int64]
    stress: Array
    opening: Array


_OPENING = np.array([1.0, 0.6, 0.35, 0.75, 0.3])


def plan(text: str, duration: float, chance: np.random.Generator) -> Plan:
    """Spread the syllables of `text` over `duration` seconds.

    The plan depends on no cue: neither the length of a clip nor the moving mouth tells what the voice shows. About
    half of the vowels are the text's own and the rest are drawn, so that the sound goes with the words without
    spelling them.
    """
    spoken, first_of_word = [], []
    for word in text.lower().split():
        groups = re.findall(r"[aeiouy]+", word) or ["e"]
        spoken += [VOWELS.find(group[0].replace("y", "i")) for group in groups]
        first_of_word += [True] + [False] * (len(groups) - 1)
    count = len(spoken)
    own = chance.random(count) < _VOWEL_FROM_TEXT
    vowels = np.where(own, np.array(spoken, dtype=np.int64), chance.integers(len(VOWELS), size=count))
    places = np.arange(count) + _WORD_GAP * (np.cumsum(first_of_word) - 1)
    slot = (duration - _LEAD_S - _TAIL_S) / (places[-1] + 1.0)
    stress = np.clip(0.75 + 0.15 * chance.standard_normal(count), 0.4, 1.0)
    return Plan(_LEAD_S + slot * places, slot, vowels, stress, _OPENING[vowels])
