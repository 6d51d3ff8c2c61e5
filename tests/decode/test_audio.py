"""Mixing is exact arithmetic; resampling keeps length and place."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.audio import Track, mono_weights
from pipeline.decode.damage import CorruptMedia
from pipeline.decode.media import read_media

LAYOUTS = {"mono": ["FC"], "stereo": ["FL", "FR"]}
SURROUND = ["FL", "FR", "FC", "LFE", "BL", "BR"]


def mixed(samples, layout):
    track = Track(16_000, LAYOUTS[layout])
    track.add(_frame(samples, layout=layout))
    return track.finish(0.0).tolist()


def test_stereo_is_the_mean():
    assert mixed(np.float32([[0.5, -1.0, 0.25], [0.0, -1.0, 0.75]]), "stereo") == [8192, -32768, 16384]


def test_mono_is_itself():
    assert mixed(np.float32([[0.25, -0.75]]), "mono") == [8192, -24576]


def test_surround_has_the_weights_of_bs775_and_no_subwoofer():
    root = 0.5**0.5
    total = 1 + 2 * root + 2 * 0.5
    expected = np.array([root, root, 1.0, 0.0, 0.5, 0.5]) / total
    assert np.allclose(mono_weights(SURROUND), expected, atol=1e-7)


def test_unknown_layout_is_averaged():
    assert np.allclose(mono_weights(["A0", "A1", "A2"]), 1 / 3)


def test_subwoofer_alone_is_kept():
    assert mono_weights(["LFE"]).tolist() == [1.0]


@given(st.lists(st.sampled_from([*SURROUND, "SL", "SR", "BC", "FLC"]), min_size=1, max_size=8, unique=True))
def test_full_scale_stays_full_scale(names):
    assert abs(float(mono_weights(names).sum()) - 1.0) < 1e-6


@pytest.mark.parametrize("channel", range(6))
def test_each_channel_of_a_surround_wav_arrives_with_its_weight(make_media, tmp_path, channel):
    sound = np.zeros((6, 1600), np.float32)
    sound[channel] = np.random.default_rng(channel).integers(-16384, 16384, 1600) / 32768
    path = make_media(tmp_path / "a.wav", picture=None, sound=sound, rate=16_000, layout="5.1", audio_codec="pcm_s16le")
    pcm = read_media(path, None, sound=True).pcm
    expected = np.round(sound[channel] * mono_weights(SURROUND)[channel] * 32768)
    assert len(pcm) == 1600
    assert np.abs(pcm - expected).max() <= 1


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_s24le"])
def test_every_sample_format_gives_the_same_sound(make_media, tmp_path, codec):
    sound = np.random.default_rng(0).integers(-127, 128, (1, 1600)) / 128
    path = make_media(tmp_path / "a.wav", picture=None, sound=sound, rate=16_000, layout="mono", audio_codec=codec)
    assert np.array_equal(read_media(path, None, sound=True).pcm, sound[0] * 32768)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_resampling_keeps_length_and_place(make_media, tmp_path, rate):
    sound = np.zeros((1, rate), np.float32)
    sound[0, rate // 2] = 0.9
    path = make_media(tmp_path / "a.wav", picture=None, sound=sound, rate=rate, layout="mono", audio_codec="pcm_s16le")
    pcm = read_media(path, None, sound=True).pcm
    assert len(pcm) == 16_000
    assert abs(int(np.argmax(np.abs(pcm.astype(int)))) - 8000) <= 1


def _frame(samples: np.ndarray, rate: int = 16_000, layout: str = "mono") -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), "fltp", layout)
    frame.sample_rate = rate
    return frame


def test_late_sound_is_filled_and_early_sound_cut():
    late, early = Track(16_000, ["FC"]), Track(16_000, ["FC"])
    samples = np.full((1, 160), 0.5)
    late.add(_frame(samples))
    early.add(_frame(samples))
    assert late.finish(0.005).tolist() == [0] * 80 + [16_384] * 160
    assert early.finish(-0.005).tolist() == [16_384] * 80


def test_long_tracks_do_not_depend_on_how_they_arrive():
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, (1, 200_000))
    pieces, whole = Track(48_000, ["FC"]), Track(48_000, ["FC"])
    whole.add(_frame(samples, 48_000))
    for start in range(0, 200_000, 1000):
        pieces.add(_frame(samples[:, start : start + 1000], 48_000))
    assert np.array_equal(pieces.finish(0.0), whole.finish(0.0))


def test_a_track_without_frames_is_empty():
    assert len(Track(16_000, ["FC"]).finish(0.0)) == 0


def test_a_change_of_layout_or_a_nan_is_refused():
    track = Track(16_000, ["FC"])
    track.add(_frame(np.zeros((1, 10))))
    with pytest.raises(CorruptMedia, match="sound changes from mono fltp at 16000 Hz to stereo fltp at 16000 Hz"):
        track.add(_frame(np.zeros((2, 10)), layout="stereo"))
    track.add(_frame(np.full((1, 10), np.nan)))
    with pytest.raises(CorruptMedia, match="not finite"):
        track.finish(0.0)
