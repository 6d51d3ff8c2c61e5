"""Progress: items pass through unchanged; a log gets lines, a terminal a bar."""

import sys

import pytest

from pipeline.progress import track


def test_items_pass_through_in_order_and_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    taken = []

    def items() -> object:
        for number in range(5):
            taken.append(number)
            yield number

    for number in track(items(), "extract", "clips", 5):
        assert taken[-1] == number
    assert taken == [0, 1, 2, 3, 4]


def test_a_log_gets_whole_lines_with_the_count_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(3), "extract", "clips", 3))
    written = capsys.readouterr()
    assert written.out == ""
    assert "extract: 3/3" in written.err
    assert written.err.endswith("\n")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(track(range(3), "extract", "clips", 3))
    assert "100%" in capsys.readouterr().err


def test_an_empty_list_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([], "train", "models", 0)) == []
