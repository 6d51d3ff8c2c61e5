"""Interactive curves over the missing rate, as plotly figures in JSON."""

import json
from typing import Any

import plotly.graph_objects as go
import plotly.io

from pipeline.report.results import FLOOR, OPTIMUM, PATTERN_WORDS, curve_patterns

# Okabe and Ito's palette for all kinds of colour vision (https://jfly.uni-koeln.de/color/), without its yellow, which
# does not show on white; markers tell rows apart without colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star")
_GREY, _INK, _GRID = "#6b6b6b", "#222222", "#e6e6e6"
_LABEL_PX = 17  # height of a label at the end of a line


def figures(scores: dict[str, Any]) -> dict[str, Any]:
    """Every figure of a benchmark, by `pattern|metric`: what plotly.js draws, as JSON values."""
    return {f"{p}|{m}": _figure(scores, p, m) for p in curve_patterns(scores) for m in scores["metrics"]}


def _figure(scores: dict[str, Any], pattern: str, metric: str) -> Any:
    rows = [row for row in scores["rows"] if pattern in row["auilc"]]
    rates = rows[0]["auilc"][pattern]["rates"]
    figure = go.Figure()
    ends: dict[str, tuple[float, str]] = {}
    seen: list[float] = []
    for index, row in enumerate(row for row in rows if row["row"] != FLOOR):
        colour, symbol = _COLOURS[index % len(_COLOURS)], _SYMBOLS[index % len(_SYMBOLS)]
        seen += _add_row(figure, row, pattern, metric, colour, symbol)
        ends[row["row"]] = (seen[-1], colour)
    for name, (heights, line) in _references(scores, rows, pattern, metric).items():
        figure.add_scatter(
            x=rates, y=heights, name=name, legendgroup=name, mode="lines", line=line, hovertemplate="%{y:.1f} %"
        )
        seen += heights
        ends[name] = (seen[-1], line["color"])
    low, high = min(seen), max(seen)
    margin = 0.06 * (high - low or 1.0)
    _label_ends(figure, ends, rates[-1], low - margin, high + margin)
    figure.update_layout(_layout(rates, metric, pattern, low - margin, high + margin, list(ends)))
    return json.loads(plotly.io.to_json(figure, engine="json"))


def _references(
    scores: dict[str, Any], rows: list[dict[str, Any]], pattern: str, metric: str
) -> dict[str, tuple[list[float], dict[str, Any]]]:
    """Heights in % and line style of the floor and of the ceiling, as far as they are known."""
    found = {}
    for row in rows:
        if row["row"] == FLOOR:
            heights = [100 * c["metrics"][metric]["mean"] for c in row["patterns"][pattern]["conditions"]]
            found[f"{FLOOR} (floor)"] = (heights, {"color": _GREY, "width": 2, "dash": "dash"})
    if "tav" in scores["planted_optimum"]:
        height = 100 * scores["planted_optimum"]["tav"][metric]["mean"]
        heights = [height] * len(rows[0]["auilc"][pattern]["rates"])
        found[f"{OPTIMUM} (ceiling)"] = (heights, {"color": _INK, "width": 1.5, "dash": "dot"})
    return found


def _add_row(figure: Any, row: dict[str, Any], pattern: str, metric: str, colour: str, symbol: str) -> list[float]:
    """Draw a line with its band; return every height in %, the last one being the end of the line."""
    found = [c["metrics"][metric] for c in row["patterns"][pattern]["conditions"]]
    rates = row["auilc"][pattern]["rates"]
    means = [100 * f["mean"] for f in found]
    text = [f"{mean:.1f} %" for mean in means]
    edges: list[float] = []
    if found[0]["low"] is not None:
        low, high = ([100 * f[end] for f in found] for end in ("low", "high"))
        text = [f"{t} [{a:.1f}, {b:.1f}]" for t, a, b in zip(text, low, high, strict=True)]
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
            legendgroup=row["row"],
            mode="lines",
        )
    figure.add_scatter(
        x=rates,
        y=means,
        name=row["row"],
        legendgroup=row["row"],
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
            textfont={"size": 13, "color": _INK},
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


def _layout(rates: list[float], metric: str, pattern: str, low: float, high: float, names: list[str]) -> dict[str, Any]:
    axis = {"gridcolor": _GRID, "zeroline": False, "linecolor": _GREY, "ticks": "outside", "tickcolor": _GREY}
    return {
        "template": None,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 14, "color": _INK},
        "height": _height(len(names)) + 140,
        "margin": {"l": 64, "r": 48 + 8 * max(map(len, names)), "t": 16, "b": 64},
        "hovermode": "x unified",
        "xaxis": {
            **axis,
            "title": {"text": f"missing rate ({PATTERN_WORDS[pattern]})", "font": {"size": 14}},
            "range": [rates[0] - 0.01, rates[-1] + 0.01],
            "tickvals": rates,
            "ticktext": [f"{rate:g}" for rate in rates],
            "showgrid": False,
            "hoverformat": ".2f",
        },
        "yaxis": {
            **axis,
            "title": {"text": f"{metric} (%)", "font": {"size": 14}},
            "range": [low, high],
            "uirevision": metric,
        },
        "legend": {"orientation": "h", "y": -0.2, "x": 0, "uirevision": "kept"},
    }
