"""How a metric is written: in % or in units of its own, and which end of it is the better one."""

from dataclasses import dataclass
from typing import Any

from pipeline.report.table import Cell


@dataclass(frozen=True)
class Quantity:
    """A metric as people read it.

    Args:
        name: of the metric.
        percent: it is a share in [0, 1] that is written in %.
        lower: less of it is better.
    """

    name: str
    percent: bool = True
    lower: bool = False

    @property
    def factor(self) -> int:
        """What a value is multiplied with before it is written."""
        return 100 if self.percent else 1

    @property
    def said(self) -> str:
        """The name with its unit and, where less is better, a word of that."""
        return f"{self.name}{' in %' if self.percent else ''}{' (lower is better)' if self.lower else ''}"

    def text(self, value: float, digits: int = 2) -> str:
        """A value without its unit; what is no share has one digit more behind the point.

        >>> Quantity("UAR").text(0.5), Quantity("MAE", percent=False).text(0.5)
        ('50.00', '0.500')
        """
        return f"{self.factor * value:.{digits if self.percent else digits + 1}f}"

    def interval(self, found: dict[str, Any], digits: int = 2) -> str:
        """The interval of an estimate in brackets; empty where there is none."""
        return (
            "" if found["low"] is None else f"[{self.text(found['low'], digits)}, {self.text(found['high'], digits)}]"
        )

    def estimate(self, found: dict[str, Any], digits: int = 2, *, strong: bool = False) -> Cell:
        """A mean with its interval, where there is one."""
        return Cell(self.text(found["mean"], digits), self.interval(found, digits), strong)

    def clear_winner(self, found: list[dict[str, Any]]) -> int | None:
        """Which of several estimates has an interval better than the intervals of all others; None where none has."""
        if len(found) < 2 or any(f["low"] is None for f in found):
            return None
        near, far, sign = ("high", "low", -1) if self.lower else ("low", "high", 1)
        best = max(range(len(found)), key=lambda i: sign * float(found[i][near]))
        others = max(sign * float(f[far]) for i, f in enumerate(found) if i != best)
        return best if sign * found[best][near] > others else None


def quantity(scores: dict[str, Any], name: str) -> Quantity:
    """A metric of a scored benchmark."""
    described = scores["measures"][name]
    return Quantity(name, described["percent"], described["better"] == "lower")


def primary_metric(scores: dict[str, Any], asked: str) -> str:
    """The metric that is asked for, or the benchmark's main one where its task has no such metric."""
    return asked if asked in scores["metrics"] else str(scores["main"])
