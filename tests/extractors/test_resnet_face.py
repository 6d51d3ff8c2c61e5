"""Faces by ResNet-50: frames without a face, reduction of the width, colours, weights."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.data.streams import Images
from pipeline.errors import DataError
from pipeline.extraction import residual
from pipeline.extractors import resnet_face
from pipeline.extractors.resnet_face import Options, ResNetFace
from tests.streams import face


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """One block per stage and pictures of 64 pixels, but where a test asks for the real network."""
    monkeypatch.setitem(residual.BLOCKS, 50, (1, 1, 1, 1))
    monkeypatch.setattr(resnet_face, "_SIDE", 64)


def made(weights="random", **options) -> ResNetFace:
    return ResNetFace(Options(precision="float32", **options), weights, {"rate": 5.0})


def images(*jpegs: bytes) -> Images:
    return Images(list(jpegs), np.arange(len(jpegs), dtype=np.float32) / 5)


def extracted(network: ResNetFace, *contents: Images) -> list:
    return network.extract([network.prepare("u", content) for content in contents])


def test_width_follows_from_the_reduction_and_hop_from_the_stream():
    assert (made().dim, made().hop) == (512, 0.2)
    assert made(reduce="none").dim == 2048


def test_frame_without_a_face_keeps_its_place_and_is_zero():
    (features,) = extracted(made(), images(face(0), b"", face(30)))
    assert features.present.tolist() == [True, False, True]
    assert features.values.shape == (3, 512)
    assert not features.values[1].any()
    assert features.values[[0, 2]].any(axis=1).all()


def test_reduction_is_the_mean_of_four_consecutive_channels():
    (all_of_them,) = extracted(made(reduce="none"), images(face(0)))
    (reduced,) = extracted(made(), images(face(0)))
    expected = all_of_them.values.reshape(1, 512, 4).mean(2)
    np.testing.assert_allclose(reduced.values, expected, rtol=1e-5, atol=1e-6)


def test_a_batch_gives_the_numbers_of_a_batch_of_one():
    network, faces = made(), [face(turn) for turn in range(0, 180, 10)]
    (together,) = extracted(network, images(*faces))
    alone = np.concatenate([extracted(network, images(jpeg))[0].values for jpeg in faces])
    np.testing.assert_allclose(together.values, alone, rtol=0, atol=1e-5 * abs(alone).max())


def test_network_sees_blue_first_less_the_mean(monkeypatch):
    monkeypatch.setattr(resnet_face, "_build", lambda *given: Means())
    orange = np.empty((64, 64, 3), np.uint8)
    orange[:] = (20, 120, 220)  # blue, green, red
    jpeg = cv2.imencode(".jpg", orange, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    network = made()
    network.dim = 3
    (features,) = extracted(network, images(jpeg))
    np.testing.assert_allclose(features.values[0], [20 - 91.4953, 120 - 103.8827, 220 - 131.0912], atol=1.5)


class Means(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))


def test_converted_weights_are_loaded_with_their_classifier_left_out(tmp_path):
    network = residual.ResNet(residual.BLOCKS[50], caffe=True)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("batches_tracked")}
    save_file({**state, "fc.weight": torch.zeros(8631, 2048), "fc.bias": torch.zeros(8631)}, tmp_path / "w.safetensors")
    (features,) = extracted(made(tmp_path / "w.safetensors", reduce="none"), images(face(0)))
    prepared = made().prepare("u", images(face(0)))[0]
    pixels = torch.from_numpy(prepared).float().flip(-1) - torch.tensor([91.4953, 103.8827, 131.0912])
    with torch.inference_mode():
        expected = network.eval()(pixels.permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(features.values, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_pickle_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "resnet50_ft_weight.pkl").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(
        DataError, match=r"convert it to safetensors by the lines at the top of pipeline/extractors/resn"
    ):
        extracted(made(tmp_path / "resnet50_ft_weight.pkl"), images(face(0)))


def test_untrained_network_gives_the_numbers_measured_before(monkeypatch):
    """At full size; torch 2.13.0, opencv 4.14.0."""
    monkeypatch.undo()
    (features,) = extracted(made(), images(face(20)))
    np.testing.assert_allclose(features.values[0, [0, 1, 100, 511]], GOLDEN, rtol=2e-3)


GOLDEN = [0.532561, 0.795984, 0.318192, 0.365183]
