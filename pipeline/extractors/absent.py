"""A modality that a corpus does not have: a zero-length row for every utterance."""

from collections.abc import Mapping, Sequence
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
    checkpoint = None
    network = None
    has_tokens = False
    shard = 4096
    hop = None
    version = "absent 1"

    def __init__(self, options: Options, weights: None, attrs: Mapping[str, Any]) -> None:
        """Take the width from `options`."""
        self.dim = options.dim

    def prepare(self, utt_id: str, content: None) -> None:
        """Nothing is needed."""

    def extract(self, prepared: Sequence[None]) -> list[Features]:
        """Values `(0, dim)` for every utterance."""
        return [Features(np.empty((0, self.dim), np.float32)) for _ in prepared]
