"""Frames by ResNet-101: which frames, how they are cut, weights of torchvision."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.data.streams import Images
from pipeline.errors import ParamsError
from pipeline.extraction import residual
from pipeline.extractors.resnet101_frames import Options, ResNet101Frames
from tests.streams import scene


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """One block per stage, but where a test asks for the real network."""
    monkeypatch.setitem(residual.BLOCKS, 101, (1, 1, 1, 1))


def made(rate: float = 30.0, weights="random", **options) -> ResNet101Frames:
    return ResNet101Frames(Options(precision="float32", **options), weights, {"rate": rate})


def recording(frames: int, blank: tuple[int, ...] = ()) -> Images:
    """Frame k is plain, 2 k bright; `blank` ones have no bytes."""
    jpegs = [
        b"" if k in blank else cv2.imencode(".jpg", np.full((8, 12, 3), 2 * k, np.uint8))[1].tobytes()
        for k in range(frames)
    ]
    return Images(jpegs, np.arange(frames, dtype=np.float32))


def frames_of(network: ResNet101Frames, content: Images) -> list[int | None]:
    prepared = network.prepare("u", content)
    assert all(image is None or image.shape == (1, 224, 224, 3) for image in prepared)
    return [None if image is None else int(image[0, 100, 100, 0]) // 2 for image in prepared]


@pytest.mark.parametrize(
    ("rate", "hz", "frames", "expected"),
    [
        (30.0, 3.0, 30, [0, 10, 20]),
        (30.0, 3.0, 31, [0, 10, 20, 30]),
        (25.0, 3.0, 25, [0, 8, 17]),  # 0, 8.33, 16.67
        (15.0, 2.0, 20, [0, 7, 15]),  # 7.5: the earlier of two
        (3.0, 3.0, 4, [0, 1, 2, 3]),
        (30.0, 3.0, 1, [0]),
        (10.0, 4.0, 2, [0]),
    ],
)
def test_steps_are_the_frames_nearest_to_multiples_of_the_hop(rate, hz, frames, expected):
    network = made(rate, hz=hz)
    assert frames_of(network, recording(frames)) == expected
    assert network.hop == 1 / hz


def test_frame_without_a_picture_is_not_present():
    network = made()
    assert frames_of(network, recording(30, blank=(10,))) == [0, None, 20]
    (features,) = network.extract([network.prepare("u", recording(30, blank=(10,)))])
    assert features.present.tolist() == [True, False, True]
    assert not features.values[1].any()


def test_more_steps_than_frames_are_refused():
    with pytest.raises(ParamsError, match=r"resnet101_frames\.hz: found 3, expected at most 2, the rate of the stream"):
        made(2.0)


def test_normalisation_and_weights_are_those_of_torchvision(tmp_path):
    network = residual.ResNet(residual.BLOCKS[101], caffe=False).eval()
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(1000, 2048)}, tmp_path / "resnet101.pth")
    ours = made(weights=tmp_path / "resnet101.pth")
    (image,) = prepared = ours.prepare("u", Images([scene(0)], np.zeros(1, np.float32)))
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = network((pixels - mean) / deviation).numpy()
    (features,) = ours.extract([prepared])
    np.testing.assert_allclose(features.values, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_a_batch_gives_the_numbers_of_a_batch_of_one():
    network = made(3.0)
    jpegs = [scene(step) for step in range(18)]
    times = np.zeros(1, np.float32)
    (together,) = network.extract([network.prepare("u", Images(jpegs, np.zeros(18, np.float32)))])
    alone = np.concatenate([network.extract([network.prepare("u", Images([j], times))])[0].values for j in jpegs])
    np.testing.assert_allclose(together.values, alone, rtol=0, atol=1e-5 * abs(alone).max())


def test_untrained_network_gives_the_numbers_measured_before(monkeypatch):
    """At full size; torch 2.13.0, opencv 4.14.0."""
    monkeypatch.undo()
    network = made()
    (features,) = network.extract([network.prepare("u", Images([scene(3)], np.zeros(1, np.float32)))])
    assert features.values.shape == (1, 2048)
    np.testing.assert_allclose(features.values[0, [0, 1, 1000, 2047]], GOLDEN, rtol=2e-3, atol=1e-6)


GOLDEN = [2.578974e-3, 2.115965e-3, 5.562873e-3, 8.374188e-5]
