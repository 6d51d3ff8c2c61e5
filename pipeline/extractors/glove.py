r"""Word vectors by GloVe: one fixed vector per word, from the text file that the user names.

Pennington, Socher and Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014,
https://aclanthology.org/D14-1162. The usual file for emotion corpora is glove.840B.300d.txt (cased:
`lower_case: false`); glove.6B, glove.42B and glove.twitter.27B are uncased. `dim` is that of the file's first line.

A step is a word or a mark of punctuation, split much as the Stanford tokenizer did before GloVe was trained, see
`split_words`. A word that the file lacks keeps its step, which is 0 and not present, so the share of steps that are
not present is the share of unknown words.

The file is converted once to HDF5 in the scratch folder (glove/{sha256 of the file}-1.h5), which is mapped into memory:
only the vectors that are used are read. A killed conversion starts again; other processes wait for it. It takes about
1.5 minutes per million words, and 100 bytes of memory per word.

What the published files hold is taken as follows. A word that comes twice counts where it comes first; words with a
space in them or that are not UTF-8 can never be found and are left out; `notes` says how many. A byte order mark and
carriage returns are ignored. Every other line that is not a word and `dim` finite numbers, separated by single spaces,
is an error.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.extraction.weights import Checkpoint
from pipeline.extraction.word_vectors import LEFT_OUT, WordTable, converted, width, word_table
from pipeline.extractors.protocol import ExtractorOptions, Features

_ASCII = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "–": "--", "—": "--"})
_TOKEN = re.compile(
    r"""(?:[^\W\d_]\.){2,}             # U.S.
    | \b(?:mr|mrs|ms|dr)\.             # Mr.
    | \d+(?:[.,:]\d+)+                 # 3.50
    | [^\W_]+(?:['-][^\W_]+)*          # well-known, o'clock, can't
    | (?<!\S)'(?:s|m|d|ll|re|ve)(?!\w) # 's of a text that is split already
    | \.{2,} | -{2,} | \S""",
    re.VERBOSE | re.IGNORECASE,
)
_CONTRACTION = re.compile(r"(.+)(n't|'(?:s|m|d|ll|re|ve))", re.IGNORECASE)


class Options(ExtractorOptions):
    """Options of `glove`.

    Args:
        lower_case: whether words are looked up in lower case, which suits an uncased file.
    """

    lower_case: bool = True


class Glove:
    """`dim` features per word, as many as the file has."""

    stream: Literal["text"] = "text"
    checkpoint = Checkpoint("a text file of GloVe vectors", "https://nlp.stanford.edu/projects/glove/", random=False)
    shard = 1024
    hop = None
    version = "glove 1"
    has_tokens = False
    network = None

    def __init__(self, options: Options, weights: Path, attrs: Mapping[str, Any]) -> None:
        """Read the first line of the file `weights`.

        Raises:
            DataError: that is not a word and its numbers.
        """
        self._lower_case = options.lower_case
        self._text = weights
        self.dim = width(weights)

    def prepare(self, utt_id: str, content: str) -> list[str]:
        """The words of a text; none for white space."""
        return split_words(content.lower() if self._lower_case else content)

    def extract(self, prepared: Sequence[list[str]]) -> list[Features]:
        """Values `(T, dim)` float32 and present `(T,)` for every list of words.

        Raises:
            DataError: a line of the file is not a word and its numbers.
        """
        rows = {word: self._table.row(word) for word in sorted(set().union(*prepared))}
        found = []
        for words in prepared:
            own = np.array([rows[word] for word in words], np.int64)
            values = np.zeros((len(words), self.dim), np.float32)
            values[own >= 0] = self._table.values[own[own >= 0]]
            found.append(Features(values, own >= 0))
        return found

    def notes(self) -> list[str]:
        """What is worth knowing about the file, once it has been converted."""
        if not self._converted.is_file():
            return []
        counts = self._table.counts
        left_out = ", ".join(f"{counts[what]} {what}" for what in LEFT_OUT if counts[what]) or "none"
        return [f"{self._text.name}: {counts['words']} words of {self.dim} features; left out: {left_out}"]

    @cached_property
    def _converted(self) -> Path:
        return converted(self._text)

    @cached_property
    def _table(self) -> WordTable:
        return word_table(self._text, self.dim, self._converted)


def split_words(text: str) -> list[str]:
    """Split a text into words and marks of punctuation.

    Contractions come apart as in the Penn Treebank (do n't, it 's, I 'd 've); hyphenated words, numbers, abbreviations
    of single letters (U.S.) and Mr., Mrs., Ms., Dr. stay whole; several dots are one `...`, several hyphens or a dash
    one `--`; curly quotes become straight. Every other sign stands alone.

    >>> split_words("Mr. Ross can't pay $3.50 -- it's well-known…")
    ['Mr.', 'Ross', 'ca', "n't", 'pay', '$', '3.50', '--', 'it', "'s", 'well-known', '...']
    """
    words: list[str] = []
    for token in _TOKEN.findall(unicodedata.normalize("NFC", text).translate(_ASCII)):
        endings: list[str] = []
        word = {"..": "...", "--": "--"}.get(token[:2], token)
        while parts := _CONTRACTION.fullmatch(word):
            word = parts[1]
            endings.insert(0, parts[2])
        words += [word, *endings]
    return words
