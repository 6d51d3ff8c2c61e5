"""The largest face is found, followed, padded and kept inside the picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import faces
from pipeline.decode.faces import Box, FaceCrop, find_face
from pipeline.decode.media import read_media


def grey(image):
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize(("x", "y", "size"), [(96, 72, 40), (60, 60, 30), (120, 80, 50)])
def test_a_drawn_face_is_found_where_it_is(draw_face, x, y, size):
    box = find_face(grey(draw_face(x=x, y=y, size=size)), None)
    assert abs(box.x + box.side / 2 - x) < size / 4
    assert abs(box.y + box.side / 2 - y) < size / 4
    assert size < box.side < 3 * size


def test_the_largest_face_is_taken(draw_face):
    picture = np.hstack([draw_face(size=25), draw_face(size=45)])
    assert find_face(grey(picture), None).x > 192


def test_no_face_in_an_empty_picture():
    assert find_face(np.full((144, 192), 90, np.uint8), None) is None


def test_a_face_is_searched_near_the_last_box_first(draw_face, monkeypatch):
    picture = grey(np.hstack([draw_face(size=30), draw_face(size=45)]))
    small = find_face(picture[:, :192], None)
    searched = []
    largest = faces._largest
    monkeypatch.setattr(faces, "_largest", lambda part, *sizes: searched.append(part.shape) or largest(part, *sizes))
    again = find_face(picture, small)
    assert again.x < 192
    assert len(searched) == 1
    assert searched[0][1] < 192


def test_a_lost_face_is_searched_everywhere(draw_face):
    picture = grey(draw_face(width=384, x=300, y=72))
    box = find_face(picture, Box(20, 20, 60))
    assert box.x > 200


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.1, 900), st.integers(2, 300), st.integers(2, 300))
def test_a_box_ends_up_inside_the_picture(x, y, side, width, height):
    left, top, pixels = Box(x, y, side).inside(width, height)
    assert 0 <= left <= left + pixels <= width
    assert 0 <= top <= top + pixels <= height
    assert pixels >= 1


def test_padding_grows_a_box_around_its_middle():
    assert Box(10, 20, 100).padded(0.15) == Box(-5, 5, 130)
    assert Box(10, 20, 100).scaled(2) == Box(20, 40, 200)


def test_a_crop_shows_the_face_at_the_size_asked_for(draw_face, make_media, tmp_path):
    def picture(index):
        return draw_face(width=960, height=720, x=600, y=300, size=150)

    crop = FaceCrop(64)
    jpegs = []
    read_media(make_media(tmp_path / "a.mp4", 0.12, picture=picture), lambda t, f: jpegs.append(crop(f)), sound=False)
    for jpeg in jpegs:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (64, 64, 3)
        skin = np.abs(image[24:40, 28:36].astype(int) - (150, 180, 225)).mean()
        assert skin < 25


def test_a_small_face_is_enlarged_and_a_missing_one_has_no_bytes(draw_face, make_media, tmp_path, plain):
    crop = FaceCrop(200)
    jpegs = []
    face = make_media(tmp_path / "a.mp4", 0.08, picture=lambda i: draw_face())
    nobody = make_media(tmp_path / "b.mp4", 0.08, picture=plain)
    for path in (face, nobody):
        read_media(path, lambda t, f: jpegs.append(crop(f)), sound=False)
    assert cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), cv2.IMREAD_COLOR).shape == (200, 200, 3)
    assert jpegs[2:] == [b"", b""]
