"""The tables of results of one scored benchmark."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.quantity import Quantity, quantity
from pipeline.report.table import NOTHING, Cell, Table

FLOOR = "majority"
"""The row that is the floor: it always predicts the most frequent class."""

OPTIMUM = "planted optimum"
"""The ceiling: the best reader of the symbols that a synthetic corpus plants."""

PATTERN_WORDS = {
    "frames": "single steps drop out",
    "bursts": "spans of steps drop out",
    "at_least_one": "whole modalities drop out, one always stays",
    "modalities": "only the named modalities are there",
    "bernoulli": "whole modalities drop out with probabilities text/audio/vision",
}
"""What each pattern of missing data does, the one of the papers first."""

_MODALITY = {"t": "text", "a": "audio", "v": "vision"}
_SYNTHETIC = "Synthetic corpus: the numbers show that the pipeline works, not how well a method recognises people."
_RANDOM = "Random weights: an extractor was never trained, the numbers only test the pipeline."


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix over all runs and repeats.

    Args:
        row: of the table.
        condition: missing rate.
        labels: the K classes.
        shares: `K x K` in [0, 1], rows = true class, each summing to 1 where the class occurs.
    """

    row: str
    condition: str
    labels: list[str]
    shares: list[list[float]]


def remark(scores: dict[str, Any]) -> str:
    """What every table of this benchmark has to say about the worth of its numbers; empty for real ones."""
    return " ".join(text for key, text in (("synthetic", _SYNTHETIC), ("random_weights", _RANDOM)) if scores[key])


def ordered(scores: dict[str, Any], primary: str) -> list[dict[str, Any]]:
    """Rows from the best AUILC of the primary metric on the first curve they have, then by name; oracles last.

    Where the study has no curve, the mean over the conditions of its first pattern decides.
    """
    sign = 1 if quantity(scores, primary).lower else -1

    def key(row: dict[str, Any]) -> tuple[bool, float, str]:
        area = first_area(row, primary)
        found = [row["patterns"][p]["conditions"] for p in PATTERN_WORDS if p in row["patterns"]]
        means = [area["mean"]] if area else [c["metrics"][primary]["mean"] for c in (found[0] if found else ())]
        return bool(row["oracle"]), sign * sum(means) / len(means) if means else float("inf"), str(row["row"])

    return sorted(scores["rows"], key=key)


def first_area(row: dict[str, Any], metric: str) -> dict[str, Any] | None:
    """AUILC of a row on the first curve that it has, or None."""
    found = (row["auilc"][p]["metrics"][metric]["area"] for p in PATTERN_WORDS if p in row["auilc"])
    return next(found, None)


def named(row: dict[str, Any]) -> str:
    """What a table calls a row: an oracle is marked as one."""
    return f"{row['row']} (oracle)" if row["oracle"] else str(row["row"])


def curve_patterns(scores: dict[str, Any]) -> list[str]:
    """Patterns that have an AUILC, the one of the papers first."""
    return [pattern for pattern in PATTERN_WORDS if any(pattern in row["auilc"] for row in scores["rows"])]


def auilc_table(scores: dict[str, Any], primary: str, pattern: str, *, brief: bool = False) -> Table:
    """AUILC of every row under one pattern.

    Args:
        scores: of a benchmark.
        primary: metric to sort by, and to show pooled.
        pattern: one of `curve_patterns`.
        brief: leave out mean heights and pooled values.
    """
    rows = ordered(scores, primary)
    scored = [row for row in rows if pattern in row["auilc"]]
    metrics, kinds = scores["metrics"], ("area",) if brief else ("area", "height")
    best = {}
    shown = {name: quantity(scores, name) for name in metrics}
    competing = [row for row in scored if not row["oracle"]]
    for name in metrics:
        winner = shown[name].clear_winner([row["auilc"][pattern]["metrics"][name]["area"] for row in competing])
        best[name] = None if winner is None else competing[winner]
    lines = []
    for row in rows:
        if row not in scored:
            lines.append(_empty(row, len(kinds) * len(metrics) + (not brief)))
            continue
        found = row["auilc"][pattern]["metrics"]
        cells = [
            shown[name].estimate(found[name][kind], strong=best[name] is row) for kind in kinds for name in metrics
        ]
        pooled = [] if brief else [Cell(shown[primary].text(found[primary]["area"]["pooled"]))]
        lines.append([Cell(named(row)), *cells, *pooled])
    rates = scored[0]["auilc"][pattern]["rates"]
    reach = rates[-1] - rates[0]
    sentences = [
        f"AUILC{_unit(shown.values())} on {scores['benchmark']} ({pattern}: {PATTERN_WORDS[pattern]}), {len(rates)} "
        f"rates from {rates[0]:g} to {rates[-1]:g}, un-normalised{_perfect(shown.values(), reach)}.",
        "" if brief else f"Mean height is AUILC / {reach:g}.",
        _runs(scored[0], scores),
        "Bold only where an interval is better than those of all other rows."
        if any(best.values()) and not brief
        else "",
        bounds(scored),
        remark(scores),
    ]
    if brief:
        return Table(_join(sentences), ["row", *metrics], lines)
    header = ["row", *metrics, *(f"{name} height" for name in metrics), f"{primary} pooled"]
    wide = len(metrics)
    groups = (("", 1), ("AUILC, un-normalised", wide), (f"mean height (AUILC / {reach:g})", wide), ("pooled", 1))
    return Table(_join(sentences), header, lines, groups)


def auilc_summary(scores: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Un-normalised AUILC of pattern `frames`, in [0, 1], as {benchmark: {row: {metric: mean}}}, for `dvc metrics`."""
    return {
        found["benchmark"]: {
            named(row): {m: v["area"]["mean"] for m, v in row["auilc"]["frames"]["metrics"].items()}
            for row in found["rows"]
            if "frames" in row["auilc"]
        }
        for found in scores
    }


def curve_table(scores: dict[str, Any], primary: str, pattern: str) -> Table:
    """The primary metric of every row at every rate: the numbers behind the curves."""
    return _condition_table(
        scores,
        primary,
        pattern,
        f"{quantity(scores, primary).said} on {scores['benchmark']} over missing rates ({pattern}: "
        f"{PATTERN_WORDS[pattern]}).",
    )


def set_tables(scores: dict[str, Any], primary: str) -> list[Table]:
    """The primary metric and accuracy where whole modalities are missing, with the planted optimum if it is known."""
    patterns = [p for p in ("modalities", "bernoulli") if any(p in row["patterns"] for row in scores["rows"])]
    return [
        _condition_table(
            scores,
            metric,
            pattern,
            f"{quantity(scores, metric).said} on {scores['benchmark']} ({pattern}: {PATTERN_WORDS[pattern]}).",
            scores["planted_optimum"] if pattern == "modalities" else {},
        )
        for pattern in patterns
        for metric in dict.fromkeys([primary, "ACC" if "ACC" in scores["metrics"] else "ACC2"])
    ]


def confusions(scores: dict[str, Any], primary: str) -> list[tuple[Confusion, Confusion]]:
    """Per row the confusion at the lowest and at the highest rate of the first curve pattern; none of a regression."""
    pattern = next(iter(curve_patterns(scores)), None)
    pairs = []
    for row in ordered(scores, primary):
        if scores["labels"] and pattern in row["patterns"]:
            conditions = row["patterns"][pattern]["conditions"]
            first, last = (_confusion(named(row), c, scores["labels"]) for c in (conditions[0], conditions[-1]))
            pairs.append((first, last))
    return pairs


def _condition_table(
    scores: dict[str, Any], metric: str, pattern: str, caption: str, optimum: dict[str, Any] | None = None
) -> Table:
    rows, shown = ordered(scores, metric), quantity(scores, metric)
    scored = [row for row in rows if pattern in row["patterns"]]
    names = [c["condition"] for c in scored[0]["patterns"][pattern]["conditions"]]
    lines = []
    if optimum:
        ceiling = [shown.estimate(optimum[name][metric], 1) if name in optimum else Cell(NOTHING) for name in names]
        lines.append([Cell(OPTIMUM), *ceiling])
    for row in rows:
        if row not in scored:
            lines.append(_empty(row, len(names)))
            continue
        found = [c["metrics"][metric] for c in row["patterns"][pattern]["conditions"]]
        lines.append([Cell(named(row)), *(shown.estimate(f, 1) for f in found)])
    explained = (
        f"'{OPTIMUM}' is the best reader of the planted symbols of these modalities on the same test utterances, "
        "interval over folds; it is best in expectation and in ACC, so a method may pass it by chance."
    )
    header = ["row", *("+".join(map(_MODALITY.__getitem__, n)) if pattern == "modalities" else n for n in names)]
    sentences = [caption, _runs(scored[0], scores), explained if optimum else "", bounds(scored), remark(scores)]
    return Table(_join(sentences), header, lines)


def _confusion(row: str, condition: dict[str, Any], labels: list[str]) -> Confusion:
    shares = [[n / (sum(counts) or 1) for n in counts] for counts in condition["confusion"]]
    return Confusion(row, condition["condition"], labels, shares)


def _empty(row: dict[str, Any], columns: int) -> list[Cell]:
    reason = f"not applicable: {row['not_applicable']}" if row["not_applicable"] else "not evaluated"
    return [Cell(named(row), reason), *[Cell(NOTHING)] * columns]


def _runs(row: dict[str, Any], scores: dict[str, Any]) -> str:
    metrics = next(iter(row["patterns"].values()))["conditions"][0]["metrics"]
    runs = next(iter(metrics.values()))["n"]
    text = f"Mean and {100 * scores['confidence']:g} % t interval over {runs} runs ({row['folds']} folds, "
    return f"{text}{len(row['seeds'])} seeds)." if runs > 1 else "One run (one fold, one seed): no interval."


def bounds(rows: Sequence[dict[str, Any]]) -> str:
    """What is to be said of oracles among some rows; empty where there is none."""
    return "Oracles see test labels: bounds, which compete with nobody." if any(r["oracle"] for r in rows) else ""


def _unit(shown: Collection[Quantity]) -> str:
    """The unit of several metrics, and which of them are better when low."""
    own = [metric.name for metric in shown if not metric.percent]
    lower = [metric.name for metric in shown if metric.lower]
    text = f" in %, but for {' and '.join(own)}" if own else " in %"
    return f"{text} (of {' and '.join(lower)} less is better)" if lower else text


def _perfect(shown: Collection[Quantity], reach: float) -> str:
    """The AUILC of a perfect row; it has no common value where metrics are of several kinds."""
    return f": a perfect row has {100 * reach:.2f}" if all(metric.percent for metric in shown) else ""


def _join(sentences: list[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
