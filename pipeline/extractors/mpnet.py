"""Sentences by MPNet: one vector per utterance, or one per word piece.

Song et al., "MPNet: Masked and Permuted Pre-training for Language Understanding", NeurIPS 2020,
https://arxiv.org/abs/2004.09297; the weights all-mpnet-base-v2 are tuned on pairs of sentences, after Reimers and
Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019,
https://aclanthology.org/D19-1410.

`output: sentence` gives a single step as the page of the weights computes it: the mean of the last hidden states over
the word pieces, marks included, divided by its length. `output: tokens` gives the last hidden states themselves, <s>
and </s> included. Longer texts are cut at `max_tokens`; the page of the weights uses 384.

The untrained network is all-mpnet-base-v2: 12 layers of 768 features, 108,895,872 parameters, the pooler left out
(109,486,464 with it); its vocabulary is made of BERT's: <s>, <pad>, </s>, <unk>, then BERT's 30,522, then <mask>.

A batch gives the numbers of a batch of one within 1e-5 of the largest value in float32, see
pipeline/extraction/language.py.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.extraction.language import (
    FILES,
    Architecture,
    EncoderOptions,
    Ids,
    bert_tokenizer,
    quiet_transformers,
)
from pipeline.extraction.weights import Checkpoint
from pipeline.extraction.word_pieces import EncodedText
from pipeline.extractors.protocol import Features, Weights

if TYPE_CHECKING:
    import torch


def _tokenizer() -> Any:
    words = bert_tokenizer().get_vocab()
    vocabulary = {mark: index for index, mark in enumerate(("<s>", "<pad>", "</s>", "<unk>"))}
    vocabulary |= {word: index + len(vocabulary) for word, index in words.items()}
    vocabulary["<mask>"] = len(vocabulary)
    return quiet_transformers().MPNetTokenizer(vocabulary).backend_tokenizer


_BASE_V2 = Architecture(
    "mpnet",
    {
        "vocab_size": 30527,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 514,
        "layer_norm_eps": 1e-5,
    },
    _tokenizer,
    reserved=2,
    attention="eager",  # transformers has no other for the position bias of MPNet
)


class Options(EncoderOptions):
    """Options of `mpnet`.

    Args:
        output: one vector of length 1 per utterance, or one vector per word piece.
    """

    max_tokens: int = Field(default=384, ge=3, le=512)
    output: Literal["sentence", "tokens"] = "sentence"


class MpNet(EncodedText):
    """768 features per utterance or per word piece; tokens are given with the latter."""

    architecture = _BASE_V2
    checkpoint = Checkpoint(
        "all-mpnet-base-v2", "https://huggingface.co/sentence-transformers/all-mpnet-base-v2", FILES
    )
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """See `EncodedText`."""
        super().__init__(options, weights, attrs)
        self.has_tokens = options.output == "tokens"

    def extract(self, prepared: Sequence[Ids]) -> list[Features]:
        """Values `(1, dim)` or `(T, dim)` float32 for every array of ids."""
        if self.has_tokens:
            return self._last_layers(prepared, 1)
        return [Features(values) for values in self._encoder.run(prepared, _sentence, lambda count: 1)]


def _sentence(states: Sequence["torch.Tensor"], there: "torch.Tensor") -> "torch.Tensor":
    """From hidden states `(B, T, D)` to unit vectors `(B, 1, D)`."""
    from torch.nn.functional import normalize

    weight = there[..., None].float()
    mean = (states[-1].float() * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return normalize(mean, dim=-1)
