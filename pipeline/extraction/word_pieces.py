"""Word pieces as steps: what `bert` and `minilm` share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.extraction.language import Architecture, EncoderOptions, Ids, TextEncoder, mean_of_last
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, Weights


class WordPieceOptions(EncoderOptions):
    """Options of an extractor of word pieces.

    Args:
        layers: how many of the last hidden layers are averaged.
    """

    layers: int = Field(default=4, ge=1)


class WordPieces:
    """Mean of the last hidden layers per word piece; subclasses name the model.

    Args:
        architecture: of the network.
    """

    stream: Literal["text"] = "text"
    checkpoint: ClassVar[Checkpoint]
    shard = 256
    hop = None
    has_tokens = True
    architecture: ClassVar[Architecture]

    def __init__(self, options: WordPieceOptions, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Read the configuration of the model.

        Raises:
            DataError: the folder holds another model.
            ParamsError: more layers or tokens than the model has.
        """
        name = type(self).__module__.rpartition(".")[2]
        self._encoder = TextEncoder(name, self.architecture, self.checkpoint, weights, options)
        self._encoder.check("layers", options.layers, self._encoder.layers, "layers")
        self._reduce = mean_of_last(options.layers)
        self.dim = self._encoder.dim
        self.network = self._encoder.network
        self.version = f"{self._encoder.version}, {name} 1"

    @property
    def unknown_token(self) -> int:
        """Id of [UNK]."""
        return self._encoder.unknown

    @property
    def framing_tokens(self) -> tuple[int, ...]:
        """Ids of [CLS] and [SEP]."""
        return self._encoder.framing

    def prepare(self, utt_id: str, content: str) -> Ids:
        """Token ids `(T,)`; T = 0 for white space."""
        return self._encoder.tokens(content)

    def extract(self, prepared: Sequence[Ids]) -> list[Features]:
        """Values `(T, dim)` float32 and the tokens for every array of ids."""
        found = self._encoder.run(prepared, self._reduce)
        return [Features(values, tokens=ids.astype(np.int32)) for values, ids in zip(found, prepared, strict=True)]
