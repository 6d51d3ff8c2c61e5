"""GloVe: the file as published, the table made of it, words."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.extraction import word_vectors
from pipeline.extractors.glove import Glove, Options, split_words
from pipeline.files import sha256

ROOT = Path(__file__).parents[2]
WORDS = ["the", "happy", "!", "n't", "do", "café", "see", "you", "well-known"]
VECTORS = np.round(np.random.default_rng(3).standard_normal((len(WORDS), 5)), 4).astype(np.float32)
VECTORS[1] = [-0.125, 2.5, 0.0, 1e-3, -7.75]

# Converts, and kills itself, as `kill -9` does, at the sixth line.
DYING = """
import os, signal, sys
from pathlib import Path
from pipeline.extraction import word_vectors
from pipeline.extractors import glove

parse = word_vectors._parse

def parse_or_die(text, number, line, dim):
    if number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return parse(text, number, line, dim)

extractor = glove.Glove(glove.Options(), Path(sys.argv[1]), {})
word_vectors._parse = parse_or_die
extractor.extract([["the"]])
"""


def lines(words: list[str] = WORDS) -> list[bytes]:
    return [" ".join([word, *map(str, VECTORS[row % len(VECTORS)])]).encode() for row, word in enumerate(words)]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACUNA_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch" / "glove"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "glove.tiny.5d.txt"
    path.write_bytes(b"\n".join(lines()) + b"\n")
    return path


def extract(text: Path, content: str, **options: bool):
    extractor = Glove(Options(**options), text, {})
    return extractor.extract([extractor.prepare("u", content)])[0]


def test_steps_are_the_vectors_of_the_words_and_unknown_ones_are_zero_and_not_present(text):
    features = extract(text, "Don't you see? Happy!")
    assert features.values.dtype == np.float32
    expected = {"do": 4, "n't": 3, "you": 7, "see": 6, "?": None, "happy": 1, "!": 2}
    assert features.present.tolist() == [row is not None for row in expected.values()]
    for step, row in zip(features.values, expected.values(), strict=True):
        assert step.tolist() == (VECTORS[row].tolist() if row is not None else [0.0] * 5)


def test_every_word_of_the_file_is_found_and_its_neighbours_in_the_order_are_not(text):
    extractor = Glove(Options(), text, {})
    found = extractor.extract([WORDS, [word + "a" for word in WORDS], [word[:-1] or "~" for word in WORDS]])
    np.testing.assert_array_equal(found[0].values, VECTORS)
    assert not found[1].present.any()
    assert not found[2].present.any()


def test_order_and_company_of_texts_change_nothing(text):
    extractor = Glove(Options(), text, {})
    contents = ["the happy", " \n ", "see you !", "nobody"]
    together = extractor.extract([extractor.prepare("u", content) for content in contents])
    assert [features.values.shape for features in together] == [(2, 5), (0, 5), (3, 5), (1, 5)]
    for content, features in zip(contents, together, strict=True):
        np.testing.assert_array_equal(extract(text, content).values, features.values)


def test_lower_case_is_for_files_without_capitals(tmp_path):
    text = tmp_path / "cased.txt"
    text.write_bytes(b"\n".join(lines(["The", "the"])))
    assert extract(text, "The the", lower_case=False).values.tolist() == VECTORS[:2].tolist()
    assert extract(text, "The the").values.tolist() == VECTORS[[1, 1]].tolist()


@pytest.mark.parametrize("block", [1, 4, 9, 10])
def test_block_size_of_the_conversion_does_not_matter(text, monkeypatch, block):
    monkeypatch.setattr(word_vectors, "_BLOCK", block)
    np.testing.assert_array_equal(
        extract(text, " ".join(w for w in WORDS if w != "n't")).values, np.delete(VECTORS, 3, 0)
    )


def test_file_is_converted_once_and_the_table_bears_its_hash(text, scratch, monkeypatch):
    assert not scratch.exists()
    first = extract(text, "happy")
    assert [path.name for path in scratch.glob("*.h5")] == [f"{sha256(text)}-1.h5"]
    monkeypatch.setattr(word_vectors, "_convert", None)
    np.testing.assert_array_equal(extract(text, "happy").values, first.values)


def test_changed_file_is_converted_anew(text, scratch):
    extract(text, "happy")
    text.write_bytes(text.read_bytes().replace(b"2.5", b"3.5"))
    assert extract(text, "happy").values[0, 1] == 3.5
    assert len(list(scratch.glob("*.h5"))) == 2


def test_conversion_that_was_killed_starts_again(text, scratch):
    command = [sys.executable, "-c", DYING, str(text)]
    assert subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == -signal.SIGKILL
    assert [path.name for path in scratch.iterdir() if path.suffix == ".tmp"]
    assert not list(scratch.glob("*.h5"))
    np.testing.assert_array_equal(extract(text, "well-known").values, VECTORS[8:])
    assert {path.suffix for path in scratch.iterdir()} == {".h5", ""}  # the table and the lock


def _convert_beside_others(text, log, gate, results):
    original = word_vectors._convert

    def convert(*arguments):
        with log.open("a") as file:
            file.write("once\n")
        original(*arguments)

    word_vectors._convert = convert
    gate.wait()
    results.put(extract(text, "happy").values.tolist())


def test_of_several_processes_one_converts_and_the_others_wait(text, scratch, tmp_path):
    context = multiprocessing.get_context("fork")
    gate, results, log = context.Barrier(3), context.Queue(), tmp_path / "log"
    others = [context.Process(target=_convert_beside_others, args=(text, log, gate, results)) for _ in range(3)]
    for process in others:
        process.start()
    assert [results.get(timeout=30) for _ in others] == [VECTORS[[1]].tolist()] * 3
    for process in others:
        process.join(10)
    assert log.read_text() == "once\n"


def test_quirks_of_the_published_files_are_taken_and_told(tmp_path):
    text = tmp_path / "quirks.txt"
    names = ["the", ". . .", "happy", "the", "at name@domain.com", "caf\udce9", "\x85", "see"]
    quirks = [
        " ".join([word, *map(str, VECTORS[row])]).encode("utf-8", "surrogateescape") for row, word in enumerate(names)
    ]
    text.write_bytes(b"\xef\xbb\xbf" + b" \r\n".join(quirks))
    extractor = Glove(Options(), text, {})
    assert extractor.notes() == []
    found = extractor.extract([["the", "happy", "\x85", "see", "caf\ufffd", ". . ."]])[0]
    np.testing.assert_array_equal(found.values[:4], VECTORS[[0, 2, 6, 7]])
    assert found.present.tolist() == [True] * 4 + [False] * 2
    assert extractor.notes() == ["quirks.txt: 4 words of 5 features; left out: 1 repeated, 2 with a space, 1 not UTF-8"]


def test_any_width_is_accepted(tmp_path):
    text = tmp_path / "narrow.txt"
    text.write_text("a 0.5\nb -1\n")
    assert extract(text, "b a").values.tolist() == [[-1.0], [0.5]]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "line 1 is b''"),
        (b"\n", "line 1 is"),
        (b"the\n", "line 1 is b'the"),
        (b"the 0.1 0.x\n", "line 1 is b'the 0.1 0.x"),
        (b"PK\x03\x04\x00\x00 \xff\x00 \x00", "line 1 is b'PK"),
        ("the 0.1 0.2\n".encode("utf-16"), "line 1 is"),
        (b"400000 2\nthe 0.1 0.2\n", "line 1 is the header of word2vec's format"),
    ],
)
def test_file_that_is_no_glove_file_is_refused_before_any_work(tmp_path, content, found):
    text = tmp_path / "wrong.txt"
    text.write_bytes(content)
    with pytest.raises(DataError) as caught:
        Glove(Options(), text, {})
    assert str(caught.value).startswith(f"{text}: {found}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [b"see 0.1", b"see 0.1 0.2 0.3", b"see 0.1 x", b"see 0.1 nan", b"see inf 0.1", b"see  0.1 0.2", b"", b"0.1 0.2",
     b"see\t0.1\t0.2"],
)  # fmt: skip
def test_malformed_line_is_refused_with_its_number(tmp_path, scratch, line):
    text = tmp_path / "wrong.txt"
    text.write_bytes(b"the 0.1 0.2\nyou 0.3 0.4\n" + line + b"\nhappy 0.5 0.6\n")
    with pytest.raises(DataError, match=r"wrong\.txt: line 3 is .* expected a word and 2 numbers") as caught:
        extract(text, "you")
    assert "\n" not in str(caught.value)
    assert not list(scratch.glob("*.h5"))


def test_file_without_one_usable_word_is_refused(tmp_path):
    text = tmp_path / "spaces.txt"
    text.write_bytes(b"\xe9 0.1 0.2\na b 0.1 0.2\n")
    with pytest.raises(DataError, match="found no word"):
        extract(text, "you")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("I don't know, it's Joey's!", ["I", "do", "n't", "know", ",", "it", "'s", "Joey", "'s", "!"]),
        ("do n't it 's", ["do", "n't", "it", "'s"]),
        ("I'd've CAN'T we’ll", ["I", "'d", "'ve", "CA", "N'T", "we", "'ll"]),
        ("o'clock ma'am goin' 'so'", ["o'clock", "ma'am", "goin", "'", "'", "so", "'"]),
        (
            "the U.S. at 7:30 a.m. with Mr. Tribbiani.",
            ["the", "U.S.", "at", "7:30", "a.m.", "with", "Mr.", "Tribbiani", "."],
        ),
        ("10,000 3.5% 3rd 90's -5", ["10,000", "3.5", "%", "3rd", "90", "'s", "-", "5"]),
        ("well... no—wait..", ["well", "...", "no", "--", "wait", "..."]),
        ("mother-in-law's and/or", ["mother-in-law", "'s", "and", "/", "or"]),
        ("“Yes”?! [LAUGHTER]", ['"', "Yes", '"', "?", "!", "[", "LAUGHTER", "]"]),
        ("cafe\u0301 你好 🙂", ["café", "你好", "🙂"]),
        (" \n\t", []),
    ],
)
def test_words_are_split_as_in_the_penn_treebank(content, words):
    assert split_words(content) == words
