"""How a face moves and looks: action units over time by the prototypes of the facial action coding system.

Prototype units follow Du, Tao and Martinez (PNAS 111(15), 2014); calm, which they do not list, is ours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.corpora.demo.speech import Plan

Array = npt.NDArray[np.float64]

UNITS = (1, 2, 4, 5, 6, 7, 12, 15, 17, 23, 25, 43)
"""Action units that may express something; jaw (26) and blink (45) move in every face."""

PROTOTYPES: dict[str, tuple[int, ...]] = {
    "neutral": (),
    "anger": (4, 5, 7, 23),
    "calm": (12, 43),
    "joy": (12, 6, 25),
    "sadness": (4, 1, 15),
    "positive": (12,),
    "negative": (4,),
}
"""The units of every symbol, the most telling first; `positive` and `negative` show what two classes share."""

_ON, _STRAY = 0.8, 0.05
_HEAD_HZ = 0.7
_BLINKS_PER_S, _BLINK_S = 0.25, 0.2


@dataclass(frozen=True)
class FaceTraits:
    """What a speaker looks like, whatever the face expresses; colours are RGB in [0, 255].

    Args:
        skin: colour.
        hair: colour.
        backdrop: colour behind the head.
        width: half the width of the face over half its height.
        brow: thickness of the brows, of half the height.
        eye: half the width of an eye, of half the height.
        long_hair: whether hair falls beside the face.
    """

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    backdrop: tuple[float, float, float]
    width: float
    brow: float
    eye: float
    long_hair: bool


@dataclass(frozen=True)
class Motion:
    """How a face moves, at `frames` instants.

    Args:
        units: activation of every action unit in [0, 1], each `(frames,)`.
        head: right and down (of half the face's height), roll (rad), size (factor - 1), yaw, `(frames, 5)`.
    """

    units: dict[int, Array]
    head: Array


_SKINS = ((241, 205, 178), (226, 182, 148), (198, 148, 112), (168, 120, 88), (214, 170, 140))
_HAIRS = ((52, 38, 30), (92, 62, 38), (34, 32, 36), (120, 88, 52), (128, 124, 120))
_BACKDROPS = ((122, 136, 150), (150, 142, 128), (104, 128, 116), (140, 126, 144), (92, 100, 118))


def draw_traits(sex: str, chance: np.random.Generator) -> FaceTraits:
    """Draw the looks of a speaker."""
    skin, hair, backdrop = (table[int(chance.integers(len(table)))] for table in (_SKINS, _HAIRS, _BACKDROPS))
    return FaceTraits(
        skin=skin,
        hair=hair,
        backdrop=backdrop,
        width=float(chance.uniform(0.72, 0.82)),
        brow=float(chance.uniform(0.05, 0.09)),
        eye=float(chance.uniform(0.15, 0.18)),
        long_hair=sex == "F",
    )


def move(symbol: str, strength: float, opening: Array, fps: int, chance: np.random.Generator) -> Motion:
    """Draw how the face moves.

    Args:
        symbol: key of `PROTOTYPES`.
        strength: in [0, 1]; scales the prototype's units.
        opening: of the mouth in speech, in [0, 1], `(frames,)`.
        fps: frames per second.
        chance: for units, blinks and the head.
    """
    time = np.arange(len(opening)) / fps
    prototype = PROTOTYPES[symbol]
    on, stray = chance.random(len(UNITS)) < _ON, chance.random(len(UNITS)) < _STRAY
    units = {}
    for place, unit in enumerate(UNITS):
        height, course = chance.uniform(0.8, 1.0), _course(time, chance)
        telling = unit in prototype and (on[place] or unit == prototype[0])
        units[unit] = course * (height * strength if telling else 0.4 * height if stray[place] else 0.0)
    units[26] = opening
    blinks = chance.uniform(0, time[-1] + 1, size=chance.poisson(_BLINKS_PER_S * (time[-1] + 1)))
    lids = np.clip(1.5 - np.abs(time[:, None] - blinks[None]) / (_BLINK_S / 2), 0, 1)
    units[45] = lids.max(axis=1, initial=0.0)
    sway = _smooth_noise(time, 5, chance) * np.array([0.05, 0.04, 0.05, 0.03, 0.05])
    return Motion(units, sway)


def mouth_opening(plan: Plan, frames: int, fps: int) -> Array:
    """Opening of the mouth in [0, 1] at every frame `(frames,)`, one movement a syllable; it goes with the sound.

    It follows the plan and not the loudness of the voice, which would let the face show the cue of the voice.
    """
    time = np.arange(frames) / fps
    near = 1 - np.abs(time[:, None] - (plan.onsets + plan.slot / 2)[None]) / plan.slot
    shape: Array = np.max(np.clip(near, 0, 1) * (plan.opening * plan.stress)[None], axis=1)
    return shape


def _course(time: Array, chance: np.random.Generator) -> Array:
    """Onset in 0.3 to 0.5 s, apex, offset in 0.5 to 0.8 s: activation in [0, 1], `(frames,)`."""
    rise, fall = chance.uniform(0.3, 0.5), chance.uniform(0.5, 0.8)
    start, stop = chance.uniform(-0.2, 0.25), time[-1] + chance.uniform(-0.1, 0.5)
    ramp = np.clip(np.minimum((time - start) / rise, (stop - time) / fall), 0, 1)
    smooth: Array = ramp**2 * (3 - 2 * ramp)
    return smooth


def _smooth_noise(time: Array, columns: int, chance: np.random.Generator) -> Array:
    """Slow movement of about unit size `(frames, columns)`: values drawn `_HEAD_HZ` times a second, joined smoothly."""
    knots = np.arange(0, time[-1] + 2 / _HEAD_HZ, 1 / _HEAD_HZ)
    values = np.clip(chance.standard_normal((len(knots), columns)), -2, 2)
    before = np.minimum((time * _HEAD_HZ).astype(np.int64), len(knots) - 2)
    part = (time * _HEAD_HZ - before)[:, None]
    glide = part**2 * (3 - 2 * part)
    joined: Array = values[before] * (1 - glide) + values[before + 1] * glide
    return joined
