"""ResNet-101 of whole frames, trained to name objects: what the scene shows, three times a second.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385;
the form and the names of the weights are torchvision's (`resnet101`, ImageNet; 42,500,160 parameters without the
classifier), https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet101.html. A file of torch
or of safetensors.

Steps are at k / `hz` seconds (3 Hz as in the IEMOCAP features of attention and co-learning studies): n frames at `rate`
give ceil(n hz / rate). Each is the nearest frame of the stream, the earlier of two, its short side scaled to 256
pixels, the 224 x 224 in the middle, normalised as torchvision does; features are the global average of the last map. A
frame without a picture is 0 and not present. The studies crop to the speaker's half of the frame first, which a corpus
has to do before `decode`. A batch gives the numbers of a batch of one within 1e-5 of the largest value.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.data.streams import Images
from pipeline.errors import ParamsError
from pipeline.extraction.images import WIDTH, PictureNetwork, Pictures, decode, middle
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

_SHORT, _SIDE = 256, 224
_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)
_TIE = 1e-6
_URL = "https://download.pytorch.org/models/resnet101-cd907fc2.pth"


class Options(NetworkOptions):
    """Options of `resnet101_frames`.

    Args:
        hz: steps per second, at most the rate of the stream.
    """

    hz: float = Field(default=3.0, gt=0, allow_inf_nan=False)


class ResNet101Frames:
    """2048 features at 3 Hz."""

    stream: Literal["frames"] = "frames"
    checkpoint = Checkpoint("resnet101 of torchvision (resnet101-cd907fc2.pth)", _URL)
    shard = 32
    dim = WIDTH
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the rate (Hz) from `attrs`.

        Raises:
            ParamsError: `hz` is above it.
        """
        rate = float(attrs["rate"])
        if options.hz > rate:
            raise ParamsError(
                f"params.yaml: options.resnet101_frames.hz: found {options.hz:g}, expected at most {rate:g}, the rate "
                "of the stream; lower it, or raise `frame_hz` of the corpus"
            )
        self.hop = 1.0 / options.hz
        self.version = f"torch {version('torch').partition('+')[0]}, resnet101_frames 1"
        self._frames_per_step = rate / options.hz
        self.network = PictureNetwork(lambda: _build(weights), options.precision, _MEAN, _DEVIATION)

    def prepare(self, utt_id: str, content: Images) -> Pictures:
        """`(1, 224, 224, 3)` of every step, None where there is no picture.

        Raises:
            DataError: a frame that is not an image.
        """
        steps = ceil(len(content.jpegs) / self._frames_per_step - _TIE)
        frames = [min(ceil(step * self._frames_per_step - 0.5 - _TIE), len(content.jpegs) - 1) for step in range(steps)]
        return [
            middle(decode(content.jpegs[frame], utt_id, frame), _SHORT, _SIDE)[None] if content.jpegs[frame] else None
            for frame in frames
        ]

    def extract(self, prepared: Sequence[Pictures]) -> list[Features]:
        """Values `(T, 2048)` float32 and present `(T,)`."""
        return self.network.extract(prepared, self.dim)


def _build(weights: Weights) -> "torch.nn.Module":
    from pipeline.extraction.residual import build_resnet

    return build_resnet(101, weights, "resnet101 of torchvision", f"get it from {_URL} and name it in `weights`")
