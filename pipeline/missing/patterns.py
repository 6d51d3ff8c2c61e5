"""Patterns of absence: which steps of one utterance are kept under each condition.

Every draw comes from a stream of its own, named by utterance, modality and repeat: a mask depends on nothing else, not
on the other utterances, the order, or the grid of rates. Patterns with a rate compare one uniform number with it, so
masks nest: what is absent at 0.2 is absent at 0.3.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.schema import (
    AtLeastOneMissing,
    BernoulliMissing,
    BurstsMissing,
    FramesMissing,
    ModalitiesMissing,
    TestMissing,
)

Keep = npt.NDArray[np.bool_]
Stream = Callable[..., np.random.Generator]
"""A function from words (repeat, modality) to a generator of this utterance's own."""


def requested(missing: TestMissing) -> dict[str, Any]:
    """The patterns that a benchmark asks for, by name."""
    return {name: value for name, value in missing if value is not None}


def conditions(pattern: Any) -> list[str]:
    """The conditions of a pattern as text: rates "0.3", sets "ta", probabilities "0.25/0.25/0.25"."""
    if isinstance(pattern, FramesMissing):  # and the patterns derived from it
        return [str(float(rate)) for rate in pattern.rates]
    if isinstance(pattern, ModalitiesMissing):
        return list(pattern.sets)
    return ["/".join(str(float(p)) for p in condition) for condition in pattern.conditions]


def repeats(pattern: Any) -> int:
    """How often a pattern is drawn; sets of modalities leave nothing to chance."""
    return 1 if isinstance(pattern, ModalitiesMissing) else int(pattern.repeats)


def draw(pattern: Any, lengths: dict[str, int], stream: Stream) -> dict[str, Keep]:
    """Masks of one utterance.

    Args:
        pattern: a pattern's section of params.yaml.
        lengths: steps T_m per modality; 0 = naturally absent.
        stream: generators of this utterance and pattern, by words.

    Returns:
        Per modality `(C, R, T_m)` bool, True = kept, for C conditions and R repeats.
    """
    count = repeats(pattern)
    if isinstance(pattern, ModalitiesMissing):
        wanted = [MODALITY_SETS[name] for name in pattern.sets]
        return {m: _whole([[m in names] for names in wanted], lengths[m]) for m in MODALITIES}
    if isinstance(pattern, BernoulliMissing | AtLeastOneMissing):
        return _utterance_level(pattern, lengths, [stream(repeat) for repeat in range(count)])
    keep = {m: np.empty((len(pattern.rates), count, lengths[m]), bool) for m in MODALITIES}
    rates = np.asarray(pattern.rates)[:, None]
    for repeat, m in product(range(count), MODALITIES):
        keep[m][:, repeat] = _levels(pattern, lengths[m], stream(repeat, m)) >= rates
    return keep


def _levels(pattern: FramesMissing, steps: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """The rate from which on each step is absent, uniform in [0, 1)."""
    levels = generator.random(steps)
    if isinstance(pattern, BurstsMissing) and steps:
        # Spans of mean length `span` share one level: a Markov chain whose absent share is the rate and whose absent
        # runs have a mean of span / (1 - rate), since neighbouring spans may both be absent.
        begins = generator.random(steps) < 1.0 / max(1.0, pattern.span)
        begins[0] = True
        levels = levels[np.maximum.accumulate(np.where(begins, np.arange(steps), 0))]
    return levels


def _utterance_level(
    pattern: BernoulliMissing | AtLeastOneMissing, lengths: dict[str, int], generators: list[np.random.Generator]
) -> dict[str, Keep]:
    levels = np.stack([generator.random(len(MODALITIES)) for generator in generators])  # (R, M)
    if isinstance(pattern, BernoulliMissing):
        kept = levels >= np.asarray(pattern.conditions)[:, None]  # (C, R, M)
    else:
        kept = levels >= np.asarray(pattern.rates)[:, None, None]
        # If all would go, the one with the highest level stays: it is the last to go as the rate grows.
        there = np.asarray([lengths[m] > 0 for m in MODALITIES])
        kept |= np.arange(len(MODALITIES)) == np.where(there, levels, -1.0).argmax(1)[:, None]
    return {m: _whole(kept[:, :, i], lengths[m]) for i, m in enumerate(MODALITIES)}


def _whole(kept: Any, steps: int) -> Keep:
    """`(C, R)` flags, each for all steps of an utterance."""
    return np.repeat(np.asarray(kept, bool)[:, :, None], steps, axis=2)
