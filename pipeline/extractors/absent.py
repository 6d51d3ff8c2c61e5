"""A modality that a corpus does not have: a zero-length row for every utterance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from pipeline.extractors.protocol import ExtractorOptions, Features


class Options(ExtractorOptions):
    """Options of `absent`.

    Args:
        dim: width that models see for the modality; nothing of it is ever observed.
    """

    dim: PositiveInt = 1


class Absent:
    """Zero steps of `dim` features, whatever the stream."""

    stream: Literal["any"] = "any"
    shard = 4096
    hop = None
    version = "absent 1"
    weights_sha256 = None

    def __init__(self, options: Options, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Take the width from `options`."""
        self.dim = options.dim

    def extract(self, stream: object, ids: Sequence[str]) -> list[Features]:
        """Values `(0, dim)` for every id."""
        return [Features(np.empty((0, self.dim), np.float32)) for _ in ids]
