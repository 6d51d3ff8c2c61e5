"""SlowFast: the numbers of PyTorchVideo's network as it comes, weights of the hub, batches."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.data.streams import Images
from pipeline.errors import DataError, ParamsError
from pipeline.extraction.network import Network, seeded
from pipeline.extraction.video import build_video_network, pytorchvideo_models
from pipeline.extractors.slowfast import Options, SlowFast, _build

FLOAT32 = Options(precision="float32")
POOLS = {"head_pool_kernel_sizes": ((8, 2, 2), (32, 2, 2))}
"""For clips of 64 pixels instead of 256."""


def recording(frames: int = 30, width: int = 48, height: int = 36) -> Images:
    """A disc that moves over a shaded ground."""
    jpegs = []
    for step in range(frames):
        image = np.tile(np.linspace(40, 90, width, dtype=np.uint8)[None, :, None], (height, 1, 3))
        cv2.circle(image, (5 + step, height // 2), height // 4, (30, 200, 220), -1)
        jpegs.append(cv2.imencode(".jpg", image)[1].tobytes())
    return Images(jpegs, np.arange(frames, dtype=np.float32) / np.float32(15))


def small(sizes: dict, weights="random") -> SlowFast:
    """An extractor for clips of 64 pixels."""
    made = SlowFast(FLOAT32, "random", {"rate": 15.0})
    made.network = Network(
        lambda: build_video_network("slowfast", "create_slowfast", {**sizes, **POOLS}, weights, "file"), "float32", 2
    )
    return made


def clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 32, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("depth", "parameters"), [(50, 34_566_488), (101, 62_826_968)])
def test_parameters_are_those_of_the_hub(monkeypatch, depth, parameters):
    built = []
    monkeypatch.setattr(
        "pipeline.extractors.slowfast.build_video_network",
        lambda family, function, sizes, *rest: built.append(getattr(pytorchvideo_models(family), function)(**sizes)),
    )
    with torch.device("meta"):
        _build(depth, "random")
    assert sum(p.numel() for p in built[0].parameters()) == parameters


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    """PyTorchVideo's network with norms as if trained and scores that differ."""
    sizes = {"model_depth": 50, "slowfast_fusion_conv_kernel_size": (7, 1, 1), **POOLS}
    network = seeded(lambda: pytorchvideo_models("slowfast").create_slowfast(**sizes))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.0, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.uniform_(-0.2, 0.2, generator=generator)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def checkpoint(trained, tmp_path_factory):
    """A file as the hub has it."""
    path = tmp_path_factory.mktemp("hub") / "SLOWFAST_8x8_R50.pyth"
    torch.save({"model_state": trained.state_dict()}, path)
    return path


def test_scores_are_those_of_the_network_as_it_comes(trained, checkpoint):
    clip = clips(1)
    pixels = (torch.from_numpy(clip[0]).float() / 255 - 0.45) / 0.225
    fast = pixels.permute(0, 4, 1, 2, 3)
    expected = trained([fast[:, :, [0, 4, 8, 13, 17, 22, 26, 31]], fast]).numpy()
    sizes = {"model_depth": 50, "slowfast_fusion_conv_kernel_size": (7, 1, 1)}
    found = small(sizes, checkpoint).extract([[clip[0]]])[0].values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())
    assert np.ptp(expected) > 0.01


def test_a_batch_gives_the_numbers_of_a_batch_of_one():
    network = small({"model_depth": 50, "slowfast_fusion_conv_kernel_size": (7, 1, 1)})
    three = [[clip] for clip in clips(3)]
    together = network.extract([three[0], [None], three[1], three[2]])
    alone = [network.extract([one])[0].values for one in three]
    scale = max(abs(values).max() for values in alone)
    for features, values in zip([together[0], *together[2:]], alone, strict=True):
        np.testing.assert_allclose(features.values, values, rtol=0, atol=1e-5 * scale)
    assert together[1].present.tolist() == [False]
    assert not together[1].values.any()


def test_weights_of_another_depth_are_refused(checkpoint):
    with pytest.raises(
        DataError, match=r"weights (without|with).*expected SLOWFAST_8x8_R101\.pyth; get it from https://"
    ):
        _build(101, checkpoint)


def test_any_size_and_rate_gives_one_clip_of_256_pixels():
    slow = SlowFast(FLOAT32, "random", {"rate": 15.0})
    for width, height in ((48, 36), (36, 48), (300, 260), (1, 1)):
        (clip,) = slow.prepare("u", recording(3, width, height))
        assert clip.shape == (1, 32, 256, 256, 3)
        assert clip.dtype == np.uint8
    assert slow.prepare("u", Images([b""] * 4, np.zeros(4, np.float32))) == [None]


def test_slow_stream_is_refused():
    with pytest.raises(ParamsError, match="slowfast: found frames at 2 Hz"):
        SlowFast(FLOAT32, "random", {"rate": 2.0})


def test_untrained_network_gives_the_numbers_measured_before():
    """At full size; torch 2.13.0, pytorchvideo 0.1.5."""
    network = SlowFast(Options(precision="float32", softmax=False), "random", {"rate": 15.0})
    (features,) = network.extract([network.prepare("u", recording())])
    assert features.values.shape == (1, 400)
    assert features.values.dtype == np.float32
    np.testing.assert_allclose(features.values[0, [0, 1, 200, 399]], GOLDEN, rtol=0, atol=2e-4)


GOLDEN = [-0.00096237, 0.05235906, 0.00137394, 0.00294557]


def test_softmax_gives_probabilities():
    network = small({"model_depth": 50, "slowfast_fusion_conv_kernel_size": (7, 1, 1)})
    network._softmax = True
    values = network.extract([[clips(1)[0]]])[0].values
    assert values.sum() == pytest.approx(1.0, abs=1e-5)
    assert (values > 0).all()
