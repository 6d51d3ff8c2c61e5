"""Contextual word pieces by BERT: mean of the last hidden layers, per word piece.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019,
https://aclanthology.org/N19-1423. The last four layers are averaged, as MCT-HFR (Chen and Zhang, 2023) takes them;
one step per word piece, [CLS] and [SEP] included, at most `max_tokens`.

The untrained network is bert-base-uncased: 12 layers of 768 features, 108,891,648 parameters. The authors' pooler,
which no feature here passes through, is left out; with it they are 109,482,240. A folder may hold any other BERT
(bert-base-chinese, say): `dim` is its own.

`prepare` gives token ids and `extract` takes any: to know what a text is without a word, replace the word's ids by
[UNK] (100), never [CLS] or [SEP], and extract again. The ids are in the store, too.

A batch gives the numbers of a batch of one within 1e-5 of the largest value in float32, see
pipeline/extraction/language.py.
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
)
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, Weights

_BASE_UNCASED = Architecture(
    "bert",
    {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
    },
    bert_tokenizer,
)


class Options(EncoderOptions):
    """Options of `bert`.

    Args:
        layers: how many of the last hidden layers are averaged.
    """

    layers: int = Field(default=4, ge=1)


class Bert:
    """768 features per word piece."""

    stream: Literal["text"] = "text"
    checkpoint = Checkpoint("bert-base-uncased", "https://huggingface.co/google-bert/bert-base-uncased", FILES)
    shard = 256
    hop = None
    has_tokens = True

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Read the configuration of the model.

        Raises:
            DataError: the folder holds another model.
            ParamsError: more layers or tokens than the model has.
        """
        self._encoder = TextEncoder("bert", _BASE_UNCASED, self.checkpoint, weights, options)
        self._encoder.check("layers", options.layers, self._encoder.layers, "layers")
        self._reduce = mean_of_last(options.layers)
        self.dim = self._encoder.dim
        self.network = self._encoder.network
        self.version = f"{self._encoder.version}, bert 1"

    def prepare(self, utt_id: str, content: str) -> Ids:
        """Token ids `(T,)`; T = 0 for white space."""
        return self._encoder.tokens(content)

    def extract(self, prepared: Sequence[Ids]) -> list[Features]:
        """Values `(T, dim)` float32 and the tokens for every array of ids."""
        found = self._encoder.run(prepared, self._reduce)
        return [Features(values, tokens=ids.astype(np.int32)) for values, ids in zip(found, prepared, strict=True)]
