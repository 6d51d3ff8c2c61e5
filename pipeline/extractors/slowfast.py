"""SlowFast: the 400 scores of Kinetics actions for the first two seconds of a recording.

Feichtenhofer, Fan, Malik and He, "SlowFast Networks for Video Recognition", ICCV 2019,
https://arxiv.org/abs/1812.03982: a slow pathway of 8 frames sees what is there, a fast one of 32 how it moves. Networks
are those of PyTorchVideo trained at 8 x 8 on Kinetics-400, 34,566,488 parameters at depth 50 and 62,826,968 at 101,
https://pytorch.org/hub/facebookresearch_pytorchvideo_slowfast/.

One step: raw scores of the clip from 0 to 2.133 s, cut as pipeline/extraction/video.py tells; the slow pathway has
frames 0, 4, 8, 13, 17, 22, 26 and 31 of the fast one. Weights are one file,
https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth or SLOWFAST_8x8_R101.pyth.

Differs from the hub page, which decodes and scales the whole recording, in that frames come as JPEG of the stream, and
in that norms are folded and flat convolutions computed in two dimensions: scores differ by less than 1e-5 of the
largest from those of the network as it comes. A batch gives the numbers of a batch of one within the same 1e-5.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from pipeline.data.streams import Images
from pipeline.extraction.images import Pictures, run_seen
from pipeline.extraction.network import Network
from pipeline.extraction.video import (
    CLASSES,
    ZOO,
    build_video_network,
    channels_first,
    check_rate,
    clip,
    evenly,
    normalised,
)
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

_FAST, _SLOW = 32, 8
_FUSION_FRAMES = {50: 7, 101: 5}


class Options(NetworkOptions):
    """Options of `slowfast`.

    Args:
        depth: 50 or 101, layers of the network; the weights must be of the same.
        softmax: whether scores are turned to probabilities.
    """

    depth: Literal[50, 101] = 50
    softmax: bool = False


class SlowFast:
    """400 features of the whole utterance."""

    stream: Literal["frames"] = "frames"
    checkpoint = Checkpoint(
        "SLOWFAST_8x8_R50.pyth or SLOWFAST_8x8_R101.pyth",
        f"{ZOO}/SLOWFAST_8x8_R50.pyth",
    )
    shard = 16
    dim = CLASSES
    hop = None
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the rate (Hz) from `attrs`.

        Raises:
            ParamsError: the frames are too slow to show motion.
        """
        self._rate = float(attrs["rate"])
        check_rate(self._rate, "slowfast")
        torch_version = version("torch").partition("+")[0]
        self.version = f"pytorchvideo {version('pytorchvideo')}, torch {torch_version}, slowfast 1"
        self._softmax = options.softmax
        self.network = Network(lambda: _build(options.depth, weights), options.precision, budget=1)

    def prepare(self, utt_id: str, content: Images) -> Pictures:
        """The clip `(1, 32, 256, 256, 3)`, or None where it shows nothing.

        Raises:
            DataError: a frame that is not an image.
        """
        return [clip(utt_id, content, self._rate, 0, _FAST)]

    def extract(self, prepared: Sequence[Pictures]) -> list[Features]:
        """Values `(1, 400)` float32 for every clip; 0 and not present where there is none."""
        return run_seen(self.network, prepared, self._scores, self.dim)

    def _scores(self, network: "torch.nn.Module", clips: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """From `(B, 1, 32, 256, 256, 3)` to `(B, 1, 400)`."""
        fast = normalised(clips)
        # The network overwrites the list that it is given.
        scores: torch.Tensor = network([channels_first(fast[:, evenly(_FAST, _SLOW)]), channels_first(fast)])
        return (scores.float().softmax(-1) if self._softmax else scores).unsqueeze(1)


def _build(depth: int, weights: Weights) -> "torch.nn.Module":
    sizes = {"model_depth": depth, "slowfast_fusion_conv_kernel_size": (_FUSION_FRAMES[depth], 1, 1)}
    return build_video_network("slowfast", "create_slowfast", sizes, weights, f"SLOWFAST_8x8_R{depth}.pyth")
