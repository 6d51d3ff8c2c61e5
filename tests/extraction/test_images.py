"""Pictures: colour order, size, and networks of single pictures."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.errors import DataError
from pipeline.extraction.images import PictureNetwork, decode, middle, resize


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def test_red_comes_first():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes blue, green, red
    assert decode(jpeg(red), "u", 0)[8, 8, 0] > 250
    assert decode(jpeg(red), "u", 0)[8, 8, 2] < 5


def test_grey_has_one_channel():
    assert decode(jpeg(np.full((9, 7), 90, np.uint8)), "u", 0, grey=True).shape == (9, 7)


def test_what_is_no_image_names_utterance_and_frame():
    with pytest.raises(DataError, match=r"^utterance 'u1', frame 7: 4 bytes that are no image, expected JPEG; run dec"):
        decode(b"text", "u1", 7)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (40, 40), (1, 1), (641, 127)])
def test_middle_is_a_square_of_the_size_asked_for(width, height):
    assert middle(np.zeros((height, width, 3), np.uint8), 64, 56).shape == (56, 56, 3)


def test_middle_leaves_pixels_alone_where_the_short_side_fits():
    image = np.random.default_rng(0).integers(0, 256, (64, 101, 3), dtype=np.uint8)
    assert (middle(image, 64, 64) == image[:, 18:82]).all()


def test_shrinking_averages_areas():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize(stripes, 16, 16) == 100).all()


class Mean(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))


@pytest.mark.parametrize(("blue_first", "expected"), [(False, [1.0, 2.0, 3.0]), (True, [3.0, 2.0, 1.0])])
def test_picture_network_normalises_and_keeps_places(blue_first, expected):
    image = np.empty((1, 4, 4, 3), np.uint8)
    image[:] = (12, 24, 36)
    network = PictureNetwork(Mean, "float32", (10.0, 20.0, 30.0), (2.0, 2.0, 2.0), blue_first=blue_first)
    found = network.extract([[None, image], [], [image], [None]], 3)
    assert [features.present.tolist() for features in found] == [[False, True], [], [True], [False]]
    assert found[0].values.tolist() == [[0.0, 0.0, 0.0], expected]
    assert [features.values.shape for features in found] == [(2, 3), (0, 3), (1, 3), (1, 3)]
    assert found[2].values.dtype == np.float32
