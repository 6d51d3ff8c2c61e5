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

from pipeline.extraction.language import FILES, Architecture, bert_tokenizer
from pipeline.extraction.weights import Checkpoint
from pipeline.extraction.word_pieces import WordPieceOptions, WordPieces

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


class Options(WordPieceOptions):
    """Options of `bert`."""


class Bert(WordPieces):
    """768 features per word piece."""

    checkpoint = Checkpoint("bert-base-uncased", "https://huggingface.co/google-bert/bert-base-uncased", FILES)
    architecture = _BASE_UNCASED
