"""One pass gives what a file holds; every kind of damage is said."""

import cv2
import numpy as np
import pytest

from pipeline.decode.damage import CorruptMedia
from pipeline.decode.media import read_media


def read(path, **options):
    frames = []
    media = read_media(path, lambda time, frame: frames.append(time), **{"sound": True, **options})
    return media, frames


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ("libx264", "aac")),
        ("a.mkv", ("libx264", "aac")),
        ("a.avi", ("mpeg4", "pcm_s16le")),
        ("a.ts", ("mpeg2video", "mp2")),
    ],
)
def test_frames_and_samples_are_those_of_the_file(make_media, tmp_path, name, codecs):
    media, frames = read(make_media(tmp_path / name, video_codec=codecs[0], audio_codec=codecs[1]))
    assert len(frames) == 50
    assert np.allclose(np.diff(frames), 0.04)
    assert (media.width, media.height, media.fps) == (128, 96, 25.0)
    assert (media.audio_rate, media.audio_channels) == (48_000, 2)
    assert 96_000 <= media.audio_samples < 98_048
    assert media.duration == pytest.approx(max(frames[-1] + 0.04, media.audio_start + media.audio_samples / 48_000))
    assert len(media.pcm) == pytest.approx((media.audio_start + media.audio_samples / 48_000) * 16_000, abs=1)


def test_without_listener_the_picture_is_not_decoded(make_media, tmp_path):
    media = read_media(make_media(tmp_path / "a.mp4"), None, sound=True)
    assert media.width == 0
    assert len(media.pcm) >= 32_000


def test_a_file_of_which_nothing_is_read_still_has_its_length(make_media, tmp_path):
    media = read_media(make_media(tmp_path / "a.mp4", sound=None), None, sound=True)
    assert len(media.pcm) == 0
    assert media.duration == pytest.approx(2.0)


def test_late_sound_keeps_its_place(make_media, tmp_path):
    media, _ = read(make_media(tmp_path / "a.mp4", sound_from=0.5))
    heard = np.flatnonzero(np.abs(media.pcm.astype(int)) > 1000)[0]
    assert heard == pytest.approx(8000, abs=100)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("quiet.mp4", {"sound": None}),
        ("moov_last.mp4", {"faststart": False}),
        ("a.avi", {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"}),
        ("quiet.avi", {"video_codec": "mpeg4", "sound": None}),
        ("a.wav", {"picture": None, "audio_codec": "pcm_s16le"}),
        ("a.flac", {"picture": None, "audio_codec": "flac"}),
    ],
)
def test_a_file_cut_off_anywhere_is_corrupt(make_media, tmp_path, name, options, share):
    with pytest.raises(CorruptMedia, match=r"cut off|cannot be decoded|not a readable media file"):
        read(cut(make_media(tmp_path / name, **options), share))


def test_a_matroska_file_cut_off_is_shorter_than_its_header_says(make_media, tmp_path):
    with pytest.raises(CorruptMedia, match=r"cut off: 1\.\d+ s, the header says 2\.\d+ s"):
        read(cut(make_media(tmp_path / "a.mkv"), 0.6))


def test_a_file_cut_off_between_two_frames_is_corrupt(make_media, tmp_path):
    path = make_media(tmp_path / "a.avi", video_codec="mpeg4", sound=None)
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"00dc", 0, data.rfind(b"idx1"))])
    with pytest.raises(CorruptMedia, match=r"cut off: 1\.96 s of video, the header says 2\.00 s"):
        read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is no film\n" * 50, "not a readable media file"),
        (bytes(50_000), "not a readable media file"),
        (cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes(), "still picture"),
    ],
)
def test_what_is_not_a_film_is_corrupt(tmp_path, content, reason):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(CorruptMedia, match=reason):
        read(path)


def test_a_file_of_subtitles_has_neither_picture_nor_sound(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nhello\n")
    with pytest.raises(CorruptMedia, match="neither picture nor sound"):
        read(path)


@pytest.mark.parametrize("stream", ["picture", "sound"])
def test_flipped_bytes_inside_are_corrupt(make_media, tmp_path, stream):
    others = {"sound": None} if stream == "picture" else {"picture": None}
    path = make_media(tmp_path / "a.mp4", **others)
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    rng = np.random.default_rng(0)
    for place in rng.integers(start + 50, len(data), 300):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(CorruptMedia):
        read(path)


def test_the_reason_does_not_name_the_folder(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing of use" * 100)
    with pytest.raises(CorruptMedia) as caught:
        read(path)
    assert str(tmp_path) not in str(caught.value)


def noise(index):
    return np.random.default_rng(index).integers(0, 255, (96, 128, 3), np.uint8)


def test_a_frame_that_the_decoder_had_to_guess_is_corrupt(make_media, tmp_path):
    path = make_media(tmp_path / "a.mp4", 0.4, picture=noise, sound=None)
    data = bytearray(path.read_bytes())
    for place in np.linspace(data.find(b"mdat") + 1000, len(data) - 1000, 12).astype(int):
        data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(CorruptMedia, match=r"video has a damaged frame at \d\.\d\d s"):
        read(path)


def test_a_header_without_frames_is_corrupt(make_media, tmp_path):
    path = make_media(tmp_path / "a.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + 4])
    with pytest.raises(CorruptMedia, match="no frame could be decoded"):
        read(path)


def test_sound_that_is_not_finite_is_corrupt(make_media, tmp_path):
    sound = np.zeros(1600)
    sound[800] = np.nan
    path = make_media(tmp_path / "a.wav", picture=None, sound=sound, audio_codec="pcm_f32le")
    with pytest.raises(CorruptMedia, match="samples that are not finite"):
        read(path)


@pytest.mark.parametrize("name", ["a.h264", "a.avi"])
def test_frames_without_true_times_are_counted(make_media, tmp_path, name):
    _, frames = read(make_media(tmp_path / name, sound=None))
    assert np.allclose(frames, np.arange(50) / 25)
