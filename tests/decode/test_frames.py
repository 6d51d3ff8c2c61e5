"""Frames are taken at k / rate, whatever the frame rate and however the container rounds times."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.frames import MiddleSquare, Scaler, Strip, WholeFrame, steps
from pipeline.decode.media import read_media


def strip(rate, start=0.0, end=None):
    """A strip whose 'pictures' are the names of the frames."""
    return Strip(start, end, rate, lambda frame: str(frame).encode())


def taken(times, rate, start=0.0, end=None, duration=None, picture_end=None):
    own = strip(rate, start, end)
    for index, time in enumerate(times):
        own.offer(time, index)
    end = times[-1] + 0.04 if end is None else end
    images = own.finish(end - start if duration is None else duration, picture_end or times[-1] + 0.04)
    assert np.allclose(images.times, np.arange(len(images.jpegs)) / rate)
    return [int(jpeg) if jpeg else None for jpeg in images.jpegs]


@given(st.integers(5, 60), st.integers(1, 30), st.integers(5, 90), st.floats(0, 0.9))
def test_the_nearest_frame_is_taken(fps, rate, count, share):
    times = [index / fps for index in range(count)]
    start = share * count / fps
    end = start + count / fps / 2
    got = taken(times, rate, start, end, picture_end=count / fps)
    assert len(got) == steps(end - start, rate)
    for k, index in enumerate(got):
        target = start + k / rate
        if index is None:
            assert target > count / fps + 0.5 / rate
        else:
            assert abs(times[index] - target) <= min(abs(time - target) for time in times) + 1e-5


def test_a_tie_goes_to_the_earlier_frame():
    assert taken([0.0, 0.04, 0.08, 0.12, 0.16], 10) == [0, 2]
    assert taken([0.0, 0.2, 0.4], 10, end=0.3) == [0, 0, 1]


def test_a_span_begins_at_its_start_and_ends_before_its_end():
    times = [index / 25 for index in range(100)]
    assert taken(times, 5, start=1.0, end=2.0) == [25, 30, 35, 40, 45]


def test_steps_after_the_picture_are_empty():
    times = [index / 25 for index in range(25)]
    assert taken(times, 5, duration=2.0, picture_end=1.0) == [0, 5, 10, 15, 20, 24, None, None, None, None]


def test_steps_before_the_picture_are_empty():
    assert taken([1.0, 1.04, 1.08], 5, end=1.1) == [None, None, None, None, None, 0]


def test_a_picture_that_stands_still_is_taken_again():
    assert taken([0.0, 3.0], 1, end=3.5, picture_end=3.5) == [0, 0, 1, 1]


def test_nothing_to_see_is_no_frames():
    own = Strip(0.0, None, 5.0, lambda frame: b"")
    own.offer(0.0, "frame")
    images = own.finish(1.0, 1.0)
    assert images.jpegs == []
    assert images.times.shape == (0,)


def test_an_empty_place_between_frames_is_kept():
    own = Strip(0.0, None, 1.0, lambda frame: b"" if frame == 1 else b"x")
    for index in range(3):
        own.offer(float(index), index)
    assert own.finish(3.0, 3.0).jpegs == [b"x", b"", b"x"]


def test_a_frame_is_made_once():
    calls = []
    own = Strip(0.0, None, 10.0, lambda frame: calls.append(frame) or b"x")
    own.offer(0.0, "a")
    own.offer(1.0, "b")
    assert len(own.finish(2.0, 2.0).jpegs) == 20
    assert calls == ["a", "b"]


def first_frame(path):
    frames = []
    read_media(path, lambda time, frame: frames.append(frame), sound=False)
    return frames


def test_milliseconds_of_a_container_do_not_change_what_is_taken(make_media, tmp_path):
    def chosen(path):
        names = []
        own = Strip(0.0, None, 7.0, lambda frame: names.append(int(frame.to_ndarray(format="gray")[0, 0])) or b"x")
        media = read_media(path, own.offer, sound=False)
        own.finish(2.0, media.picture_end)
        return names

    exact = chosen(make_media(tmp_path / "a.mp4", sound=None))
    rounded = chosen(make_media(tmp_path / "b.mkv", sound=None, times=lambda i: 40 * i + (0, 1, -1)[i % 3] * (i > 0)))
    assert len(exact) == 14
    assert exact == rounded


def test_a_whole_frame_has_its_short_side_in_pixels_and_its_colour(make_media, tmp_path):
    path = make_media(tmp_path / "a.mp4", 0.2, picture=lambda i: np.full((96, 160, 3), (20, 60, 200), np.uint8))
    image = cv2.imdecode(np.frombuffer(WholeFrame(48)(first_frame(path)[0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 80, 3)
    assert np.abs(image.reshape(-1, 3).mean(0) - (20, 60, 200)).max() < 4


@pytest.mark.parametrize("pixels", [40, 150])
def test_the_middle_square_is_the_middle(make_media, tmp_path, pixels):
    def picture(index):
        image = np.zeros((96, 160, 3), np.uint8)
        image[:, 32:128] = 255
        return image

    frame = first_frame(make_media(tmp_path / "a.mp4", 0.2, picture=picture))[0]
    image = cv2.imdecode(np.frombuffer(MiddleSquare(pixels)(frame), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image.shape == (pixels, pixels)
    assert image[:, 4:-4].min() > 200


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(160, 96, (33, 56, 3)), (96, 160, (56, 33, 3)), (96, 96, (33, 33, 3))]
)
def test_the_short_side_is_exact_and_the_long_one_even(make_media, tmp_path, width, height, expected):
    path = make_media(tmp_path / "a.mp4", 0.08, picture=lambda i: np.zeros((height, width, 3), np.uint8), sound=None)
    frame = first_frame(path)[0]
    assert Scaler(33, "bgr24")(frame).shape == expected
    assert Scaler(500, "gray8", enlarge=False)(frame).shape == (height, width)
