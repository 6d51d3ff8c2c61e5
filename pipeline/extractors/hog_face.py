"""Histograms of oriented gradients of face crops by OpenCV: a description of the face that needs no weights.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005,
https://doi.org/10.1109/CVPR.2005.177. Blocks of 2 x 2 cells, one cell apart, each normalised (L2-Hys).

One step per frame of the stream; a frame without a face keeps its place, is 0 and not present.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.data.streams import Images
from pipeline.extraction.images import Picture, decode
from pipeline.extractors.protocol import ExtractorOptions, Features, Weights


class Options(ExtractorOptions):
    """Options of `hog_face`; dim = 4 * bins * (size / cell - 1)^2, 324 by default.

    Args:
        size: side in pixels that the grey crop is resized to.
        cell: side of a cell in pixels; `size` is two or more of them.
        bins: orientations, over 180 degrees.
    """

    size: int = Field(default=64, ge=2)
    cell: int = Field(default=16, ge=1)
    bins: int = Field(default=9, ge=1)

    @model_validator(mode="after")
    def _whole_cells(self) -> Self:
        if self.size % self.cell or self.size < 2 * self.cell:
            raise ValueError(f"size is {self.size} and cell {self.cell}, expected size = 2, 3, ... times cell")
        return self


class HogFace:
    """`dim` features per frame, at the rate of the stream."""

    stream: Literal["faces"] = "faces"
    checkpoint = None
    shard = 64
    network = None
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Take the layout from `options` and the rate (Hz) from `attrs`."""
        self.hop = 1.0 / float(attrs["rate"])
        self.dim = 4 * options.bins * (options.size // options.cell - 1) ** 2
        self.version = f"opencv {version('opencv-python-headless')}, hog_face 1"
        self._options = options

    def prepare(self, utt_id: str, content: Images) -> list[Picture | None]:
        """The grey crop `(size, size)` of every frame, None where there is no face.

        Raises:
            DataError: a frame that is not an image.
        """
        return [self._crop(jpeg, utt_id, frame) if jpeg else None for frame, jpeg in enumerate(content.jpegs)]

    def extract(self, prepared: Sequence[list[Picture | None]]) -> list[Features]:
        """Values `(T, dim)` float32 and present `(T,)` of every utterance."""
        return [self._describe(crops) for crops in prepared]

    @cached_property
    def _descriptor(self) -> Any:
        import cv2

        size, cell = self._options.size, self._options.cell
        return cv2.HOGDescriptor((size, size), (2 * cell, 2 * cell), (cell, cell), (cell, cell), self._options.bins)

    def _crop(self, jpeg: bytes, utt_id: str, frame: int) -> Picture:
        import cv2

        image = decode(jpeg, utt_id, frame, grey=True)
        side = (self._options.size, self._options.size)
        # Pixel areas are averaged where the crop shrinks: interpolation alone would alias fine texture.
        return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)

    def _describe(self, crops: list[Picture | None]) -> Features:
        values = np.zeros((len(crops), self.dim), np.float32)
        for step, crop in enumerate(crops):
            if crop is not None:
                values[step] = np.asarray(self._descriptor.compute(crop), np.float32).reshape(-1)
        return Features(values, np.array([crop is not None for crop in crops], np.bool_))
