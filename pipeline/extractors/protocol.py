"""What an extractor is: a module of pipeline/extractors with `Options` and one class that has `extract`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.extraction.network import Network
from pipeline.extraction.weights import Checkpoint

FRAME_HOP = 0.01
"""Seconds between the frames of a `PooledOptions` extractor, before pooling."""

Weights = Path | Literal["random"] | None
"""Folder or file of the weights; `random`: the real architecture, untrained; None: an extractor that has none."""


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


class NetworkOptions(ExtractorOptions):
    """Options of an extractor that runs a network.

    Args:
        precision: number format of the network's products. `auto` is bfloat16 (autocast) on a GPU and float32 on a
            processor; the runner replaces it by what it stands for, so a store always says which it was.
    """

    precision: Literal["auto", "float32", "bfloat16"] = "auto"


@dataclass(frozen=True)
class Features:
    """Features of one utterance.

    Args:
        values: `(T, D)` float32; T = 0 when the modality is absent.
        present: `(T,)` bool, or None when every step is there; values are 0 where it is False.
        tokens: `(T,)` int32, the token that every step stands for; only from an extractor with `has_tokens`.
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_] | None = None
    tokens: npt.NDArray[np.int32] | None = None


class Extractor(Protocol):
    """Turns one kind of decoded stream into features, in two steps: `prepare` each utterance, `extract` many.

    A class may also have `notes() -> list[str]`, lines that are printed after the extraction. One that prepares texts
    as ids of tokens may have `unknown_token: int`, the id that stands for any word, and `framing_tokens`, a tuple of
    those that begin and end every text: `text_missing: unk` needs both.

    Built as `Class(options, weights, attrs)`; that is cheap, what is slow to import or to load waits for the first
    `prepare` or `extract`. `dim` and `hop` are known from then on: they may depend on the options, on the stream's
    attributes and on the configuration file beside the weights.

    Args:
        stream: what it reads, or `any` when it looks at ids only.
        checkpoint: where its weights come from, or None where it has none.
        shard: utterances that are extracted and saved together: enough to batch, few enough to lose to a kill and to
            hold in memory, prepared, twice.
        dim: D, features of one step.
        hop: seconds between steps, or None where steps are not evenly spaced (words) or there is one in all.
        version: of the packages that it calls and of its own module, as `opensmile 2.6.0, egemaps 1`.
        has_tokens: whether `Features.tokens` is given.
        network: what runs its batches, or None where it calls a toolkit.
    """

    stream: Literal["text", "audio", "faces", "frames", "any"]
    checkpoint: Checkpoint | None
    shard: int
    dim: int
    hop: float | None
    version: str
    has_tokens: bool
    network: Network | None

    def __init__(self, options: Any, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Check what is needed; the files of `checkpoint` are there.

        Args:
            options: an instance of the module's `Options`.
            weights: what params.yaml names, or the checkpoint's own default.
            attrs: attributes of the stream (`rate` of images).

        Raises:
            DataError: weights that are not those of this model.
            ParamsError: options that do not fit the weights.
        """

    def prepare(self, utt_id: str, content: Any) -> Any:
        """What `extract` needs of one utterance, on the processor.

        Runs ahead of `extract`, in threads of the same process: it may read `self` and must not change it.

        Args:
            utt_id: for messages.
            content: `stream.row(utt_id)` of the stream that the class names (None for `any`), never empty: the runner
                itself writes zero steps for natural absence.

        Raises:
            DataError: content that cannot be used; names the utterance.
        """

    def extract(self, prepared: Sequence[Any]) -> list[Features]:
        """Features of some prepared utterances, in their order; one does not depend on the others."""


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
