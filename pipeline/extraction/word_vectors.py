"""A text file of word vectors, converted once to HDF5 and mapped into memory: only what is used is read.

The table is in the scratch folder (glove/{sha256 of the file}-1.h5). A killed conversion starts again; other processes
wait for it.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.execution.lock import exclusive
from pipeline.files import atomic, sha256
from pipeline.paths import scratch
from pipeline.progress import track

LEFT_OUT = ("repeated", "with a space", "not UTF-8")
"""Words that can never be found, by the reason."""

_FORMAT = 1
_BLOCK = 4096
_MARK = b"\xef\xbb\xbf"


def converted(text: Path) -> Path:
    """Where the table of a file is, once there is one."""
    return scratch() / "glove" / f"{sha256(text)}-{_FORMAT}.h5"


def word_table(text: Path, dim: int, target: Path) -> "WordTable":
    """The table of a file, made if it is not there.

    Args:
        text: the file.
        dim: numbers of every line.
        target: `converted(text)`.

    Raises:
        DataError: a line is not a word and its numbers.
    """
    if not target.is_file():
        with _alone(target.parent):
            if not target.is_file():  # another process may have been first
                _convert(text, dim, target)
    return WordTable(target)


class WordTable:
    """The converted file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """Map the arrays of `path`."""
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
    counts = dict.fromkeys(("words", *LEFT_OUT), 0)
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


def width(text: Path) -> int:
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
