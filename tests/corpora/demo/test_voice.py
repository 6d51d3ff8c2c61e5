"""The voice: cues can be measured, and nothing else moves with them."""

import numpy as np
import pytest

from pipeline.corpora.demo import noise, speech, voice
from pipeline.corpora.demo.symbols import ALPHABET
from pipeline.seeding import stream

TEXT = "well you know it was around nine and then the phone rang"
MALE = voice.draw_traits("M", stream(1, "speaker"))


def spoken(symbol: str, strength: float = 1.0, take: int = 0, traits: voice.VoiceTraits = MALE) -> np.ndarray:
    plan = speech.plan(TEXT, 3.0, stream(take, "plan"))
    return voice.speak(plan, 48_000, symbol, strength, traits, stream(take, "voice"))


def level(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(signal**2)))


def pitch(signal: np.ndarray) -> float:
    """Median F0 of loud frames, by the peak of the autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, 1024)[::320]
    loud = frames[(frames**2).mean(axis=1) > np.percentile((frames**2).mean(axis=1), 60)] * np.hanning(1024)
    ripple = np.fft.irfft(np.abs(np.fft.rfft(loud, 4096)) ** 2)[:, 40:230]
    return float(np.median(voice.RATE / (40 + ripple.argmax(axis=1))))


def slope(signal: np.ndarray) -> float:
    """Level above 2 kHz less the level below 1 kHz, dB."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    hertz = np.fft.rfftfreq(len(signal), 1 / voice.RATE)
    return float(10 * np.log10(power[hertz > 2000].sum() / power[hertz < 1000].sum()))


def mean(measure, symbol: str, strength: float = 1.0) -> float:
    return float(np.mean([measure(spoken(symbol, strength, take)) for take in range(5)]))


def test_every_symbol_of_audio_has_a_voice():
    assert set(voice.CUES) == set(ALPHABET) - {"absent", "negative", "positive"}


def test_aroused_voices_are_higher_louder_and_brighter():
    for measure in (pitch, level, slope):
        anger, joy, neutral, sadness = (mean(measure, name) for name in ("anger", "joy", "neutral", "sadness"))
        assert min(anger, joy) > neutral > sadness


def test_pitch_and_level_shift_by_the_numbers_of_the_cue():
    shift = 12 * np.log2(mean(pitch, "joy") / mean(pitch, "neutral"))
    assert shift == pytest.approx(voice.CUES["joy"].shift, abs=1.5)
    assert mean(level, "sadness") - mean(level, "neutral") == pytest.approx(voice.CUES["sadness"].gain, abs=1.0)


def test_cues_are_graded_and_at_strength_zero_every_voice_is_neutral():
    heights = [mean(pitch, "anger", strength) for strength in (0.0, 0.5, 1.0)]
    assert heights == sorted(heights)
    for symbol in voice.CUES:
        assert np.array_equal(spoken(symbol, 0.0), spoken("neutral", 0.0))


def test_the_sound_stays_in_range_and_repeats():
    for symbol in voice.CUES:
        signal = spoken(symbol)
        assert signal.shape == (48_000,)
        assert np.abs(signal).max() <= 1.0
        assert np.isfinite(signal).all()
    assert np.array_equal(spoken("anger"), spoken("anger"))


def test_women_speak_higher_than_men():
    women = [voice.draw_traits("F", stream(number)).f0 for number in range(20)]
    men = [voice.draw_traits("M", stream(number)).f0 for number in range(20)]
    assert min(women) > max(men)


def test_syllables_lie_within_the_clip_in_order():
    for text in (TEXT, "hm", "psst why"):
        plan = speech.plan(text, 1.2, stream(text))
        assert np.all(np.diff(plan.onsets) > 0)
        assert plan.onsets[0] >= 0
        assert plan.onsets[-1] + plan.slot < 1.2
        assert np.all((plan.stress > 0) & (plan.stress <= 1))


def test_vowels_are_often_those_of_the_text():
    plan = speech.plan(" ".join(["banana"] * 60), 5.0, stream(4))
    assert np.mean(plan.vowels == speech.VOWELS.index("a")) == pytest.approx(0.6, abs=0.12)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_noise_has_the_signal_to_noise_ratio_of_its_level(number: int):
    signal = spoken("neutral")
    setting = noise.Level(noise.LEVELS[number].snr, 0.0, 0.0, 0.0, 0.0, 0.0)
    for take in range(6):
        added = noise.degrade_sound(signal, voice.RATE, setting, stream(take)) - signal
        assert level(signal) - level(added) == pytest.approx(setting.snr, abs=0.1)


def test_dropout_cuts_its_share_of_the_sound():
    signal = np.ones(160_000)
    heard = noise.degrade_sound(signal, voice.RATE, noise.Level(None, 0.2, 0.0, 0.0, 0.0, 0.0), stream(1))
    assert set(np.unique(heard)) == {0.0, 1.0}
    assert 1 - heard.mean() == pytest.approx(0.2, abs=0.08)


def test_level_zero_leaves_the_sound_as_it_is():
    signal = spoken("neutral")
    assert np.array_equal(noise.degrade_sound(signal, voice.RATE, noise.LEVELS[0], stream(1)), signal)
