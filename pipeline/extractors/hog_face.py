"""Histograms of oriented gradients of face crops by OpenCV: a description of the face that needs no weights.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005,
https://doi.org/10.1109/CVPR.2005.177. Blocks of 2 x 2 cells, one cell apart, each normalised (L2-Hys).

One step per frame of the stream; a frame without a face keeps its place, is 0 and not present.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from pipeline.data.streams import ImageStream
from pipeline.errors import DataError
from pipeline.extractors.protocol import ExtractorOptions, Features


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
    shard = 64
    weights_sha256 = None

    def __init__(self, options: Options, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Take the layout from `options` and the rate (Hz) from `attrs`."""
        self.hop = 1.0 / float(attrs["rate"])
        self.dim = 4 * options.bins * (options.size // options.cell - 1) ** 2
        self.version = f"opencv {version('opencv-python-headless')}, hog_face 1"
        self._options = options

    def extract(self, stream: ImageStream, ids: Sequence[str]) -> list[Features]:
        """Values `(T, dim)` float32 and present `(T,)` for every id.

        Raises:
            DataError: a frame that is not an image.
        """
        return [self._clip(stream, utt_id) for utt_id in ids]

    @cached_property
    def _descriptor(self) -> Any:
        import cv2

        # Worker processes have one core each; OpenCV knows nothing of OMP_NUM_THREADS.
        cv2.setNumThreads(0)
        size, cell = self._options.size, self._options.cell
        return cv2.HOGDescriptor((size, size), (2 * cell, 2 * cell), (cell, cell), (cell, cell), self._options.bins)

    def _clip(self, stream: ImageStream, utt_id: str) -> Features:
        jpegs = stream.row(utt_id).jpegs
        values = np.zeros((len(jpegs), self.dim), np.float32)
        for step, jpeg in enumerate(jpegs):
            if jpeg:
                values[step] = self._frame(jpeg, f"{stream.path}: utterance '{utt_id}', frame {step}")
        return Features(values, np.array([bool(jpeg) for jpeg in jpegs]))

    def _frame(self, jpeg: bytes, where: str) -> npt.NDArray[np.float32]:
        import cv2

        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise DataError(f"{where}: {len(jpeg)} bytes that are no image, expected JPEG; run decode again")
        side = (self._options.size, self._options.size)
        # Pixel areas are averaged where the crop shrinks: interpolation alone would alias fine texture.
        small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
        return np.asarray(self._descriptor.compute(small), np.float32).reshape(-1)  # (dim,)
