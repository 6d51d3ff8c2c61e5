"""What papers printed, beside what was measured here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_csv
from pipeline.report.quantity import quantity
from pipeline.report.results import PATTERN_WORDS, named, ordered, remark
from pipeline.report.table import NOTHING, Cell, Table

AREA = "AUILC"
"""The condition under which a file has areas; other conditions are named as the patterns name them."""

_COLUMNS = ("row", "condition", "metric", "value", "interval", "source")


@dataclass(frozen=True)
class Figure:
    """One printed number.

    Args:
        row: the row of a study that it belongs beside.
        condition: of a pattern of missing data, or `AREA`.
        metric: as scores name it.
        value: as printed, shares in %.
        interval: half of it as printed, or empty.
        source: where it is printed.
    """

    row: str
    condition: str
    metric: str
    value: str
    interval: str
    source: str


def read_published(path: Path) -> list[Figure]:
    """Read a file of studies/published/.

    Raises:
        DataError: it is missing, has other columns, or has a number twice.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file, expected one of the committed ones; mend report.published in params.yaml"
        )
    figures = []
    for number, line in enumerate(read_csv(path), start=2):
        if tuple(line) != _COLUMNS:
            raise DataError(
                f"{path}: columns are {', '.join(line)}, expected {', '.join(_COLUMNS)}; mend its first line"
            )
        figures.append(Figure(**line))
        if [(f.row, f.condition, f.metric) for f in figures].count(
            (line["row"], line["condition"], line["metric"])
        ) > 1:
            raise DataError(f"{path}: line {number}: {line['row']}, {line['condition']}, {line['metric']} stands twice")
    return figures


def published_table(scores: dict[str, Any], primary: str, figures: Sequence[Figure]) -> Table:
    """Measured and printed numbers side by side; rows that only the paper has come last."""
    kinds = list(dict.fromkeys((f.condition, f.metric) for f in figures))
    printed = {(f.row, f.condition, f.metric): f for f in figures}
    papers = list(dict.fromkeys(f.row for f in figures))
    ours = [row for row in ordered(scores, primary) if row["row"] in papers]
    measured = {row["row"]: row for row in ours}
    lines = []
    for name in [*measured, *(paper for paper in papers if paper not in measured)]:
        row = measured.get(name)
        cells = [Cell(named(row) if row else name)]
        for condition, metric in kinds:
            cells.append(_measured(scores, row, condition, metric) if row else Cell(NOTHING))
            cells.append(_printed(printed.get((name, condition, metric))))
        lines.append(cells)
    sources = "; ".join(dict.fromkeys(f.source for f in figures))
    caption = (
        f"Measured on {scores['benchmark']} (folds of a seed together, mean over seeds) and, in columns marked "
        "published, what papers print, with half an interval where they have one. Published numbers were not measured "
        f"here: {sources}. {remark(scores)}"
    )
    header = [text for condition, metric in kinds for text in (_heading(condition, metric), "published")]
    return Table(caption.strip(), ["row", *header], lines)


def _heading(condition: str, metric: str) -> str:
    return f"{metric} {AREA}" if condition == AREA else f"{metric} at {condition}"


def _measured(scores: dict[str, Any], row: dict[str, Any], condition: str, metric: str) -> Cell:
    """The pooled value, as papers have it; nothing where the study has no such condition or metric."""
    if metric not in scores["metrics"]:
        return Cell(NOTHING)
    shown = quantity(scores, metric)
    for pattern in PATTERN_WORDS:
        if condition == AREA and pattern in row["auilc"]:
            return Cell(shown.text(row["auilc"][pattern]["metrics"][metric]["area"]["pooled"]))
        for found in row["patterns"][pattern]["conditions"] if pattern in row["patterns"] else ():
            if found["condition"] == condition:
                return Cell(shown.text(found["metrics"][metric]["pooled"]))
    return Cell(NOTHING)


def _printed(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(NOTHING)
    return Cell(figure.value, f"± {figure.interval}" if figure.interval else "")
