"""Tables about how sure the numbers are: bootstrap over speakers, pairs with a reference, calibration."""

from typing import Any

from pipeline.report.results import curve_patterns, ordered, remark
from pipeline.report.table import NOTHING, Cell, Table, percent


def statistics_tables(scores: dict[str, Any], primary: str) -> list[Table]:
    """Per curve pattern: intervals and pairs of AUILC, then calibration over rates."""
    tables = []
    for pattern in curve_patterns(scores):
        tables += [_certainty(scores, primary, pattern), _calibration(scores, primary, pattern)]
    return tables


def _certainty(scores: dict[str, Any], primary: str, pattern: str) -> Table:
    reference = scores["reference"]
    lines = []
    for row in _scored(scores, primary, pattern):
        area, own = row["auilc"][pattern]["metrics"][primary]["area"], row["bootstrap"][pattern][primary]
        against = row["against"].get(pattern, {}).get(primary)
        pairs = [Cell(NOTHING)] * 3
        if against:
            pairs = [
                Cell(f"{100 * against['difference']:+.2f}", _interval(against)),
                *(Cell(_p(against[f"{test}_holm"]), f"uncorrected {_p(against[f'{test}_p'])}") for test in _TESTS),
            ]
        if row["row"] == reference:
            pairs = [Cell("reference"), *pairs[1:]]
        sd = Cell(NOTHING if area["sd"] is None else percent(area["sd"]))
        lines.append([Cell(row["row"]), Cell(percent(area["pooled"]), _interval(own)), sd, *pairs])
    confidence = f"{100 * scores['confidence']:g} %"
    caption = (
        f"How sure: AUILC of {primary} in % on {scores['benchmark']} ({pattern}). Pooled over folds with its "
        f"{confidence} bootstrap interval (speakers, then utterances of each, drawn with replacement), the sample "
        "deviation over runs"
    )
    header = ["row", f"{primary} pooled", "sd over runs"]
    if reference is None:
        return Table(f"{caption}. {remark(scores)}".strip(), header, [line[:3] for line in lines])
    caption += (
        f", and the difference to {reference} on the same folds, seeds and masks: {confidence} t interval, p of the "
        "paired t and of Wilcoxon's signed-rank test after Holm's correction over the rows. Runs share data, so these "
        f"p values are about training, not about other people. {remark(scores)}"
    )
    return Table(caption.strip(), [*header, f"difference to {reference}", "p (t)", "p (Wilcoxon)"], lines)


_TESTS = ("t", "wilcoxon")


def _calibration(scores: dict[str, Any], primary: str, pattern: str) -> Table:
    rows = _scored(scores, primary, pattern)
    names = [point["condition"] for point in rows[0]["calibration"][pattern]]
    lines = [
        [
            Cell(row["row"]),
            *(Cell(percent(c["ece"], 1), f"AURC {percent(c['aurc'], 1)}") for c in row["calibration"][pattern]),
        ]
        for row in rows
    ]
    caption = (
        f"Calibration on {scores['benchmark']} over missing rates ({pattern}), in %: expected calibration error (15 "
        "bins; 0 is perfect) and, below, the area under the risk-coverage curve (AURC: mean error among the most "
        f"confident; lower is better), means over runs. {remark(scores)}"
    )
    return Table(caption.strip(), ["row", *names], lines)


def _scored(scores: dict[str, Any], primary: str, pattern: str) -> list[dict[str, Any]]:
    return [row for row in ordered(scores, primary) if pattern in row["auilc"]]


def _interval(found: dict[str, Any]) -> str:
    return "" if found["low"] is None else f"[{percent(found['low'])}, {percent(found['high'])}]"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
