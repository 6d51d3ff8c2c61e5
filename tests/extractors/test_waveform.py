"""The waveform: rate, cut, scale."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from pipeline.extractors.waveform import Options, Waveform

GOLDEN = [0.8769927, -0.07920352, 0.8193165, -1.2824463]
"""Steps 0, 100, 400 and 799 of a tenth of a second of a voice, with scipy 1.17.1."""


@pytest.fixture(scope="module")
def waveform():
    extractor = Waveform(Options(), None, {})
    return lambda *clips: [f.values for f in extractor.extract([extractor.prepare("u", clip) for clip in clips])]


@pytest.mark.parametrize(("samples", "steps"), [(1, 1), (2, 1), (3, 2), (16000, 8000), (16001, 8001)])
def test_there_is_a_step_for_every_two_samples(waveform, make_voice, samples, steps):
    (values,) = waveform(make_voice(1.01)[:samples])
    assert values.shape == (steps, 1)
    assert values.dtype == np.float32


def test_mean_square_is_one_whatever_the_loudness(waveform, make_voice):
    pcm = make_voice(0.5)
    loud, quiet = waveform(pcm, pcm // 8)
    assert np.mean(np.square(loud, dtype=np.float64)) == pytest.approx(1, rel=1e-5)
    assert np.mean(np.square(quiet, dtype=np.float64)) == pytest.approx(1, rel=1e-5)


def test_silence_stays_silence(waveform):
    (values,) = waveform(np.zeros(321, np.int16))
    assert values.shape == (161, 1)
    assert not values.any()


def test_tone_keeps_its_frequency_and_what_8_khz_cannot_hold_is_gone(waveform):
    time = np.arange(16000) / 16000
    low, high = 8000 * np.sin(2 * np.pi * 1000 * time), 8000 * np.sin(2 * np.pi * 7000 * time)
    (values,) = waveform((low + high).astype(np.int16))
    spectrum = np.abs(np.fft.rfft(values[:, 0])) ** 2
    assert spectrum.argmax() == 1000
    assert spectrum[998:1003].sum() / spectrum.sum() > 0.999


def test_recording_is_cut_after_thirty_seconds_and_scaled_after_that(waveform, make_voice):
    pcm = np.tile(make_voice(1.0), 33)
    pcm[30 * 16000 + 200 :] = 32767
    (values,) = waveform(pcm)
    assert values.shape == (240000, 1)
    assert np.mean(np.square(values, dtype=np.float64)) == pytest.approx(1, rel=1e-5)
    whole = resample_poly(pcm.astype(np.float32), 1, 2)[:240000]
    np.testing.assert_allclose(values[:, 0], whole / np.sqrt(np.mean(np.square(whole, dtype=np.float64))), atol=1e-5)


def test_numbers_are_those_measured_before(waveform, make_voice):
    (values,) = waveform(make_voice(0.1))
    np.testing.assert_allclose(values[[0, 100, 400, 799], 0], GOLDEN, rtol=1e-4)
