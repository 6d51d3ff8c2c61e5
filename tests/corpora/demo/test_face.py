"""The face: a detector finds it, units move it, and speakers' looks carry no class."""

import cv2
import numpy as np
import pytest

from pipeline.corpora.demo import face, noise, speech
from pipeline.corpora.demo.portrait import Drawer
from pipeline.corpora.demo.symbols import ALPHABET
from pipeline.seeding import stream


def motion(symbol: str, take: int = 0, strength: float = 1.0) -> face.Motion:
    plan = speech.plan("after the meeting on Tuesday", 2.0, stream(take, "plan"))
    return face.move(symbol, strength, face.mouth_opening(plan, 20, 10), 10, stream(take, "face"))


def test_every_symbol_of_vision_has_a_prototype():
    assert set(face.PROTOTYPES) == set(ALPHABET) - {"absent", "high", "low"}


@pytest.mark.parametrize("px", [64, 128])
def test_the_haar_cascade_finds_one_face_in_over_95_percent_of_frames(px: int):
    detector = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    found = []
    for speaker in range(10):
        drawer = Drawer(face.draw_traits("FM"[speaker % 2], stream(speaker, "looks")), px)
        for symbol in face.PROTOTYPES:
            moves = motion(symbol, speaker)
            for index in range(0, 20, 6):
                grey = cv2.cvtColor(drawer.frame(moves, index), cv2.COLOR_RGB2GRAY)
                boxes = detector.detectMultiScale(grey, 1.1, 3, minSize=(px // 5, px // 5))
                found.append(len(boxes) == 1 and boxes[0][2] > px // 3)
    assert np.mean(found) > 0.95


def test_no_face_is_found_on_the_backdrop():
    detector = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    for speaker in range(10):
        drawer = Drawer(face.draw_traits("F", stream(speaker, "looks")), 128)
        assert len(detector.detectMultiScale(cv2.cvtColor(drawer.backdrop, cv2.COLOR_RGB2GRAY), 1.1, 3)) == 0


@pytest.mark.parametrize("unit", [*face.UNITS, 26, 45])
def test_every_action_unit_changes_the_picture(unit: int):
    drawer = Drawer(face.draw_traits("M", stream(1)), 128)
    still = face.Motion({u: np.zeros(2) for u in (*face.UNITS, 26, 45)}, np.zeros((2, 5)))
    still.units[unit][1] = 1.0
    first, second = (drawer.frame(still, index).astype(int) for index in range(2))
    assert np.abs(first - second).max() > 20


def test_prototype_units_are_on_and_follow_onset_apex_and_offset():
    peaks = np.array([[motion("joy", take).units[unit].max() for unit in (12, 6, 25)] for take in range(60)])
    assert (peaks[:, 0] >= 0.8).all()
    assert np.mean(peaks[:, 1:] > 0) == pytest.approx(0.8, abs=0.12)
    rising = motion("joy").units[12]
    assert rising[0] < rising.max()
    assert np.abs(np.diff(rising)).max() < 0.6


def test_strength_scales_the_units():
    assert motion("joy", strength=0.5).units[12] == pytest.approx(0.5 * motion("joy").units[12])
    assert motion("sadness", strength=0.0).units[4].max() == 0.0


def test_stray_units_are_rare_and_weak_in_a_neutral_face():
    peaks = np.array([[motion("neutral", take).units[unit].max() for unit in face.UNITS] for take in range(60)])
    assert np.mean(peaks > 0) == pytest.approx(0.05, abs=0.03)
    assert peaks.max() <= 0.4


def test_the_head_the_lids_and_the_mouth_move_alike_whatever_is_expressed():
    one, other = motion("anger", 3), motion("calm", 3)
    assert np.array_equal(one.head, other.head)
    assert np.array_equal(one.units[45], other.units[45])
    assert np.array_equal(one.units[26], other.units[26])
    assert one.units[26].max() > 0.3


def test_lost_frames_show_the_backdrop_and_covered_clips_hide_a_part():
    drawer = Drawer(face.draw_traits("F", stream(2)), 64)
    moves = motion("neutral")
    frames = [drawer.frame(moves, index) for index in range(20)]
    lost = noise.degrade_pictures(frames, drawer.backdrop, noise.Level(None, 0, 0, 0, 1.0, 0), stream(1))
    assert all(np.array_equal(frame, drawer.backdrop) for frame in lost)
    covered = noise.degrade_pictures(frames, drawer.backdrop, noise.Level(None, 0, 0, 1.0, 0, 0), stream(1))
    assert all(np.any(one != other) for one, other in zip(frames, covered, strict=True))
    assert np.mean(covered[0] != frames[0]) < 0.05


def test_blur_smooths_and_level_zero_changes_nothing():
    drawer = Drawer(face.draw_traits("F", stream(2)), 64)
    frames = [drawer.frame(motion("neutral"), 0)]
    blurred = noise.degrade_pictures(frames, drawer.backdrop, noise.Level(None, 0, 4.0, 0, 0, 0), stream(1))
    assert cv2.Laplacian(blurred[0], cv2.CV_64F).std() < cv2.Laplacian(frames[0], cv2.CV_64F).std() / 2
    assert noise.degrade_pictures(frames, drawer.backdrop, noise.LEVELS[0], stream(1))[0] is frames[0]
