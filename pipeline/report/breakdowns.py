"""Tables that take scores apart: by duration, and where modalities drop out independently by how many did."""

import math
from typing import Any

from pipeline.report.quantity import Quantity, quantity
from pipeline.report.results import bounds, curve_patterns, named, ordered, remark
from pipeline.report.table import NOTHING, Cell, Table, count

_PARTS = {0: "complete", 1: "one missing", 2: "two missing", 3: "three missing"}


def duration_tables(scores: dict[str, Any], primary: str) -> list[Table]:
    """AUILC of the primary metric by duration of the utterance, a table per curve pattern."""
    shown, tables = quantity(scores, primary), []
    for pattern in curve_patterns(scores):
        rows = [row for row in ordered(scores, primary) if row["durations"].get(pattern)]
        lines = []
        for row in rows:
            parts = [part["metrics"] and part["metrics"][primary] for part in row["durations"][pattern]]
            cells = [shown.estimate(part) if part else Cell(NOTHING) for part in parts]
            overall = Cell(shown.text(row["auilc"][pattern]["metrics"][primary]["area"]["pooled"]))
            lines.append([Cell(named(row)), *cells, overall])
        if rows:
            ranges = rows[0]["durations"][pattern]
            header = [f"{part['name']} ({100 * part['share']:.1f} %, {count(part['n'])})" for part in ranges]
            caption = (
                f"AUILC of {shown.said} on {scores['benchmark']} ({pattern}) by duration of the utterance, a range "
                "without its lower end; share and number of tested utterances. Folds of a seed are measured together; "
                f"mean and {100 * scores['confidence']:g} % t interval over seeds. {bounds(rows)} {remark(scores)}"
            )
            tables.append(Table(" ".join(caption.split()), ["row", *header, "all"], lines))
    return tables


def diagonal(scores: dict[str, Any]) -> dict[str, float]:
    """Conditions of `bernoulli` under which every modality that ever drops out does so with one probability."""
    rows = [row for row in scores["rows"] if "bernoulli" in row["patterns"]]
    names = [c["condition"] for c in rows[0]["patterns"]["bernoulli"]["conditions"]] if rows else []
    chances = {name: [float(p) for p in name.split("/")] for name in names}
    dropping = [m for m in range(3) if any(p[m] for p in chances.values())]
    same = {name: {p[m] for m in dropping} for name, p in chances.items()}
    found = {name: max(values, default=0.0) for name, values in same.items() if len(values) <= 1}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def diagonal_tables(scores: dict[str, Any], primary: str) -> list[Table]:
    """Accuracy along the diagonal with two kinds of interval, and how it comes about; none where nobody has it."""
    names = diagonal(scores)
    rows = [row for row in ordered(scores, primary) if "bernoulli" in row["patterns"] and row["decomposition"]]
    return [_accuracy(scores, rows, names), _decomposition(scores, rows, names)] if rows and names else []


def _accuracy(scores: dict[str, Any], rows: list[dict[str, Any]], names: dict[str, float]) -> Table:
    lines = []
    for row in rows:
        found = {c["condition"]: c["metrics"]["ACC"] for c in row["patterns"]["bernoulli"]["conditions"]}
        lines.append([Cell(named(row)), *(_both_intervals(found[name]) for name in names)])
    caption = (
        f"ACC in % on {scores['benchmark']} where modalities drop out with one probability: mean over runs with its "
        f"{100 * scores['confidence']:g} % t interval in brackets and, behind ±, 1.96 population deviations over the "
        "root of the number of runs, which is what fits the intervals that the reconstruction report prints (it is "
        f"narrower). {bounds(rows)} {remark(scores)}"
    )
    return Table(" ".join(caption.split()), ["row", *(f"{p:g}" for p in names.values())], lines)


def _both_intervals(found: dict[str, Any]) -> Cell:
    share = Quantity("ACC")
    cell = share.estimate(found)
    if found["sd"] is None:
        return cell
    # The population deviation from the sample one, sd * sqrt((n - 1) / n), divided by sqrt(n).
    half = 1.96 * found["sd"] * math.sqrt(found["n"] - 1) / found["n"]
    return Cell(f"{cell.text} ±{share.text(half)}", cell.note)


def _decomposition(scores: dict[str, Any], rows: list[dict[str, Any]], names: dict[str, float]) -> Table:
    kinds = sorted({part["missing"] for row in rows for c in row["decomposition"] for part in c["parts"]})
    lines = []
    for row in rows:
        known = {c["condition"]: c["parts"] for c in row["decomposition"]}
        for name, chance in names.items():
            parts = {part["missing"]: part for part in known[name]}
            total = sum(part["n"] for part in parts.values())
            right = sum(part["hits"] for part in parts.values())
            cells = [_part(parts[kind], total) if kind in parts else Cell(NOTHING) for kind in kinds]
            lines.append([Cell(f"{named(row)} at {chance:g}"), Cell(f"{100 * right / total:.2f}"), *cells])
    caption = (
        f"Where that accuracy comes from on {scores['benchmark']}: ACC in % of all predictions of all runs together, "
        "then of those whose utterance lost none, one, two of its modalities, and their share. ACC is the sum of share "
        f"x accuracy. {bounds(rows)} {remark(scores)}"
    )
    return Table(" ".join(caption.split()), ["row and probability", "ACC", *(_PARTS[kind] for kind in kinds)], lines)


def _part(part: dict[str, Any], total: int) -> Cell:
    return Cell(f"{100 * part['hits'] / part['n']:.2f}", f"of {100 * part['n'] / total:.1f} %")
