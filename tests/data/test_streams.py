"""Decoded streams come back as they were written, absence included."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.streams import AudioStream, Images, ImageStream, TextStream, write_audio, write_images, write_text
from pipeline.errors import DataError


def named(items: list[object]) -> list[tuple[str, object]]:
    return [(f"u{i:02d}", item) for i, item in enumerate(items)]


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=6))
def test_transcripts_round_trip(tmp_path: Path, texts: list[str]) -> None:
    write_text(tmp_path / "text.h5", named(texts), {"x": 1}, ["q"])
    with TextStream(tmp_path / "text.h5") as stream:
        assert [stream.row(utt_id) for utt_id in stream.ids] == texts
        assert stream.excluded == ["q"]
        assert stream.attrs == {"x": 1}


@given(tracks=st.lists(st.lists(st.integers(-32768, 32767), max_size=20), max_size=5))
def test_sound_round_trips(tmp_path: Path, tracks: list[list[int]]) -> None:
    write_audio(tmp_path / "audio.h5", named([np.asarray(t, np.int16) for t in tracks]), {"rate": 16000}, [])
    with AudioStream(tmp_path / "audio.h5") as stream:
        assert [stream.row(utt_id).tolist() for utt_id in stream.ids] == tracks
        assert all(stream.row(utt_id).dtype == np.int16 for utt_id in stream.ids)


@given(clips=st.lists(st.lists(st.binary(max_size=9), max_size=6), max_size=5))
def test_images_round_trip_and_a_frame_with_nothing_to_see_keeps_its_place(
    tmp_path: Path, clips: list[list[bytes]]
) -> None:
    rows = named([Images(jpegs, np.arange(len(jpegs), dtype=np.float32) / 5) for jpegs in clips])
    write_images(tmp_path / "faces.h5", rows, {"rate": 5.0}, [])
    with ImageStream(tmp_path / "faces.h5") as stream:
        assert stream.rate == 5.0
        for utt_id, jpegs in zip(stream.ids, clips, strict=True):
            images = stream.row(utt_id)
            assert images.jpegs == jpegs
            assert np.allclose(images.times, np.arange(len(jpegs)) / 5)


def test_every_image_needs_its_time(tmp_path: Path) -> None:
    rows = [("u", Images([b"x", b"y"], np.zeros(1, np.float32)))]
    with pytest.raises(DataError, match="u: frame_times has 1 steps, its neighbours 2"):
        write_images(tmp_path / "faces.h5", rows, {"rate": 5.0}, [])


def test_one_kind_of_stream_is_not_taken_for_another(tmp_path: Path) -> None:
    write_text(tmp_path / "text.h5", [("u", "yes")], {}, [])
    with pytest.raises(DataError, match=r"text\.h5: not a readable store"):
        ImageStream(tmp_path / "text.h5")
