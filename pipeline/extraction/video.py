"""Clips for the video networks of PyTorchVideo: which frames, how they are cut, how the networks are built.

Fan et al., "PyTorchVideo: A Deep Learning Library for Video Understanding", ACM Multimedia 2021,
https://arxiv.org/abs/2111.09887. Sizes are those of its hub pages, https://pytorch.org/hub/facebookresearch_pytorchvideo_slowfast/.

A clip is 64 frames at 30 Hz, 2.133 s, whatever the rate of the stream: of the frames in that time some are taken evenly
(positions rounded down), the last repeated where the recording ends before. A stream slower than the network looks
repeats frames. Networks expect a short side of 256 pixels; frames of other sizes are scaled, enlarged ones are blurred.
"""

import importlib
import sys
from bisect import bisect_right
from math import ceil
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.streams import Images
from pipeline.errors import ParamsError
from pipeline.extraction.images import Picture, decode, middle
from pipeline.extraction.network import seeded
from pipeline.extractors.protocol import Weights

if TYPE_CHECKING:
    import torch

ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
"""Where the weights are."""

CLIP_SECONDS = 64 / 30
SIDE = 256
CLASSES = 400
"""Of Kinetics-400."""

_MEAN, _DEVIATION = 0.45, 0.225
_LEAST_FRAMES = 8
_TIE = 1e-6


def evenly(available: int, wanted: int) -> list[int]:
    """Positions of `wanted` >= 2 of `available` frames: evenly from the first to the last, rounded down.

    >>> evenly(32, 8)
    [0, 4, 8, 13, 17, 22, 26, 31]
    """
    return [step * (available - 1) // (wanted - 1) for step in range(wanted)]


def check_rate(rate: float, extractor: str) -> None:
    """Refuse a stream that is too slow to show motion.

    Raises:
        ParamsError: fewer than 8 frames in a clip.
    """
    if rate * CLIP_SECONDS < _LEAST_FRAMES - _TIE:
        raise ParamsError(
            f"{extractor}: found frames at {rate:g} Hz, expected at least {_LEAST_FRAMES / CLIP_SECONDS:g} Hz; raise "
            "`frame_hz` of the corpus (the networks were trained at 30 Hz)"
        )


def clip(utt_id: str, content: Images, rate: float, window: int, wanted: int) -> Picture | None:
    """The frames of one window of a recording, `(1, wanted, 256, 256, 3)`; None where it shows nothing.

    Args:
        utt_id: for messages.
        content: frames; one without bytes is replaced by the last before it that has some, else the first after it.
        rate: Hz of the frames.
        window: 0 begins with the recording, 1 a clip's length later, and so on.
        wanted: how many frames.

    Raises:
        DataError: a frame is no image.
    """
    start, stop = (ceil((window + edge) * CLIP_SECONDS * rate - _TIE) for edge in (0, 1))
    seen = [frame for frame in range(start, min(stop, len(content.jpegs))) if content.jpegs[frame]]
    if not seen:
        return None
    wishes = [start + position for position in evenly(stop - start, wanted)]
    frames = [seen[max(0, bisect_right(seen, wish) - 1)] for wish in wishes]
    images = {frame: middle(decode(content.jpegs[frame], utt_id, frame), SIDE, SIDE) for frame in set(frames)}
    return np.stack([images[frame] for frame in frames])[None]


def normalised(clips: "torch.Tensor") -> "torch.Tensor":
    """From `(B, 1, T, H, W, 3)` uint8 to `(B, T, H, W, 3)` float32 as the networks were trained."""
    return clips[:, 0].float().div_(255).sub_(_MEAN).div_(_DEVIATION)


def channels_first(clips: "torch.Tensor") -> "torch.Tensor":
    """View `(B, T, H, W, 3)` as `(B, 3, T, H, W)`; memory stays as it is, which is what the networks want."""
    return clips.permute(0, 4, 1, 2, 3)


def build_video_network(
    family: str, function: str, sizes: dict[str, Any], weights: Weights, file: str
) -> "torch.nn.Module":
    """A network of PyTorchVideo for inference: norms folded, flat convolutions in two dimensions.

    Args:
        family: module of pytorchvideo.models.
        function: in it.
        sizes: its arguments.
        weights: the file, or `random`.
        file: its name in the model zoo, for messages.

    Raises:
        DataError: the file holds something else.
    """
    from pipeline.extraction.convolution import fold_norms, planar
    from pipeline.extraction.states import load_weights

    network: torch.nn.Module = seeded(lambda: getattr(pytorchvideo_models(family), function)(**sizes))
    if not isinstance(weights, str) and weights is not None:
        load_weights(network, weights, file, f"get it from {ZOO}/{file} and name it in `weights`")
    for module in network.modules():
        if hasattr(module, "branch_fusion"):
            vars(module)["branch_fusion"] = _add
    return planar(fold_norms(network))


def _add(shortcut: "torch.Tensor", branch: "torch.Tensor") -> "torch.Tensor":
    """Sum of the two branches of a residual block, in the memory of the second."""
    return branch.add_(shortcut)


def pytorchvideo_models(family: str) -> ModuleType:
    """Import a module of pytorchvideo.models.

    All of them import torchvision for the pooling of detectors, which no network here has: where it cannot be imported
    (torch for processors has no build that fits), something with that name stands in for as long as the import takes.
    Left behind it would break other packages, which ask whether torchvision is there.
    """
    stand_ins = {} if _has_torchvision() else _torchvision_stand_ins()
    replaced = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module(f"pytorchvideo.models.{family}")
    finally:
        for name, module in replaced.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _has_torchvision() -> bool:
    try:
        importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError, OSError):  # a build for another torch fails with the latter two
        return False
    return True


def _torchvision_stand_ins() -> dict[str, ModuleType]:
    package, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
    vars(package)["ops"] = ops
    vars(ops)["RoIAlign"] = type("RoIAlign", (), {})
    return {"torchvision": package, "torchvision.ops": ops}
