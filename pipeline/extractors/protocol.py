"""What an extractor is: a module of pipeline/extractors with `Options` and one class that has `extract`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

FRAME_HOP = 0.01
"""Seconds between the frames of a `PooledOptions` extractor, before pooling."""


class ExtractorOptions(BaseModel):
    """Base of every extractor's `Options`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PooledOptions(ExtractorOptions):
    """Options of an extractor with 10 ms frames.

    Args:
        hop: seconds between steps, a multiple of 0.01; above 0.01 a step is the mean of consecutive frames.
    """

    hop: float = Field(default=FRAME_HOP, ge=FRAME_HOP, allow_inf_nan=False)

    @field_validator("hop")
    @classmethod
    def _whole_frames(cls, hop: float) -> float:
        if abs(hop / FRAME_HOP - round(hop / FRAME_HOP)) > 1e-6:
            raise ValueError(f"found {hop}, expected a multiple of {FRAME_HOP} s")
        return hop

    @property
    def frames_per_step(self) -> int:
        """How many frames are averaged to one step."""
        return round(self.hop / FRAME_HOP)


@dataclass(frozen=True)
class Features:
    """Features of one utterance.

    Args:
        values: `(T, D)` float32; T = 0 when the modality is absent.
        present: `(T,)` bool, or None when every step is there; values are 0 where it is False.
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_] | None = None


class Extractor(Protocol):
    """Turns one kind of decoded stream into features.

    Built as `Class(options, weights, attrs)`; that is cheap, what is slow to import or to load waits for the first
    `extract`. `dim` and `hop` are known from then on: they may depend on the options and on the stream's attributes.

    Args:
        stream: what it reads, or `any` when it looks at ids only.
        shard: utterances that are extracted and saved together: enough to batch, few enough to lose to a kill.
        dim: D, features of one step.
        hop: seconds between steps, or None where steps are not evenly spaced (words).
        version: of the packages that it calls and of its own module.
        weights_sha256: hash of the weights, or None where there are none.
    """

    stream: Literal["text", "audio", "faces", "frames", "any"]
    shard: int
    dim: int
    hop: float | None
    version: str
    weights_sha256: str | None

    def __init__(self, options: Any, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Check what is needed.

        Args:
            options: an instance of the module's `Options`.
            weights: the folder or file that params.yaml names, or None.
            attrs: attributes of the stream (`rate` of images).

        Raises:
            DataError: weights that are missing; says which model, where to get it and where to put it.
        """

    def extract(self, stream: Any, ids: Sequence[str]) -> list[Features]:
        """Features of some utterances, in the order of `ids`; the result for one does not depend on the others.

        Args:
            stream: reader of the kind that the class names; `stream.row(utt_id)` gives one utterance.
            ids: utterances that are there; the runner itself writes zero steps for natural absence.
        """


def pool(frames: npt.NDArray[np.float32], frames_per_step: int) -> npt.NDArray[np.float32]:
    """Average consecutive frames `(T, D)` to steps `(ceil(T / frames_per_step), D)`.

    The last group may be smaller: it is the mean of the frames that it has.

    >>> pool(np.array([[1.0], [3.0], [5.0]], np.float32), 2).tolist()
    [[2.0], [5.0]]
    """
    if frames_per_step == 1 or not len(frames):
        return frames
    starts = np.arange(0, len(frames), frames_per_step)
    sums = np.add.reduceat(frames.astype(np.float64), starts, axis=0)
    counts = np.diff(np.append(starts, len(frames)))
    return (sums / counts[:, None]).astype(np.float32)
