"""What an extractor is: a module of pipeline/extractors with `Options`, `VERSION` and one class that has `extract`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pipeline.data.packed import Packed


class ExtractorOptions(BaseModel):
    """Base of every extractor's `Options`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Features:
    """Features of one utterance.

    Args:
        values: `(T, D)` float32; T = 0 when the modality is absent.
        present: `(T,)` bool, or None when every step is there.
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_] | None = None


class Extractor(Protocol):
    """Turns one kind of decoded stream into features.

    Built as `Class(options, weights)` where `weights` is the folder or file that params.yaml names, or None.
    """

    stream: Literal["text", "audio", "faces", "frames"]
    dim: int
    hop: float | None
    version: str
    weights_sha256: str | None

    def __init__(self, options: Any, weights: Path | None) -> None:
        """Load what is needed; a missing package file or folder is one DataError that says how to get it."""

    def extract(self, stream: Packed, ids: Sequence[str]) -> list[Features]:
        """Features of some utterances, in the order of `ids`; the result for one does not depend on the others."""
