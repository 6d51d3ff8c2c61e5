"""Tables about how sure the numbers are: bootstrap over speakers, pairs with a reference, calibration."""

from typing import Any

from pipeline.report.quantity import Quantity, quantity
from pipeline.report.results import bounds, curve_patterns, named, ordered, remark
from pipeline.report.table import NOTHING, Cell, Table


def statistics_tables(scores: dict[str, Any], primary: str) -> list[Table]:
    """Per curve pattern: intervals and pairs of AUILC, then calibration over rates, where there are probabilities."""
    tables = []
    for pattern in curve_patterns(scores):
        tables.append(_certainty(scores, primary, pattern))
        if any(row["calibration"][pattern] for row in _scored(scores, primary, pattern)):
            tables.append(_calibration(scores, primary, pattern))
    return tables


def _certainty(scores: dict[str, Any], primary: str, pattern: str) -> Table:
    reference, shown = scores["reference"], quantity(scores, primary)
    rows, lines = _scored(scores, primary, pattern), []
    for row in rows:
        area, own = row["auilc"][pattern]["metrics"][primary]["area"], row["bootstrap"][pattern][primary]
        against = row["against"].get(pattern, {}).get(primary)
        pairs = [Cell(NOTHING)] * 3
        if against:
            pairs = [
                Cell(_signed(shown, against["difference"]), shown.interval(against)),
                *(Cell(_p(against[f"{test}_holm"]), f"uncorrected {_p(against[f'{test}_p'])}") for test in _TESTS),
            ]
        if row["row"] == reference:
            pairs = [Cell("reference"), *pairs[1:]]
        sd = Cell(NOTHING if area["sd"] is None else shown.text(area["sd"]))
        lines.append([Cell(named(row)), Cell(shown.text(area["pooled"]), shown.interval(own)), sd, *pairs])
    confidence = f"{100 * scores['confidence']:g} %"
    caption = (
        f"How sure: AUILC of {shown.said} on {scores['benchmark']} ({pattern}). Pooled over folds with its "
        f"{confidence} bootstrap interval (speakers, then utterances of each, drawn with replacement), the sample "
        "deviation over runs"
    )
    header = ["row", f"{primary} pooled", "sd over runs"]
    if reference is None:
        return Table(_said(f"{caption}.", rows, scores), header, [line[:3] for line in lines])
    caption += (
        f", and the difference to {reference} on the same folds, seeds and masks: {confidence} t interval, p of the "
        "paired t and of Wilcoxon's signed-rank test after Holm's correction over the rows. Runs share data, so these "
        "p values are about training, not about other people."
    )
    return Table(_said(caption, rows, scores), [*header, f"difference to {reference}", "p (t)", "p (Wilcoxon)"], lines)


_TESTS = ("t", "wilcoxon")


def _calibration(scores: dict[str, Any], primary: str, pattern: str) -> Table:
    rows, share = _scored(scores, primary, pattern), Quantity("ECE", lower=True)
    names = [point["condition"] for point in rows[0]["calibration"][pattern]]
    lines = [
        [
            Cell(named(row)),
            *(Cell(share.text(c["ece"], 1), f"AURC {share.text(c['aurc'], 1)}") for c in row["calibration"][pattern]),
        ]
        for row in rows
    ]
    caption = (
        f"Calibration on {scores['benchmark']} over missing rates ({pattern}), in %: expected calibration error (15 "
        "bins; 0 is perfect) and, below, the area under the risk-coverage curve (AURC: mean error among the most "
        "confident; lower is better), means over runs."
    )
    return Table(_said(caption, rows, scores), ["row", *names], lines)


def _scored(scores: dict[str, Any], primary: str, pattern: str) -> list[dict[str, Any]]:
    return [row for row in ordered(scores, primary) if pattern in row["auilc"]]


def _said(caption: str, rows: list[dict[str, Any]], scores: dict[str, Any]) -> str:
    return " ".join(sentence for sentence in (caption, bounds(rows), remark(scores)) if sentence)


def _signed(shown: Quantity, difference: float) -> str:
    text = shown.text(difference)
    return text if text.startswith("-") else f"+{text}"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
