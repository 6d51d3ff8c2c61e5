"""Clips: which frames they take; networks of PyTorchVideo: import without torchvision, flat convolutions."""

import subprocess
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from pipeline.data.streams import Images
from pipeline.errors import ParamsError
from pipeline.extraction import video
from pipeline.extraction.convolution import PlanarConv
from pipeline.extraction.video import check_rate, clip, evenly


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(video, "SIDE", 8)


def recording(frames: int, rate: float = 30.0, blank: tuple[int, ...] = ()) -> Images:
    """Frame k is plain, 2 k bright; `blank` ones have no bytes."""
    jpegs = [
        b"" if k in blank else cv2.imencode(".jpg", np.full((8, 12, 3), 2 * k, np.uint8))[1].tobytes()
        for k in range(frames)
    ]
    return Images(jpegs, np.arange(frames, dtype=np.float32) / np.float32(rate))


def frames_of(content: Images, rate: float = 30.0, window: int = 0, wanted: int = 32) -> list[int]:
    return (clip("u", content, rate, window, wanted)[0, :, 4, 4, 0].astype(int) // 2).tolist()


@pytest.mark.parametrize("wanted", [8, 32])
def test_evenly_is_linspace_rounded_down(wanted):
    for available in range(1, 400):
        assert evenly(available, wanted) == torch.linspace(0, available - 1, wanted).long().tolist()


def test_slow_pathway_takes_the_frames_of_the_hub_page():
    assert evenly(32, 8) == [0, 4, 8, 13, 17, 22, 26, 31]


@pytest.mark.parametrize(("rate", "within"), [(30.0, 64), (25.0, 54), (29.97, 64), (15.0, 32), (60.0, 128), (10.0, 22)])
def test_clip_is_the_first_two_seconds_at_any_rate(rate, within):
    content = recording(min(within + 40, 127), rate)
    expected = [min(frame, 126) for frame in evenly(within, 32)]
    assert frames_of(content, rate) == expected


def test_shorter_recording_repeats_its_last_frame():
    assert frames_of(recording(40)) == [min(frame, 39) for frame in evenly(64, 32)]
    assert frames_of(recording(1)) == [0] * 32


def test_next_window_begins_where_the_first_ended():
    assert frames_of(recording(120), window=1, wanted=8) == [64 + min(frame, 55) for frame in evenly(64, 8)]


def test_frame_without_a_picture_shows_the_one_before():
    assert frames_of(recording(64, blank=(0, 1, 18)), wanted=8) == [2, 9, 17, 27, 36, 45, 54, 63]


def test_window_without_a_picture_is_none():
    assert clip("u", recording(80, blank=tuple(range(64))), 30.0, 0, 8) is None
    assert clip("u", recording(80, blank=tuple(range(64))), 30.0, 1, 8) is not None
    assert clip("u", recording(30), 30.0, 1, 8) is None


def test_stream_too_slow_for_motion_is_refused():
    check_rate(3.75, "slowfast")
    with pytest.raises(ParamsError, match=r"slowfast: found frames at 3 Hz, expected at least 3\.75 Hz; raise `frame_"):
        check_rate(3.0, "slowfast")


def test_normalisation_is_that_of_the_hub_page():
    pixels = torch.tensor([[[[[[0, 255, 114]]]]]], dtype=torch.uint8)
    expected = (torch.tensor([0.0, 1.0, 114 / 255]) - 0.45) / 0.225
    torch.testing.assert_close(video.normalised(pixels).flatten(), expected)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
        ((1, 1, 1), (1, 2, 2), (0, 0, 0)),
        ((1, 3, 3), (1, 1, 1), (0, 1, 1)),
        ((1, 7, 7), (1, 2, 2), (0, 3, 3)),
        ((3, 1, 1), (1, 1, 1), (1, 0, 0)),
        ((7, 1, 1), (4, 1, 1), (3, 0, 0)),
        ((1, 1, 1), (2, 1, 1), (0, 0, 0)),
        ((3, 1, 1), (1, 2, 2), (1, 0, 0)),
        ((5, 7, 7), (1, 2, 2), (2, 3, 3)),
    ],
)
@pytest.mark.parametrize("size", [(8, 6, 10), (3, 5, 7)])
def test_flat_convolution_gives_the_numbers_of_the_solid_one(batch, kernel, stride, padding, size):
    generator = torch.Generator().manual_seed(0)
    conv = torch.nn.Conv3d(4, 6, kernel, stride, padding).requires_grad_(False)
    x = torch.randn(batch, *size, 4, generator=generator).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(PlanarConv(conv)(x), conv(x), rtol=0, atol=1e-5)


def test_import_leaves_no_torchvision_behind_and_transformers_works():
    code = (
        "import sys; from pipeline.extraction.video import pytorchvideo_models; "
        "assert pytorchvideo_models('slowfast').create_slowfast; "
        "import importlib.util as u; assert 'torchvision' in sys.modules or u.find_spec('torchvision') is None; "
        "import transformers; print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr
    assert "torchvision.ops" not in sys.modules or sys.modules["torchvision.ops"].__spec__ is not None


def test_torchvision_that_is_there_is_left_alone(monkeypatch):
    real, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
    ops.RoIAlign = object
    monkeypatch.setitem(sys.modules, "torchvision", real)
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    video.pytorchvideo_models("resnet")
    assert sys.modules["torchvision"] is real
