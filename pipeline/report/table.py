"""A table that can be shown as HTML (by the templates), as Markdown and as plain text."""

import math
import textwrap
from dataclasses import dataclass
from typing import NamedTuple

NOTHING = "–"
"""What stands where there is no value."""


class Cell(NamedTuple):
    """One cell.

    Args:
        text: what it says.
        note: said smaller, under or behind it.
        strong: shown bold.
    """

    text: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row names it.

    Args:
        caption: what was measured, on what and how.
        header: one name per column.
        rows: as many cells each as `header`.
        groups: what spans several columns, `(text, columns)`; only HTML shows it.
    """

    caption: str
    header: list[str]
    rows: list[list[Cell]]
    groups: tuple[tuple[str, int], ...] = ()

    def markdown(self) -> str:
        """The table in GitHub's Markdown, the caption above it."""
        lines = [_bars(self.header), _bars(["---", *["---:"] * (len(self.header) - 1)])]
        for row in self.rows:
            lines.append(
                _bars([f"**{_flat(c.text)}**{_behind(c)}" if c.strong else _flat(c.text) + _behind(c) for c in row])
            )
        return "\n".join([self.caption, "", *lines]) + "\n"

    def plain(self) -> str:
        """The table in aligned plain text; the caption stands above it, what rows have to say below."""
        rows = [self.header, *([r[0].text, *(f"{c.text} {c.note}".strip() for c in r[1:])] for r in self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.header))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        said = [f"{row[0].text}: {row[0].note}" for row in self.rows if row[0].note]
        caption = textwrap.wrap(self.caption, max(len(lines[0]), 80))
        return "\n".join([*caption, "", lines[0], "-" * len(lines[0]), *lines[1:], *said])


def count(value: int) -> str:
    """An integer with thin groups of thousands.

    >>> count(594816)
    '594,816'
    """
    return f"{value:,}"


def operations(value: int) -> str:
    """A count of operations with three significant digits.

    >>> operations(157_800_000)
    '158 M'
    """
    if value < 1000:
        return str(value)
    power = min(int(math.log10(value)) // 3, 4)
    return f"{value / 1000**power:.3g} {' kMGT'[power]}"


def _bars(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _behind(cell: Cell) -> str:
    return f" {_flat(cell.note)}" if cell.note else ""


def _flat(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
