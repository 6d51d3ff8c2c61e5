"""Utterances of one recording: spans, natural absence, damage."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.decode import clips
from pipeline.decode.clips import decode_recording
from pipeline.schema import Decode

WHOLE = Decode(streams=("audio", "faces", "frames"), face="whole_frame", face_px=32, frame_hz=25.0, frame_px=32)


def brightness(jpegs):
    return [int(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).mean()) for jpeg in jpegs]


def only(utterances, options=WHOLE):
    good, bad = decode_recording(utterances, options)
    assert not bad
    return good


def test_one_file_is_decoded_once_for_all_its_utterances(make_media, tmp_path, utterance, monkeypatch):
    path = make_media(tmp_path / "a.mp4", 4.0)
    read, calls = clips.read_media, []
    monkeypatch.setattr(clips, "read_media", lambda *a, **k: calls.append(a) or read(*a, **k))
    spans = [(0.0, 1.0), (0.5, 2.5), (3.0, None)]
    several = only([utterance(f"u{i}", path, start=a, end=b) for i, (a, b) in enumerate(spans)])
    assert len(calls) == 1
    alone = [only([utterance(f"u{i}", path, start=a, end=b)])[0] for i, (a, b) in enumerate(spans)]
    for together, single in zip(several, alone, strict=True):
        assert together.row == single.row
        assert np.array_equal(together.pcm, single.pcm)
        assert together.images["faces"].jpegs == single.images["faces"].jpegs


def test_spans_are_cut_to_the_sample_and_the_frame(make_media, tmp_path, utterance):
    sound = np.arange(4 * 16_000, dtype=np.float32) % 16_000 / 32_768
    path = make_media(tmp_path / "a.mkv", 4.0, sound=sound, rate=16_000, layout="mono", audio_codec="pcm_s16le")
    (clip,) = only([utterance("u", path, start=1.0001, end=2.0)])
    assert np.array_equal(clip.pcm, np.arange(2, 16_000))
    assert clip.row["duration"] == pytest.approx(0.9999)
    assert clip.row["audio_samples"] == 15_998
    assert clip.row["video_frames"] == 24
    frames = clip.images["frames"]
    assert len(frames.jpegs) == 25
    assert np.allclose(frames.times, np.arange(25) / 25)
    assert np.abs(np.array(brightness(frames.jpegs)) - 4 * np.arange(25, 50)).max() <= 3


def test_a_whole_file_has_its_own_length(make_media, tmp_path, utterance):
    (clip,) = only([utterance("u", make_media(tmp_path / "a.mp4", sound=None))])
    assert clip.row == {
        "utt_id": "u",
        "duration": 2.0,
        "width": 128,
        "height": 96,
        "fps": 25.0,
        "video_frames": 50,
        "audio_samples": 0,
        "audio_rate": 0,
        "audio_channels": 0,
        "face_frames": 10,
        "faces_found": 10,
        "absent_text": 0,
        "absent_audio": 1,
        "absent_vision": 0,
    }


def test_sound_of_exact_zeros_is_absent_and_quiet_sound_is_not(make_media, tmp_path, utterance):
    zeros = make_media(tmp_path / "a.mp4", sound=np.zeros(96_000))
    quiet = make_media(tmp_path / "b.mp4", sound=1e-3 * np.sin(np.arange(96_000) / 20))
    (absent,), (there,) = only([utterance("a", zeros)]), only([utterance("b", quiet)])
    assert (absent.row["absent_audio"], len(absent.pcm)) == (1, 0)
    assert absent.row["audio_samples"] >= 96_000
    assert (there.row["absent_audio"], len(there.pcm) > 30_000) == (0, True)


def test_a_clip_without_face_has_no_frames_and_a_gap_keeps_its_place(make_media, draw_face, tmp_path, utterance, plain):
    options = Decode(streams=("faces",), face_px=48)
    nobody = make_media(tmp_path / "a.mp4", 1.0, picture=plain)
    half = make_media(
        tmp_path / "b.mp4", 1.0, picture=lambda i: draw_face() if i < 12 else np.zeros((144, 192, 3), np.uint8)
    )
    (absent,), (there,) = only([utterance("a", nobody)], options), only([utterance("b", half)], options)
    assert absent.images["faces"].jpegs == []
    assert (absent.row["absent_vision"], absent.row["faces_found"], absent.row["video_frames"]) == (1, 0, 25)
    assert [bool(jpeg) for jpeg in there.images["faces"].jpegs] == [True, True, True, False, False]
    assert (there.row["absent_vision"], there.row["face_frames"], there.row["faces_found"]) == (0, 5, 3)


def test_no_picture_no_sound_and_no_text_are_absent(make_media, tmp_path, utterance):
    sound = make_media(tmp_path / "a.wav", picture=None, audio_codec="pcm_s16le")
    rows = [
        only([utterance("a", "", sound)])[0].row,
        only([utterance("b", sound, sound)])[0].row,
        only([utterance("c", make_media(tmp_path / "c.mp4"), "")])[0].row,
        only([utterance("d", "", "", text=" \n", end=1.5)])[0].row,
    ]
    absent = [(row["absent_text"], row["absent_audio"], row["absent_vision"]) for row in rows]
    assert absent == [(0, 0, 1), (0, 0, 1), (0, 1, 0), (1, 1, 1)]
    assert rows[3]["duration"] == 1.5
    assert rows[1]["duration"] == 2.0


def test_picture_and_sound_may_be_two_files(make_media, tmp_path, utterance):
    video = make_media(tmp_path / "a.mp4", 2.0)
    sounds = [
        make_media(
            tmp_path / f"{i}.wav",
            2.0,
            picture=None,
            audio_codec="pcm_s16le",
            rate=16_000,
            layout="mono",
            sound=np.full(32_000, 0.1 * i),
        )
        for i in (1, 2)
    ]
    good = only([utterance(f"u{i}", video, sound) for i, sound in enumerate(sounds)])
    assert [clip.pcm[0] for clip in good] == [round(0.1 * 32_768), round(0.2 * 32_768)]
    assert [clip.row["audio_samples"] for clip in good] == [32_000, 32_000]


def test_only_the_streams_asked_for_are_decoded(make_media, tmp_path, utterance):
    path = make_media(tmp_path / "a.mp4")
    (heard,) = only([utterance("u", path)], Decode(streams=("audio",)))
    (seen,) = only([utterance("u", path)], replace_streams("frames"))
    assert (heard.images, heard.row["absent_vision"], heard.row["width"]) == ({}, 1, 0)
    assert (list(seen.images), len(seen.pcm), seen.row["absent_vision"]) == (["frames"], 0, 0)


def replace_streams(*streams):
    return WHOLE.model_copy(update={"streams": streams})


def test_a_span_beyond_the_end_is_quarantined_and_its_neighbour_is_not(make_media, tmp_path, utterance):
    path = make_media(tmp_path / "a.mp4", 2.0, sound=None)
    u = utterance("a", path, start=0.5, end=2.2)
    good, bad = decode_recording(
        [
            u,
            replace(u, utt_id="b", end=2.3),
            replace(u, utt_id="c", start=2.0),
            replace(u, utt_id="d", start=2.5, end=None),
        ],
        WHOLE,
    )
    assert [clip.row["utt_id"] for clip in good] == ["a"]
    assert good[0].row["duration"] == 1.5
    assert [row.utt_id for row in bad] == ["b", "c", "d"]
    assert bad[0].reason == "wrong duration: 2.00 s, the utterance is 0.5 s to 2.3 s"
    assert bad[2].reason == "wrong duration: 2.00 s, the utterance is 2.5 s to its end"


def test_a_corrupt_sound_file_takes_only_its_own_utterances(make_media, tmp_path, utterance):
    video = make_media(tmp_path / "a.mp4")
    empty = tmp_path / "a.wav"
    empty.write_bytes(b"")
    good, bad = decode_recording([utterance("a", video, empty), utterance("b", video)], WHOLE)
    assert [clip.row["utt_id"] for clip in good] == ["b"]
    assert [(row.utt_id, row.file) for row in bad] == [("a", str(empty))]
    assert "zero bytes" in bad[0].reason


def test_a_corrupt_video_takes_all_its_utterances(tmp_path, utterance):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"no film" * 30)
    good, bad = decode_recording([utterance("a", video), utterance("b", video, start=1.0)], WHOLE)
    assert not good
    assert [row.utt_id for row in bad] == ["a", "b"]
