"""A source-filter voice of our own: a pulse train with a pitch track, shaped by vowel resonances and noise bursts.

Every cue is measurable by any front end: duration, F0, energy, spectral tilt, jitter. Directions follow the table of
vocal effects of Murray and Arnott (JASA 93(2), 1993); the numbers are ours.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import sosfilt

from pipeline.corpora.demo.speech import VOWELS, Plan

Array = npt.NDArray[np.float64]

RATE = 16_000
"""Hz of every audio track."""


@dataclass(frozen=True)
class Cue:
    """How a voice departs from neutral at full strength.

    Args:
        shift: of F0, semitones.
        span: factor on the F0 movements.
        tempo: factor on the articulation rate.
        gain: dB.
        jitter: standard deviation of a cycle's length, percent of it.
        tilt: of the glottal spectrum, dB per octave.
        slope: of F0 over the clip, semitones; above zero it rises.
        peaks: steps of F0 on every second syllable, semitones.
    """

    shift: float
    span: float
    tempo: float
    gain: float
    jitter: float
    tilt: float
    slope: float
    peaks: float


CUES = {
    "neutral": Cue(0.0, 1.0, 1.0, 0.0, 0.5, -12.0, -1.5, 0.0),
    "anger": Cue(5.0, 1.6, 1.10, 6.0, 1.0, -6.0, -1.5, 2.0),
    "calm": Cue(-3.5, 0.45, 0.90, -2.0, 0.3, -13.5, 0.5, 0.0),
    "joy": Cue(4.0, 1.7, 1.05, 4.0, 0.6, -9.0, 4.0, 0.0),
    "sadness": Cue(-2.0, 0.7, 0.85, -5.0, 0.9, -15.0, -4.0, 0.0),
    "high": Cue(4.5, 1.65, 1.07, 5.0, 0.8, -7.5, -1.5, 0.0),
    "low": Cue(-3.0, 0.6, 0.88, -3.5, 0.6, -14.2, -1.5, 0.0),
}
"""The voice of every symbol; `high` and `low` lie midway between the classes of that arousal."""

_FORMANTS = {
    "a": (730.0, 1090.0, 2440.0, 3400.0),
    "e": (530.0, 1840.0, 2480.0, 3500.0),
    "i": (270.0, 2290.0, 3010.0, 3600.0),
    "o": (570.0, 840.0, 2410.0, 3300.0),
    "u": (300.0, 870.0, 2240.0, 3300.0),
}
"""Hz; F1 to F3 are the men's means of Peterson and Barney (JASA 24(2), 1952), F4 is ours."""

_BANDWIDTHS = (70.0, 100.0, 150.0, 220.0)
_SPEECH_LEVEL = 0.06
_LOWEST_HZ = 80.0
_SAID_SHARE = 0.8
_CONTROL_RATE = 500


@dataclass(frozen=True)
class VoiceTraits:
    """What a speaker's voice is like, whatever it expresses.

    Args:
        f0: habitual pitch, Hz.
        formants: factor on all resonances.
        gain: dB.
        span: factor on the F0 movements.
    """

    f0: float
    formants: float
    gain: float
    span: float


def draw_traits(sex: str, chance: np.random.Generator) -> VoiceTraits:
    """Draw the voice of a speaker; base F0 near 120 Hz (M) and 210 Hz (F) as in Traunmüller and Eriksson (1995)."""
    high = sex == "F"
    return VoiceTraits(
        f0=(210.0 if high else 120.0) * 2 ** float(np.clip(chance.normal(0, 1.2), -2.4, 2.4) / 12),
        formants=float(chance.uniform(1.02, 1.15) if high else chance.uniform(0.9, 1.02)),
        gain=float(chance.uniform(-1.5, 1.5)),
        span=float(chance.uniform(0.85, 1.15)),
    )


def speak(
    plan: Plan, samples: int, symbol: str, strength: float, traits: VoiceTraits, chance: np.random.Generator
) -> Array:
    """Say the plan.

    Args:
        plan: syllables in time.
        samples: length of the result, at `RATE`.
        symbol: key of `CUES`.
        strength: in [0, 1]; scales every cue.
        traits: the speaker.
        chance: for jitter and noise.

    Returns:
        Samples `(samples,)` in [-1, 1].
    """
    cue = _graded(CUES[symbol], strength)
    time, slow = np.arange(samples) / RATE, np.arange(0.0, samples / RATE + 1 / _CONTROL_RATE, 1 / _CONTROL_RATE)
    said = plan.slot * _SAID_SHARE / cue.tempo
    loudness = np.interp(time, slow, _loudness(plan, said, slow))
    f0 = np.interp(time, slow, _pitch(plan, said, slow, cue, traits, chance))
    source = _pulses(f0, cue.jitter, chance) + 0.02 * chance.standard_normal(samples)
    voiced = _resonate(_tilted(source * loudness, cue.tilt), plan, time, traits)
    # The level is set over the whole clip: what it tells is the gain that the cue and the speaker ask for.
    voiced *= _SPEECH_LEVEL / max(float(np.sqrt(np.mean(voiced**2))), 1e-9)
    signal = (voiced + _bursts(plan, samples, chance)) * 10 ** ((cue.gain + traits.gain) / 20)
    limited: Array = np.tanh(signal)
    return limited


def _graded(cue: Cue, strength: float) -> Cue:
    """Lie between the neutral voice and `cue`, contour included."""

    def between(name: str) -> float:
        low, high = float(getattr(CUES["neutral"], name)), float(getattr(cue, name))
        return low + strength * (high - low)

    return Cue(*(between(field.name) for field in fields(Cue)))


def _loudness(plan: Plan, said: float, time: Array) -> Array:
    """Envelope over `time`: every syllable fades in and out within `said` seconds."""
    edge = min(0.03, said / 3)
    since = time[None] - plan.onsets[:, None]
    gate = np.clip(since / edge, 0, 1) * np.clip((said - since) / edge, 0, 1)
    envelope: Array = np.max(plan.stress[:, None] * gate, axis=0)
    return envelope


def _pitch(plan: Plan, said: float, time: Array, cue: Cue, traits: VoiceTraits, chance: np.random.Generator) -> Array:
    """F0 over `time` in Hz: habitual pitch, slope over the clip, an accent on every syllable."""
    place = np.clip((time - plan.onsets[0]) / (plan.onsets[-1] - plan.onsets[0] + said), 0, 1)
    accents = chance.normal(0, 1.0, len(plan.onsets)) + cue.peaks * (np.arange(len(plan.onsets)) % 2)
    bump = np.exp(-0.5 * ((time[None] - plan.onsets[:, None] - said / 2) / (0.35 * said)) ** 2)
    movement = cue.slope * (place - 0.5) + np.sum(accents[:, None] * bump, axis=0)
    semitones = cue.shift + chance.normal(0, 0.7) + cue.span * traits.span * movement
    track: Array = np.clip(traits.f0 * 2 ** (semitones / 12), 60.0, 500.0)
    return track


def _pulses(f0: Array, jitter: float, chance: np.random.Generator) -> Array:
    """One pulse a cycle `(samples,)`, placed between two samples by linear weights; power does not depend on F0."""
    cycles = np.cumsum(f0) / RATE
    at = np.interp(np.arange(1, int(cycles[-1])), cycles, np.arange(len(f0)))
    at = np.clip(at + chance.normal(0, jitter / 100, len(at)) * RATE / f0[at.astype(np.int64)], 0, len(f0) - 2)
    whole = at.astype(np.int64)
    height = np.sqrt(RATE / f0[whole])
    train = np.zeros(len(f0))
    np.add.at(train, whole, height * (1 - (at - whole)))
    np.add.at(train, whole + 1, height * (at - whole))
    return train


def _tilted(source: Array, tilt: float) -> Array:
    """Give a flat source a spectral slope of `tilt` dB per octave, plus 6 for the radiation from the lips."""
    size = next_fast_len(len(source), real=True)
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    weight = np.maximum(hertz / _LOWEST_HZ, 1.0) ** ((tilt + 6.0) / (20 * np.log10(2)))
    weight *= np.minimum(hertz / _LOWEST_HZ, 1.0)
    shaped: Array = irfft(rfft(source, size) * weight, size)[: len(source)]
    return shaped


def _resonate(source: Array, plan: Plan, time: Array, traits: VoiceTraits) -> Array:
    """Filter the source by every vowel that occurs and glide between the results as the plan says."""
    middles = plan.onsets + plan.slot / 2
    voiced = np.zeros_like(source)
    for vowel in np.unique(plan.vowels):
        share = np.interp(time, middles, (plan.vowels == vowel).astype(float))
        voiced += share * sosfilt(_sections(VOWELS[vowel], traits.formants), source)
    return voiced


def _sections(vowel: str, scale: float) -> Array:
    """Two-pole resonators `(4, 6)` in series, each with gain 1 at 0 Hz (Klatt, JASA 67(3), 1980, eq. 2)."""
    sections = []
    for formant, bandwidth in zip(_FORMANTS[vowel], _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / RATE)
        first = -2 * radius * np.cos(2 * np.pi * min(formant * scale, 0.48 * RATE) / RATE)
        sections.append([1 + first + radius**2, 0.0, 0.0, 1.0, first, radius**2])
    return np.array(sections)


def _bursts(plan: Plan, samples: int, chance: np.random.Generator) -> Array:
    """Consonants `(samples,)`: 30 ms of high-pitched noise before two of three syllables."""
    length = int(0.03 * RATE)
    shape = np.hanning(length) * 0.05
    signal = np.zeros(samples)
    for onset in plan.onsets[chance.random(len(plan.onsets)) < 2 / 3]:
        start = max(int(onset * RATE) - length // 2, 0)
        noise = np.diff(chance.standard_normal(length + 1))
        stop = min(start + length, samples)
        signal[start:stop] += (shape * noise)[: stop - start]
    return signal
