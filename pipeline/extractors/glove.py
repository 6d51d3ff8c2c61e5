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
import time
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.execution.lock import exclusive
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import ExtractorOptions, Features
from pipeline.files import atomic, sha256
from pipeline.paths import scratch
from pipeline.progress import track

_FORMAT = 1
_BLOCK = 4096
_LEFT_OUT = ("repeated", "with a space", "not UTF-8")
_MARK = b"\xef\xbb\xbf"
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
        self.dim = _width(weights)

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
        left_out = ", ".join(f"{counts[what]} {what}" for what in _LEFT_OUT if counts[what]) or "none"
        return [f"{self._text.name}: {counts['words']} words of {self.dim} features; left out: {left_out}"]

    @cached_property
    def _converted(self) -> Path:
        return scratch() / "glove" / f"{sha256(self._text)}-{_FORMAT}.h5"

    @cached_property
    def _table(self) -> "_Table":
        if not self._converted.is_file():
            with _alone(self._converted.parent):
                if not self._converted.is_file():  # another process may have been first
                    _convert(self._text, self.dim, self._converted)
        return _Table(self._converted)


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


class _Table:
    """The converted file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        import h5py

        with h5py.File(path) as file:
            mapped = {
                name: np.memmap(path, data.dtype, "r", data.id.get_offset(), data.shape).view(np.ndarray)
                for name, data in file.items()
            }
            self.counts = {str(what): int(count) for what, count in file.attrs.items()}
        self.values: npt.NDArray[np.float32] = mapped["values"]
        self._letters, self._starts, self._rows = mapped["letters"], mapped["starts"], mapped["rows"]

    def row(self, word: str) -> int:
        """Where the vector of a word is in `values`; -1 where the file lacks the word."""
        wanted = word.encode()
        place = bisect_left(range(len(self._rows)), wanted, key=self._word)
        return int(self._rows[place]) if place < len(self._rows) and self._word(place) == wanted else -1

    def _word(self, place: int) -> bytes:
        return bytes(self._letters[self._starts[place] : self._starts[place + 1]])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread converts."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(exclusive(folder))
                break
            except DataError:
                time.sleep(0.2)
        yield


def _convert(text: Path, dim: int, target: Path) -> None:
    """Write vectors in the order of the file and an index of its words: sorted, joined, with the row of each."""
    import h5py

    with text.open("rb") as file:
        lines = sum(1 for _ in file)
    words: list[bytes] = []
    with text.open("rb") as file, atomic(target) as temporary, h5py.File(temporary, "w", libver="latest") as table:
        values = table.create_dataset("values", (lines, dim), "<f4")  # contiguous: it can be mapped
        block = np.empty((_BLOCK, dim), np.float32)
        for row, line in enumerate(track(file, f"glove: {text.name}", "words", lines)):
            word, block[row % _BLOCK] = _parse(text, row + 1, line, dim)
            words.append(word)
            if (row + 1) % _BLOCK == 0 or row + 1 == lines:
                first = row - row % _BLOCK
                values[first : row + 1] = block[: row + 1 - first]
        rows, counts = _index(words)
        if not len(rows):
            raise DataError(f"{text}: found no word without a space and in UTF-8, expected GloVe's; get another file")
        table["letters"] = np.frombuffer(b"".join(words[row] for row in rows), np.uint8)
        table["starts"] = np.cumsum([0, *(len(words[row]) for row in rows)], dtype=np.int64)
        table["rows"] = rows
        table.attrs.update(counts)


def _index(words: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Rows of the words that can be found, in the order of the words, and how many of what there are."""
    counts = dict.fromkeys(("words", *_LEFT_OUT), 0)
    rows: list[int] = []
    for row in sorted(range(len(words)), key=words.__getitem__):  # stable: of equal words the first stays first
        word = words[row]
        if b" " in word:
            counts["with a space"] += 1
        elif rows and words[rows[-1]] == word:
            counts["repeated"] += 1
        elif word.decode(errors="ignore").encode() != word:
            counts["not UTF-8"] += 1
        else:
            rows.append(row)
    counts["words"] = len(rows)
    return np.array(rows, np.int64), counts


def _width(text: Path) -> int:
    """How many numbers follow the word of the first line."""
    with text.open("rb") as file:
        line = file.readline(1 << 20)
    parts = line.removeprefix(_MARK).split()
    if len(parts) == 2 and all(part.isdigit() for part in parts):
        raise DataError(f"{text}: line 1 is the header of word2vec's format, expected a word; delete that line")
    dim = line.rstrip(b" \r\n").count(b" ")
    _parse(text, 1, line, dim)
    return dim


def _parse(text: Path, number: int, line: bytes, dim: int) -> tuple[bytes, npt.NDArray[np.float32]]:
    """The word and the vector of a line."""
    word, *numbers = line.removeprefix(_MARK if number == 1 else b"").rstrip(b" \r\n").rsplit(b" ", dim or 1)
    vector = _floats(numbers)
    last = word.split(b" ")[1:][-1:]  # of a word with a space: a number too many, or nothing between two spaces?
    too_many = last == [b""] or (bool(last) and _floats(last) is not None)
    if vector is None or len(vector) != dim or not dim or too_many:
        raise DataError(
            f"{text}: line {number} is {line[:40]!r}..., expected a word and {dim or 'its'} numbers separated by "
            "single spaces; unpack or download the file again from https://nlp.stanford.edu/projects/glove/"
        )
    return word, vector


def _floats(numbers: Sequence[bytes]) -> npt.NDArray[np.float32] | None:
    try:
        vector = np.array(numbers, np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None
