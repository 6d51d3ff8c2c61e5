"""Tables as Markdown and plain text, and the words for numbers."""

import pytest

from pipeline.report.table import Cell, Table, count, operations

TABLE = Table(
    "Caption.",
    ["row", "ACC"],
    [[Cell("a|b"), Cell("50.00", "[40.00, 60.00]", strong=True)], [Cell("c", "not applicable: why"), Cell("–")]],
)


def test_markdown_has_as_many_bars_in_every_line_and_escapes_those_in_cells() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines == [
        "Caption.",
        "",
        "| row | ACC |",
        "| --- | ---: |",
        "| a\\|b | **50.00** [40.00, 60.00] |",
        "| c not applicable: why | – |",
    ]


def test_plain_text_aligns_columns_to_the_right_and_says_notes_of_rows_below() -> None:
    assert TABLE.plain().splitlines() == [
        "Caption.",
        "",
        "row                   ACC",
        "-------------------------",
        "a|b  50.00 [40.00, 60.00]",
        "c                       –",
        "c: not applicable: why",
    ]


def test_a_long_caption_is_wrapped() -> None:
    caption = Table("word " * 60, ["row"], [[Cell("a")]]).plain().split("\n\n")[0]
    assert max(map(len, caption.splitlines())) <= 80


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (1500, "1.5 k"), (2_410_000_000, "2.41 G")])
def test_operations_have_three_digits(value: int, text: str) -> None:
    assert operations(value) == text


def test_counts_have_groups_of_thousands() -> None:
    assert count(1234567) == "1,234,567"
