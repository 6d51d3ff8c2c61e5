"""Text through an encoder of the hub: what `bert`, `minilm` and `mpnet` share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.extraction.language import Architecture, EncoderOptions, Ids, TextEncoder, mean_of_last
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, Weights


class EncodedText:
    """Word pieces and their encoder; subclasses name the model and say what becomes of its hidden states.

    Args:
        options: of the encoder.
        weights: where they are.
        attrs: of the corpus; not looked at.

    Raises:
        DataError: the folder holds another model.
        ParamsError: more tokens than the model has positions for.
    """

    stream: Literal["text"] = "text"
    checkpoint: ClassVar[Checkpoint]
    shard = 256
    hop = None
    has_tokens = True
    architecture: ClassVar[Architecture]

    def __init__(self, options: EncoderOptions, weights: Weights, attrs: Mapping[str, Any]) -> None:
        name = type(self).__module__.rpartition(".")[2]
        self._encoder = TextEncoder(name, self.architecture, self.checkpoint, weights, options)
        self.dim = self._encoder.dim
        self.network = self._encoder.network
        self.version = f"{self._encoder.version}, {name} 1"

    @property
    def unknown_token(self) -> int:
        """Id of what stands for an unknown word: [UNK], <unk>."""
        return self._encoder.unknown

    @property
    def framing_tokens(self) -> tuple[int, ...]:
        """Ids of the marks around a text: [CLS] and [SEP], <s> and </s>."""
        return self._encoder.framing

    def prepare(self, utt_id: str, content: str) -> Ids:
        """Token ids `(T,)`; T = 0 for white space."""
        return self._encoder.tokens(content)

    def _last_layers(self, prepared: Sequence[Ids], layers: int) -> list[Features]:
        """Per token the mean of so many last hidden layers `(T, dim)` float32, and the tokens."""
        found = self._encoder.run(prepared, mean_of_last(layers))
        return [Features(values, tokens=ids.astype(np.int32)) for values, ids in zip(found, prepared, strict=True)]


class WordPieceOptions(EncoderOptions):
    """Options of an extractor of word pieces.

    Args:
        layers: how many of the last hidden layers are averaged.
    """

    layers: int = Field(default=4, ge=1)


class WordPieces(EncodedText):
    """Mean of the last hidden layers per word piece.

    Args:
        options: of the encoder, and how many layers.
        weights: where they are.
        attrs: of the corpus; not looked at.

    Raises:
        DataError: the folder holds another model.
        ParamsError: more layers or tokens than the model has.
    """

    def __init__(self, options: WordPieceOptions, weights: Weights, attrs: Mapping[str, Any]) -> None:
        super().__init__(options, weights, attrs)
        self._encoder.check("layers", options.layers, self._encoder.layers, "layers")
        self._layers = options.layers

    def extract(self, prepared: Sequence[Ids]) -> list[Features]:
        """Values `(T, dim)` float32 and the tokens for every array of ids."""
        return self._last_layers(prepared, self._layers)
