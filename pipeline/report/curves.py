"""Interactive curves over the missing rate, as plotly figures in JSON."""

import json
from typing import Any

import plotly.graph_objects as go
import plotly.io

from pipeline.report.breakdowns import diagonal
from pipeline.report.quantity import Quantity, quantity
from pipeline.report.results import FLOOR, OPTIMUM, PATTERN_WORDS, curve_patterns, named

# Okabe and Ito's palette for all kinds of colour vision (https://jfly.uni-koeln.de/color/), without its yellow, which
# does not show on white; markers tell rows apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star")
GREY, INK, GRID = "#6b6b6b", "#222222", "#e6e6e6"
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 14, "color": INK}
_DASHES = ("dash", "longdash", "dashdot", "longdashdot")
_LABEL_PX = 17  # height of a label at the end of a line


def figure_patterns(scores: dict[str, Any]) -> list[str]:
    """Patterns that are drawn: those over missing rates, and the diagonal of `bernoulli`."""
    return [*curve_patterns(scores), *(["bernoulli"] if len(diagonal(scores)) > 1 else [])]


def figures(scores: dict[str, Any]) -> dict[str, Any]:
    """Every figure of a benchmark, by `pattern|metric`: what plotly.js draws, as JSON values."""
    return {
        f"{p}|{m}": _figure(scores, p, quantity(scores, m)) for p in figure_patterns(scores) for m in scores["metrics"]
    }


def _figure(scores: dict[str, Any], pattern: str, metric: Quantity) -> Any:
    rows = [row for row in scores["rows"] if pattern in row["patterns"]]
    points = diagonal(scores)
    if pattern != "bernoulli":
        points = {c["condition"]: float(c["condition"]) for c in rows[0]["patterns"][pattern]["conditions"]}
    rates = list(points.values())
    found = {named(row): _estimates(row, pattern, metric, list(points)) for row in rows}
    figure = go.Figure()
    ends: dict[str, tuple[float, str]] = {}
    seen = _add_bounds(figure, rates, [_heights(found[named(row)], metric) for row in rows if row["oracle"]])
    competing = [row["row"] for row in rows if row["row"] != FLOOR and not row["oracle"]]
    for index, name in enumerate(competing):
        colour, symbol = COLOURS[index % len(COLOURS)], _SYMBOLS[index % len(_SYMBOLS)]
        seen += _add_row(figure, name, rates, found[name], metric, colour, symbol)
        ends[name] = (seen[-1], colour)
    for name, (heights, line) in _references(scores, rows, found, metric).items():
        hover = "%{y:.1f} %" if metric.percent else "%{y:.3f}"
        figure.add_scatter(
            x=rates, y=heights, name=name, legendgroup=name, mode="lines", line=line, hovertemplate=hover
        )
        seen += heights
        ends[name] = (seen[-1], line["color"])
    low, high = min(seen), max(seen)
    margin = 0.06 * (high - low or 1.0)
    _label_ends(figure, ends, rates[-1], low - margin, high + margin)
    figure.update_layout(_layout(rates, metric, pattern, low - margin, high + margin, list(ends)))
    return json.loads(plotly.io.to_json(figure, engine="json"))


def _estimates(row: dict[str, Any], pattern: str, metric: Quantity, names: list[str]) -> list[dict[str, Any]]:
    """Estimates of a row under some conditions, in their order."""
    known = {c["condition"]: c["metrics"][metric.name] for c in row["patterns"][pattern]["conditions"]}
    return [known[name] for name in names]


def _heights(found: list[dict[str, Any]], metric: Quantity) -> list[float]:
    return [metric.factor * f["mean"] for f in found]


def _add_bounds(figure: Any, rates: list[float], oracles: list[list[float]]) -> list[float]:
    """Shade what lies between the lowest and the highest oracle; return every height drawn."""
    if len(oracles) < 2:
        return []
    low, high = ([pick(heights) for heights in zip(*oracles, strict=True)] for pick in (min, max))
    figure.add_scatter(
        x=[*rates, *reversed(rates)],
        y=[*high, *reversed(low)],
        name="between the oracles",
        fill="toself",
        fillcolor=GREY,
        opacity=0.1,
        line={"width": 0},
        hoverinfo="skip",
        mode="lines",
    )
    return [*low, *high]


def _references(
    scores: dict[str, Any], rows: list[dict[str, Any]], found: dict[str, list[dict[str, Any]]], metric: Quantity
) -> dict[str, tuple[list[float], dict[str, Any]]]:
    """Heights and line style of what does not compete: the floor, oracles, the ceiling, as far as they are known."""
    lines = {}
    for row in rows:
        if row["row"] == FLOOR:
            style = {"color": GREY, "width": 2, "dash": "dash"}
            lines[f"{FLOOR} (floor)"] = (_heights(found[named(row)], metric), style)
    for index, row in enumerate(row for row in rows if row["oracle"]):
        style = {"color": INK, "width": 1.5, "dash": _DASHES[index % len(_DASHES)]}
        lines[named(row)] = (_heights(found[named(row)], metric), style)
    if "tav" in scores["planted_optimum"]:
        height = metric.factor * scores["planted_optimum"]["tav"][metric.name]["mean"]
        points = len(next(iter(found.values())))
        lines[f"{OPTIMUM} (ceiling)"] = ([height] * points, {"color": INK, "width": 1.5, "dash": "dot"})
    return lines


def _add_row(
    figure: Any,
    name: str,
    rates: list[float],
    found: list[dict[str, Any]],
    metric: Quantity,
    colour: str,
    symbol: str,
) -> list[float]:
    """Draw a line with its band; return every height, the last one being the end of the line."""
    means, unit = _heights(found, metric), " %" if metric.percent else ""
    text = [f"{metric.text(f['mean'], 1)}{unit} {metric.interval(f, 1)}".strip() for f in found]
    edges: list[float] = []
    if found[0]["low"] is not None:
        low, high = ([metric.factor * f[end] for f in found] for end in ("low", "high"))
        edges = low + high
        figure.add_scatter(
            x=[*rates, *reversed(rates)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=colour,
            opacity=0.13,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            mode="lines",
        )
    figure.add_scatter(
        x=rates,
        y=means,
        name=name,
        legendgroup=name,
        text=text,
        hovertemplate="%{text}",
        mode="lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"symbol": symbol, "size": 7},
    )
    return [*edges, *means]


def _label_ends(figure: Any, ends: dict[str, tuple[float, str]], rate: float, bottom: float, top: float) -> None:
    """Name every line at its right end, moved apart where lines meet."""
    gap = _LABEL_PX / _height(len(ends)) * (top - bottom)
    names = sorted(ends, key=lambda name: (ends[name], name))
    for name, height in zip(names, spread([ends[name][0] for name in names], gap, top), strict=True):
        figure.add_scatter(
            x=[rate],
            y=[height],
            mode="text",
            text=[f"  <span style='color:{ends[name][1]}'>●</span> {name}"],
            textposition="middle right",
            textfont={"size": 13, "color": INK},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )


def spread(heights: list[float], gap: float, top: float) -> list[float]:
    """Move ascending heights apart to at least `gap`, upwards first and back down from `top`.

    >>> spread([1.0, 1.0, 5.0], 1.0, 6.0)
    [1.0, 2.0, 5.0]
    >>> spread([5.0, 6.0, 6.0], 1.0, 6.0)
    [4.0, 5.0, 6.0]
    """
    placed = list(heights)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    limit = top
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed


def _height(lines: int) -> int:
    """Pixels of the plot without axes and legend: room for a label per line."""
    return 320 + 12 * lines


def _layout(
    rates: list[float], metric: Quantity, pattern: str, low: float, high: float, names: list[str]
) -> dict[str, Any]:
    what = (
        "probability that a modality drops out"
        if pattern == "bernoulli"
        else f"missing rate ({PATTERN_WORDS[pattern]})"
    )
    better = ", lower is better" if metric.lower else ""
    unit = " (%)" if metric.percent else ""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GREY, "ticks": "outside", "tickcolor": GREY}
    return {
        "template": None,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": FONT,
        "height": _height(len(names)) + 140,
        "margin": {"l": 64, "r": 48 + 8 * max(map(len, names)), "t": 16, "b": 64},
        "hovermode": "x unified",
        "xaxis": {
            **axis,
            "title": {"text": what, "font": {"size": 14}},
            "range": [rates[0] - 0.01, rates[-1] + 0.01],
            "tickvals": rates,
            "ticktext": [f"{rate:g}" for rate in rates],
            "showgrid": False,
            "hoverformat": ".2f",
        },
        "yaxis": {
            **axis,
            "title": {"text": f"{metric.name}{unit}{better}", "font": {"size": 14}},
            "range": [low, high],
            "uirevision": metric.name,
        },
        "legend": {"orientation": "h", "y": -0.2, "x": 0, "uirevision": "kept"},
    }
