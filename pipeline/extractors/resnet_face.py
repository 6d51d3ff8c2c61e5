"""ResNet-50 of faces, trained to tell people apart: a description of the face in every frame.

Cao, Shen, Xie, Parkhi and Zisserman, "VGGFace2: A Dataset for Recognising Faces across Pose and Age", FG 2018,
https://arxiv.org/abs/1710.08092. Weights are the authors' Caffe model as https://github.com/cydonia999/VGGFace2-pytorch
converted it (`resnet50_ft`): 23,508,032 parameters without the classifier, a stride in the first convolution of a
block, a first pooling without border. That file is a pickle, which can run code when it is read; convert it once,
letting nothing through but NumPy arrays:

    import pickle, torch
    from safetensors.torch import save_file

    class Arrays(pickle.Unpickler):
        def find_class(self, module, name):
            if (module.split(".")[0], name) in {("numpy", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
                return super().find_class(module, name)
            raise pickle.UnpicklingError(f"{module}.{name} is no array")

    arrays = Arrays(open("resnet50_ft_weight.pkl", "rb"), encoding="latin1").load()
    save_file({k: torch.from_numpy(v).contiguous() for k, v in arrays.items()}, "resnet50_ft_weight.safetensors")

One step per frame of `faces` (5 Hz by default), the global average of the last map; a frame without a face keeps its
place, is 0 and not present. A crop is scaled to 224 x 224 (the authors' own cut is 224 out of 256 pixels of a wider
box; the stream's crops are tight), blue first, less the authors' mean.

MCT-HFR (Chen and Zhang, 2023) names this network and a width of 512, but not how 2048 become 512: the default
`group_mean_512`, the mean of every 4 consecutive channels, is a choice of this project. `none` leaves 2048.
A batch gives the numbers of a batch of one within 1e-5 of the largest value.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from pipeline.data.streams import Images
from pipeline.extraction.images import WIDTH, PictureNetwork, Pictures, decode, resize
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

_SIDE = 224
_REDUCED = 512
_MEAN = (131.0912, 103.8827, 91.4953)
"""Of red, green and blue: https://github.com/cydonia999/VGGFace2-pytorch/blob/master/datasets/vgg_face2.py"""

_HOW = (
    "get resnet50_ft_weight.pkl from https://github.com/cydonia999/VGGFace2-pytorch and convert it to safetensors by "
    "the lines at the top of pipeline/extractors/resnet_face.py"
)


class Options(NetworkOptions):
    """Options of `resnet_face`.

    Args:
        reduce: `group_mean_512`, means of 4 consecutive channels, or `none`, all 2048.
    """

    reduce: Literal["none", "group_mean_512"] = "group_mean_512"


class ResNetFace:
    """512 or 2048 features per frame, at the rate of the stream."""

    stream: Literal["faces"] = "faces"
    checkpoint = Checkpoint(
        "resnet50_ft of VGGFace2 as safetensors (pipeline/extractors/resnet_face.py converts it)",
        "https://github.com/cydonia999/VGGFace2-pytorch",
    )
    shard = 32
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the rate (Hz) from `attrs`."""
        self.hop = 1.0 / float(attrs["rate"])
        self.dim = _REDUCED if options.reduce == "group_mean_512" else WIDTH
        self.version = f"torch {version('torch').partition('+')[0]}, resnet_face 1"
        self.network = PictureNetwork(
            lambda: _build(weights, options.reduce), options.precision, _MEAN, blue_first=True
        )

    def prepare(self, utt_id: str, content: Images) -> Pictures:
        """`(1, 224, 224, 3)` of every face, None where there is none.

        Raises:
            DataError: a frame that is not an image.
        """
        return [
            resize(decode(jpeg, utt_id, frame), _SIDE, _SIDE)[None] if jpeg else None
            for frame, jpeg in enumerate(content.jpegs)
        ]

    def extract(self, prepared: Sequence[Pictures]) -> list[Features]:
        """Values `(T, dim)` float32 and present `(T,)`."""
        return self.network.extract(prepared, self.dim)


def _build(weights: Weights, reduce: str) -> "torch.nn.Module":
    from torch import nn

    from pipeline.extraction.residual import build_resnet

    network = build_resnet(50, weights, "resnet50_ft of VGGFace2", _HOW, caffe=True)
    return network if reduce == "none" else nn.Sequential(network, nn.AvgPool1d(WIDTH // _REDUCED))
