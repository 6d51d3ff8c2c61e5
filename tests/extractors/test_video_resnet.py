"""The 3-D ResNet: windows, outputs, weights of the hub."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.data.streams import Images
from pipeline.extraction.network import Network, seeded
from pipeline.extraction.video import build_video_network, pytorchvideo_models
from pipeline.extractors import video_resnet
from pipeline.extractors.video_resnet import Options, VideoResNet

SMALL = {"head_pool_kernel_size": (8, 2, 2)}


def made(rate: float = 30.0, **options) -> VideoResNet:
    return VideoResNet(Options(precision="float32", **options), "random", {"rate": rate})


@pytest.fixture
def small(monkeypatch):
    """Networks for clips of 64 pixels instead of 256."""
    monkeypatch.setattr(
        video_resnet,
        "build_video_network",
        lambda family, function, sizes, *rest: build_video_network(family, function, {**sizes, **SMALL}, *rest),
    )


def recording(frames: int) -> Images:
    jpegs = [cv2.imencode(".jpg", np.full((20, 30, 3), k, np.uint8))[1].tobytes() for k in range(frames)]
    return Images(jpegs, np.arange(frames, dtype=np.float32))


def clips(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 1, 8, 64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(("output", "dim"), [("pooled", 2048), ("logits", 400)])
@pytest.mark.parametrize(("windows", "hop"), [("all", 64 / 30), ("first", None)])
def test_width_and_hop_follow_from_the_options(output, dim, windows, hop):
    network = made(output=output, windows=windows)
    assert (network.dim, network.hop) == (dim, hop)


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (64, 1), (95, 1), (96, 2), (128, 2), (170, 3)])
def test_half_a_window_counts_and_less_is_left_out(frames, windows):
    prepared = made().prepare("u", recording(frames))
    assert [clip.shape for clip in prepared] == [(1, 8, 256, 256, 3)] * windows
    assert len(made(windows="first").prepare("u", recording(frames))) == 1


def test_parameters_are_those_of_the_hub(monkeypatch):
    built = []

    def build(family, function, sizes, *rest):
        built.append(getattr(pytorchvideo_models(family), function)(**sizes))
        return built[0]

    monkeypatch.setattr(video_resnet, "build_video_network", build)
    with torch.device("meta"):
        video_resnet._build("random", pooled=True)
    classifier = 2048 * 400 + 400
    assert sum(p.numel() for p in built[0].parameters()) + classifier == 32_454_096


def test_scores_are_those_of_the_network_as_it_comes(small):
    sizes = {"model_depth": 50, "stem_conv_kernel_size": (1, 7, 7), **SMALL}
    plain = seeded(lambda: pytorchvideo_models("resnet").create_resnet(**sizes)).eval()
    (clip,) = clips(1)
    pixels = ((torch.from_numpy(clip).float() / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        expected = plain(pixels).numpy()
    found = made(output="logits").extract([[clip]])[0].values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_scores_are_the_classifier_of_the_pooled_features(small):
    pooled, scores = (made(output=output).extract([clips(1)])[0].values for output in ("pooled", "logits"))
    classifier = video_resnet._build("random", pooled=False).blocks[-1].proj
    expected = classifier(torch.from_numpy(pooled)).numpy(force=True)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * abs(expected).max())


def test_windows_of_several_recordings_share_batches_and_keep_their_places(small):
    first, second, third = clips(3)
    network = made()
    assert isinstance(network.network, Network)
    together = network.extract([[first, None, second], [third]])
    alone = [network.extract([[clip]])[0].values[0] for clip in (first, second, third)]
    assert [features.present.tolist() for features in together] == [[True, False, True], [True]]
    found = np.concatenate([together[0].values[[0, 2]], together[1].values])
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    assert not together[0].values[1].any()


def test_untrained_network_gives_the_numbers_measured_before(small):
    """Clips of 64 pixels; torch 2.13.0, pytorchvideo 0.1.5."""
    values = made().extract([clips(1)])[0].values
    assert values.shape == (1, 2048)
    np.testing.assert_allclose(values[0, [0, 1, 1000, 2047]], GOLDEN, rtol=1e-3, atol=1e-5)


GOLDEN = [0.02315338, 0.0, 0.0, 0.00191325]
