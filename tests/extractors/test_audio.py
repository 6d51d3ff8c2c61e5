"""openSMILE's and librosa's own numbers, the length formulas, levels, pooling."""

import wave
from pathlib import Path

import av
import librosa
import numpy as np
import opensmile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.streams import AUDIO_RATE, write_audio
from pipeline.errors import ParamsError
from pipeline.extractors.mfcc import mel_filters
from pipeline.extractors.protocol import pool

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "ravdess_clips"


@pytest.fixture
def extract_pcm(run, tmp_path):
    """`extract_pcm(pcm, extractor, **options)` gives the values of one recording."""

    def extract(pcm: np.ndarray, extractor: str, **options: float | str) -> np.ndarray:
        write_audio(tmp_path / "audio.h5", [("u", pcm)], {"rate": AUDIO_RATE}, [])
        with run(tmp_path / "audio.h5", tmp_path / "store.h5", extractor, "audio", options) as store:
            return store.row("u")[0]

    return extract


def write_wav(path: Path, pcm: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        file.writeframes(pcm.tobytes())


SETS = {"egemaps": opensmile.FeatureSet.eGeMAPSv02, "compare2016": opensmile.FeatureSet.ComParE_2016}
LEVELS = {
    "lld": opensmile.FeatureLevel.LowLevelDescriptors,
    "functionals": opensmile.FeatureLevel.Functionals,
}
WIDTHS = {
    ("egemaps", "lld"): 25,
    ("egemaps", "functionals"): 88,
    ("compare2016", "lld"): 65,
    ("compare2016", "functionals"): 6373,
}


def own_call(path: Path, extractor: str, level: str) -> np.ndarray:
    return opensmile.Smile(SETS[extractor], LEVELS[level]).process_file(str(path)).to_numpy()


@pytest.mark.parametrize(("extractor", "level"), WIDTHS)
def test_values_equal_opensmile_on_a_file_of_the_same_samples(extract_pcm, make_voice, tmp_path, extractor, level):
    pcm = make_voice(1.7, 180.0)
    write_wav(tmp_path / "voice.wav", pcm)
    values = extract_pcm(pcm, extractor, level=level)
    np.testing.assert_array_equal(values, own_call(tmp_path / "voice.wav", extractor, level))
    assert values.shape == (166 if level == "lld" else 1, WIDTHS[extractor, level])


@pytest.mark.real_data
@pytest.mark.parametrize(("extractor", "level"), WIDTHS)
def test_values_equal_opensmile_on_a_real_recording(extract_pcm, tmp_path, extractor, level):
    clip = CLIPS / "01-01-01-01-01-01-01.mp4"
    if not clip.is_file():
        pytest.skip(f"no {clip.name} beside the checkout")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=AUDIO_RATE)
    with av.open(str(clip)) as container:
        pieces = [p.to_ndarray().ravel() for frame in container.decode(audio=0) for p in resampler.resample(frame)]
    pcm = np.concatenate(pieces)
    write_wav(tmp_path / "clip.wav", pcm)
    values = extract_pcm(pcm, extractor, level=level)
    np.testing.assert_array_equal(values, own_call(tmp_path / "clip.wav", extractor, level))
    if (extractor, level) == ("egemaps", "lld"):
        assert (values[:, 10] > 0).any(), "a spoken sentence has voiced frames, and so a pitch"


def test_default_levels_are_lld_for_egemaps_and_functionals_for_compare2016(extract_pcm, make_voice):
    pcm = make_voice(0.2)
    assert extract_pcm(pcm, "egemaps").shape == (16, 25)
    assert extract_pcm(pcm, "compare2016").shape == (1, 6373)


@pytest.mark.parametrize(("extractor", "level"), WIDTHS)
@pytest.mark.parametrize("samples", [1, 100, 959])
def test_recording_too_short_for_opensmile_is_followed_by_silence(extract_pcm, make_voice, extractor, level, samples):
    pcm = make_voice(0.1)[:samples]
    padded = np.pad(pcm, (0, 960 - samples))
    values = extract_pcm(pcm, extractor, level=level)
    assert len(values) == (2 if level == "lld" else 1)
    np.testing.assert_array_equal(values, extract_pcm(padded, extractor, level=level))


@pytest.mark.parametrize("extractor", SETS)
def test_hop_is_refused_where_there_is_one_vector_in_all(extract_pcm, extractor):
    with pytest.raises(ParamsError, match=rf"options\.{extractor}.*hop is 0\.04 and level functionals"):
        extract_pcm(np.ones(960, np.int16), extractor, level="functionals", hop=0.04)


@pytest.mark.parametrize(
    ("samples", "steps"), [(1, 2), (959, 2), (960, 2), (1119, 2), (1120, 3), (1280, 4), (16000, 96), (64000, 396)]
)
def test_egemaps_length_is_that_of_60_ms_windows(extract_pcm, make_voice, samples, steps):
    assert len(extract_pcm(make_voice(4.0)[:samples], "egemaps")) == steps == max(0, samples - 960) // 160 + 2


@pytest.mark.parametrize("samples", [1, 159, 160, 399, 400, 16000])
def test_mfcc_length_is_one_more_than_the_whole_hops(extract_pcm, make_voice, samples):
    assert len(extract_pcm(make_voice(1.0)[:samples], "mfcc")) == 1 + samples // 160


def test_mfcc_equals_librosa_with_its_centred_frames(extract_pcm, make_voice):
    pcm = make_voice(1.0)
    expected = librosa.feature.mfcc(
        y=pcm.astype(np.float32) / 32768, sr=AUDIO_RATE, n_mfcc=40, n_fft=400, hop_length=160, window="hamming"
    )
    values = extract_pcm(pcm, "mfcc")
    np.testing.assert_allclose(values[:, :40].T, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    inner = slice(8, -8)  # librosa's default extrapolates at the ends; away from them the two agree
    np.testing.assert_allclose(values[inner, 40:80].T, librosa.feature.delta(expected)[:, inner], atol=1e-3)
    np.testing.assert_allclose(values[inner, 80:].T, librosa.feature.delta(expected, order=2)[:, inner], atol=1e-3)


def test_mfcc_filters_and_deltas_are_those_of_librosa(extract_pcm, make_voice):
    theirs = librosa.filters.mel(sr=AUDIO_RATE, n_fft=400)
    np.testing.assert_allclose(mel_filters(), theirs, rtol=0, atol=1e-7 * theirs.max())
    values = extract_pcm(make_voice(0.3), "mfcc")
    for order, columns in ((1, slice(40, 80)), (2, slice(80, 120))):
        deltas = librosa.feature.delta(values[:, :40].T, order=order, mode="nearest")
        np.testing.assert_allclose(values[:, columns].T, deltas, rtol=0, atol=1e-4)


def test_quietest_mfcc_frame_is_80_db_below_the_loudest(extract_pcm, make_voice):
    pcm = np.concatenate([make_voice(0.3), np.zeros(4800, np.int16)])
    first = extract_pcm(pcm, "mfcc")[-1, 0] / np.sqrt(128)  # the mean of the bands in dB
    spectrum = np.abs(librosa.stft(pcm / 32768, n_fft=400, hop_length=160, window="hamming", pad_mode="constant")) ** 2
    loudest = 10 * np.log10((librosa.filters.mel(sr=AUDIO_RATE, n_fft=400) @ spectrum).max())
    assert first == pytest.approx(loudest - 80, abs=1e-3)


def test_deltas_of_a_single_frame_are_zero(extract_pcm):
    values = extract_pcm(np.full(100, 500, np.int16), "mfcc")
    assert values.shape == (1, 120)
    np.testing.assert_allclose(values[:, 40:], 0, atol=1e-5)
    assert np.abs(values[:, :40]).max() > 1


@pytest.mark.parametrize("extractor", ["egemaps", "mfcc"])
def test_hop_averages_consecutive_frames(extract_pcm, make_voice, extractor):
    pcm = make_voice(0.5)
    frames = extract_pcm(pcm, extractor).astype(np.float64)
    pooled = extract_pcm(pcm, extractor, hop=0.04)
    assert len(frames) % 4, "the last step has to be a partial one for this test"
    expected = [frames[start : start + 4].mean(0) for start in range(0, len(frames), 4)]
    np.testing.assert_array_equal(pooled, np.float32(expected))


@pytest.mark.parametrize("hop", [0.005, 0.0, -0.01, 0.015, float("nan")])
@pytest.mark.parametrize("extractor", ["egemaps", "mfcc"])
def test_hop_that_is_no_multiple_of_10_ms_is_refused(extract_pcm, extractor, hop):
    with pytest.raises(ParamsError, match=rf"^params\.yaml: features\.tested\.options\.{extractor}\.hop: "):
        extract_pcm(np.ones(100, np.int16), extractor, hop=hop)


@given(frames=st.integers(0, 40), width=st.integers(1, 3), group=st.integers(1, 12))
def test_pooling_keeps_the_total(frames, width, group):
    values = np.arange(frames * width, dtype=np.float32).reshape(frames, width)
    pooled = pool(values, group)
    sizes = [len(values[start : start + group]) for start in range(0, frames, group)]
    assert len(pooled) == -(-frames // group)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose((pooled * np.array(sizes).reshape(-1, 1)).sum(0), values.sum(0), rtol=1e-5)
