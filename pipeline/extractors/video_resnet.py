"""A 3-D ResNet of depth 50 ("Slow"): Kinetics scores or pooled features, of the beginning or of every two seconds.

The slow pathway alone of Feichtenhofer, Fan, Malik and He, "SlowFast Networks for Video Recognition", ICCV 2019,
https://arxiv.org/abs/1812.03982, as PyTorchVideo has it (`slow_r50`, 8 x 8, Kinetics-400, 32,454,096 parameters),
https://pytorch.org/hub/facebookresearch_pytorchvideo_resnet/. Weights are one file,
https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOW_8x8_R50.pyth.

A step is a clip of 2.133 s, 8 frames of it, cut as pipeline/extraction/video.py tells. `windows: first` gives one step;
`all` one per window without overlap, T = n / (2.133 rate) for n frames, rounded half up and at least 1: a remainder of
less than half a window is left out, the last frame fills a longer one up. `pooled` is what the classifier sees,
averaged over places. A batch gives the numbers of a batch of one within 1e-5 of the largest value.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from pipeline.data.streams import Images
from pipeline.extraction.images import Pictures, run_seen
from pipeline.extraction.network import Network
from pipeline.extraction.video import (
    CLASSES,
    CLIP_SECONDS,
    ZOO,
    build_video_network,
    channels_first,
    check_rate,
    clip,
    normalised,
)
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

_FILE = "SLOW_8x8_R50.pyth"
_FRAMES = 8
_POOLED = 2048


class Options(NetworkOptions):
    """Options of `video_resnet`.

    Args:
        output: `logits`, 400 scores, or `pooled`, the 2048 features before them.
        windows: `first`, one step, or `all`, one every 2.133 s.
    """

    output: Literal["logits", "pooled"] = "pooled"
    windows: Literal["first", "all"] = "all"


class VideoResNet:
    """2048 or 400 features per window."""

    stream: Literal["frames"] = "frames"
    checkpoint = Checkpoint(_FILE, f"{ZOO}/{_FILE}")
    shard = 16
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the rate (Hz) from `attrs`.

        Raises:
            ParamsError: the frames are too slow to show motion.
        """
        self._rate = float(attrs["rate"])
        check_rate(self._rate, "video_resnet")
        self._all = options.windows == "all"
        self.hop = CLIP_SECONDS if self._all else None
        self.dim = CLASSES if options.output == "logits" else _POOLED
        torch_version = version("torch").partition("+")[0]
        self.version = f"pytorchvideo {version('pytorchvideo')}, torch {torch_version}, video_resnet 1"
        self.network = Network(lambda: _build(weights, pooled=options.output == "pooled"), options.precision, budget=2)

    def prepare(self, utt_id: str, content: Images) -> Pictures:
        """The clip `(1, 8, 256, 256, 3)` of every window, None where it shows nothing.

        Raises:
            DataError: a frame that is not an image.
        """
        windows = max(1, int(len(content.jpegs) / (CLIP_SECONDS * self._rate) + 0.5)) if self._all else 1
        return [clip(utt_id, content, self._rate, window, _FRAMES) for window in range(windows)]

    def extract(self, prepared: Sequence[Pictures]) -> list[Features]:
        """Values `(T, dim)` float32; 0 and not present where a window shows nothing."""
        return run_seen(self.network, prepared, _features, self.dim)


def _features(network: "torch.nn.Module", clips: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
    """From `(B, 1, 8, 256, 256, 3)` to `(B, 1, D)`."""
    features: torch.Tensor = network(channels_first(normalised(clips)))
    return features.unsqueeze(1)


def _build(weights: Weights, *, pooled: bool) -> "torch.nn.Module":
    from torch.nn import Identity

    sizes = {"model_depth": 50, "stem_conv_kernel_size": (1, 7, 7), "head_pool_kernel_size": (8, 7, 7)}
    network: Any = build_video_network("resnet", "create_resnet", sizes, weights, _FILE)
    if pooled:
        network.blocks[-1].proj = Identity()
    return network  # type: ignore[no-any-return]
