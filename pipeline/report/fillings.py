"""What fillers put into holes: a table of errors, their points per modality, and projections beside the truth."""

import json
from typing import Any

import plotly.io
from plotly.subplots import make_subplots

from pipeline.data.modalities import MODALITIES
from pipeline.report.curves import COLOURS, FONT, GREY, GRID, INK
from pipeline.report.quantity import Quantity
from pipeline.report.results import bounds, named, ordered, remark
from pipeline.report.table import NOTHING, Cell, Table

_ERROR = Quantity("error", percent=False, lower=True)
_CLASSES = (*COLOURS, GREY)
_PANELS, _COLUMNS = 12, 4
_ROOM = 0.25
"""Of the reach of the true points, what is shown around them."""
_AXIS = {"gridcolor": GRID, "zeroline": False, "linecolor": GREY, "ticks": "outside", "tickcolor": GREY}


def filling_rows(scores: dict[str, Any], primary: str) -> list[dict[str, Any]]:
    """Rows with a filler, the best first, oracles last."""
    return [row for row in ordered(scores, primary) if row["reconstruction"]]


def filling_table(scores: dict[str, Any], primary: str) -> Table | None:
    """Error of every filler per set of missing modalities and modality; None where no row has one."""
    rows = filling_rows(scores, primary)
    if not rows:
        return None
    sets = _sets(rows)
    pairs = [(missing, m) for missing in sets for m in missing.split("+")]
    lines = []
    for row in rows:
        errors = row["reconstruction"]["errors"]
        known = [errors.get(missing, {}).get(m) for missing, m in pairs]
        lines.append([Cell(named(row)), *(_ERROR.estimate(found) if found else Cell(NOTHING) for found in known)])
    runs = max(found["n"] for row in rows for own in row["reconstruction"]["errors"].values() for found in own.values())
    interval = f"Mean and {100 * scores['confidence']:g} % t interval over {runs} runs." if runs > 1 else "One run."
    caption = (
        f"Reconstruction error on {scores['benchmark']}: test utterances that have all modalities lose some and are "
        "filled. Root mean square over utterances, draws and features, in deviations of each feature over these "
        "utterances: 0 is the truth, 1 as far as the mean of the test part, 1.414 the vector of an utterance drawn "
        "blindly. The least error is not the aim: draws that look real lie further off than a mean does. 'audio of "
        f"audio+vision' is the error of audio where both are missing. {interval} {_undrawn(scores, rows)} "
        f"{bounds(rows)} {remark(scores)}"
    )
    header = [m if missing == m else f"{m} of {missing}" for missing, m in pairs]
    return Table(" ".join(caption.split()), ["row", *header], lines)


def error_figure(scores: dict[str, Any], primary: str) -> Any:
    """Errors as points, a panel per modality and a colour per set of missing modalities; None without fillers."""
    rows = filling_rows(scores, primary)
    if not rows:
        return None
    sets = _sets(rows)
    modalities = [m for m in MODALITIES if any(m in missing.split("+") for missing in sets)]
    figure = make_subplots(rows=1, cols=len(modalities), shared_yaxes=True, subplot_titles=modalities)
    drawn, seen = set[str](), [1.0]
    for column, m in enumerate(modalities, start=1):
        own = [missing for missing in sets if m in missing.split("+")]
        for place, missing in enumerate(own):
            known = {y: row["reconstruction"]["errors"].get(missing, {}).get(m) for y, row in enumerate(rows)}
            found = {y: error for y, error in known.items() if error}
            means, ends = [e["mean"] for e in found.values()], {}
            if all(e["low"] is not None for e in found.values()):
                above, below = [[round(abs(e[end] - e["mean"]), 4) for e in found.values()] for end in ("high", "low")]
                ends = {"array": above, "arrayminus": below, "thickness": 1.5, "width": 0}
            figure.add_scatter(
                x=means,
                y=[y + 0.5 * ((place + 0.5) / len(own) - 0.5) for y in found],
                error_x=ends or None,
                mode="markers",
                marker={"color": COLOURS[sets.index(missing) % len(COLOURS)], "size": 8},
                name=f"{missing} missing",
                legendgroup=missing,
                legendrank=1000 + sets.index(missing),
                showlegend=missing not in drawn,
                text=[f"{named(rows[y])}: {_ERROR.text(e['mean'])} {_ERROR.interval(e)}" for y, e in found.items()],
                hovertemplate="%{text}",
                row=1,
                col=column,
            )
            drawn.add(missing)
            seen += means
        figure.add_vline(x=1, line={"color": GREY, "width": 1, "dash": "dash"}, row=1, col=column)
    kind = "log" if max(seen) > 10 * max(min(seen), 1e-9) else "linear"
    figure.update_xaxes(**_AXIS, type=kind, title={"text": "error (deviations)", "font": {"size": 13}})
    if kind == "log":
        figure.update_xaxes(dtick="D1" if max(seen) < 100 else 1)
    figure.update_yaxes(**_AXIS | {"ticks": ""}, range=[len(rows) - 0.5, -0.5])
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=[named(row) for row in rows], col=1)
    left = 24 + 8 * max(len(named(row)) for row in rows)
    return _json(figure, 34 * len(rows) + 170, {"l": left, "r": 24, "t": 32, "b": 110}, legend_px=60)


def projection_figures(scores: dict[str, Any], primary: str) -> dict[str, Any]:
    """A figure per set of missing modalities with a panel per row; empty where there is nothing to see."""
    rows = filling_rows(scores, primary)
    if _unseen(scores, rows):
        return {}
    rows = rows[:_PANELS]
    return {missing: _projection(scores, rows, missing) for missing in _sets(rows)}


def _projection(scores: dict[str, Any], rows: list[dict[str, Any]], missing: str) -> Any:
    every = [point for row in rows for point in row["reconstruction"]["projection"]["real"]]
    ranges = [_range([point[axis] for point in every]) for axis in (0, 1)]
    columns = min(_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    titles = [_title(row, missing, ranges) for row in rows]
    height = 230 * lines + 126
    figure = make_subplots(
        lines,
        columns,
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=titles,
        horizontal_spacing=0.015,
        vertical_spacing=34 / height if lines > 1 else 0,
    )
    named_classes = set[int]()
    for place, row in enumerate(rows):
        shown = row["reconstruction"]["projection"]
        for points, marker in ((shown["real"], _TRUE), (shown["filled"].get(missing, []), _FILLED)):
            for index, label in enumerate(scores["labels"] if points else ()):
                own = [p for p, known in zip(points, shown["labels"], strict=True) if known == index]
                first = index not in named_classes and marker is _FILLED and bool(own)
                named_classes |= {index} if first else set()
                figure.add_scatter(
                    x=[round(x, 2) for x, _ in own],
                    y=[round(y, 2) for _, y in own],
                    mode="markers",
                    marker={"color": _CLASSES[index], **marker},
                    name=label,
                    legendgroup=label,
                    legendrank=1000 + index,
                    showlegend=first,
                    hoverinfo="name",
                    row=place // columns + 1,
                    col=place % columns + 1,
                )
    figure.update_xaxes(**_AXIS, range=ranges[0])
    figure.update_yaxes(**_AXIS, range=ranges[1])
    return _json(figure, height, {"l": 40, "r": 16, "t": 56, "b": 70}, legend_px=30)


_TRUE = {"symbol": "circle", "size": 5, "opacity": 0.3}
_FILLED = {"symbol": "x", "size": 5, "opacity": 0.9}


def _title(row: dict[str, Any], missing: str, ranges: list[list[float]]) -> str:
    """Name of a panel, and how many filled points lie outside of it."""
    points = row["reconstruction"]["projection"]["filled"].get(missing, [])
    inside = sum(all(low <= x <= high for x, (low, high) in zip(p, ranges, strict=True)) for p in points)
    return named(row) + (f" ({len(points) - inside} of {len(points)} outside)" if inside < len(points) else "")


def _range(values: list[float]) -> list[float]:
    room = _ROOM * (max(values) - min(values) or 1.0)
    return [round(min(values) - room, 2), round(max(values) + room, 2)]


def _sets(rows: list[dict[str, Any]]) -> list[str]:
    """Sets of missing modalities that any row was filled for, small ones first."""
    found = {missing for row in rows for missing in row["reconstruction"]["errors"]}
    return sorted(found, key=lambda missing: (missing.count("+"), [MODALITIES.index(m) for m in missing.split("+")]))


def _unseen(scores: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Why rows are not projected; empty where they are."""
    if not any(row["reconstruction"]["varies"] for row in rows):
        return "No projections: every filler puts the same into all utterances."
    if not scores["labels"]:
        return "No projections: labels are no classes."
    if len(scores["labels"]) > len(_CLASSES):
        return f"No projections: there are colours for {len(_CLASSES)} classes at most."
    return ""


def _undrawn(scores: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What the projections leave out."""
    left = ", ".join(named(row) for row in rows[_PANELS:])
    return _unseen(scores, rows) or (f"Not projected, for want of room: {left}." if left else "")


def _json(figure: Any, height: int, margin: dict[str, int], legend_px: int) -> Any:
    figure.update_layout(
        template=None,
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        font=FONT,
        height=height,
        margin=margin,
        legend={
            "orientation": "h",
            "itemsizing": "constant",
            "x": 0,
            "y": -legend_px / (height - margin["t"] - margin["b"]),
            "yanchor": "top",
        },
    )
    figure.update_annotations(font={"size": 13, "color": INK})
    return json.loads(plotly.io.to_json(figure, engine="json"))
