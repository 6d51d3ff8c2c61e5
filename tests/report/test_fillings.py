"""What fillers put into holes: every number is in the table, the points and the projections."""

import json
import re
from typing import Any

import numpy as np
import pytest

from pipeline.report.fillings import error_figure, filling_table, projection_figures
from pipeline.report.pages import report_pages

SETS = ("audio", "vision", "audio+vision")


def filling(error: float, points: np.ndarray, *, varies: bool = True) -> dict[str, Any]:
    found = {"mean": error, "sd": 0.1, "low": error - 0.1, "high": error + 0.1, "n": 4}
    real = np.arange(20.0).reshape(10, 2) - 9
    return {
        "errors": {missing: dict.fromkeys(missing.split("+"), found) for missing in sorted(SETS)},
        "varies": varies,
        "projection": {
            "labels": [0, 1] * 5,
            "real": real.tolist(),
            "filled": {missing: points.tolist() for missing in SETS},
        },
    }


@pytest.fixture
def filled(scores: dict[str, Any]) -> dict[str, Any]:
    """Three rows with fillers, one of them an oracle; `majority` and the row that is not applicable have none."""
    rows = {row["row"]: row for row in scores["rows"]}
    rows["good"] |= {"reconstruction": filling(0.8, np.zeros((10, 2))), "oracle": True}
    rows["fair"]["reconstruction"] = filling(1.25, np.ones((10, 2)), varies=False)
    far = np.ones((10, 2))
    far[:3] = 1e4
    rows["fair:b"]["reconstruction"] = filling(153.0, far)
    return scores


def panels(figure: Any) -> list[str]:
    return [note["text"] for note in figure["layout"]["annotations"]]


def test_the_table_has_a_column_per_set_and_modality_and_oracles_last(filled: dict) -> None:
    table = filling_table(filled, "UAR")
    assert table is not None
    assert table.header == ["row", "audio", "vision", "audio of audio+vision", "vision of audio+vision"]
    assert {line[0].text for line in table.rows[:2]} == {"fair", "fair:b"}
    assert table.rows[-1][0].text == "good (oracle)"
    line = next(line for line in table.rows if line[0].text == "fair")
    assert line[1:] == [("1.250", "[1.150, 1.350]", False)] * 4
    for words in ("1 as far as the mean of the test part", "over 4 runs", "Oracles see test labels", "Synthetic"):
        assert words in table.caption


def test_a_set_that_a_row_never_lost_is_an_empty_cell(filled: dict) -> None:
    row = next(row for row in filled["rows"] if row["row"] == "fair")
    del row["reconstruction"]["errors"]["audio+vision"]
    table = filling_table(filled, "UAR")
    assert table is not None
    line = next(line for line in table.rows if line[0].text == "fair")
    assert [cell.text for cell in line[1:]] == ["1.250", "1.250", "–", "–"]
    figure = error_figure(filled, "UAR")
    assert sorted(len(trace["x"]) for trace in figure["data"]) == [2, 2, 3, 3]


def test_without_fillers_there_is_nothing(scores: dict) -> None:
    assert filling_table(scores, "UAR") is None
    assert error_figure(scores, "UAR") is None
    assert projection_figures(scores, "UAR") == {}
    html, markdown = report_pages([scores], "T", "UAR")
    assert "What fillers put" not in html
    assert "What fillers put" not in markdown


def test_errors_are_points_with_intervals_in_a_panel_per_modality(filled: dict) -> None:
    figure = error_figure(filled, "UAR")
    assert panels(figure) == ["audio", "vision"]
    assert [trace["name"] for trace in figure["data"] if trace["showlegend"]] == [
        "audio missing",
        "audio+vision missing",
        "vision missing",
    ]
    assert figure["layout"]["yaxis"]["ticktext"][-1] == "good (oracle)"
    first = figure["data"][0]
    assert sorted(first["x"]) == [0.8, 1.25, 153.0]
    assert first["error_x"]["array"] == pytest.approx([0.1] * 3)
    assert figure["layout"]["xaxis"]["type"] == "log"
    next(row for row in filled["rows"] if row["row"] == "fair:b")["reconstruction"] = None
    assert error_figure(filled, "UAR")["layout"]["xaxis"]["type"] == "linear"


def test_points_of_a_single_run_have_no_bars(filled: dict) -> None:
    for row in filled["rows"]:
        for own in row["reconstruction"]["errors"].values() if row["reconstruction"] else ():
            for found in own.values():
                found |= {"sd": None, "low": None, "high": None, "n": 1}
    assert not any(trace.get("error_x") for trace in error_figure(filled, "UAR")["data"])
    table = filling_table(filled, "UAR")
    assert table is not None
    assert "One run." in table.caption
    assert table.rows[0][1].note == ""


def test_every_set_has_a_figure_with_a_panel_per_row_and_a_colour_per_class(filled: dict) -> None:
    figures = projection_figures(filled, "UAR")
    assert list(figures) == list(SETS)
    figure = figures["audio+vision"]
    assert len(panels(figure)) == 3
    assert [trace["name"] for trace in figure["data"] if trace["showlegend"]] == ["anger", "joy"]
    for label, start in (("anger", 0), ("joy", 1)):
        own = [trace for trace in figure["data"] if trace["name"] == label]
        assert len(own) == 6
        assert len({trace["marker"]["color"] for trace in own}) == 1
        assert {trace["marker"]["symbol"] for trace in own} == {"circle", "x"}
        assert own[0]["x"] == [4.0 * i + 2 * start - 9 for i in range(5)]
    assert sum(len(trace["x"]) for trace in figure["data"]) == 3 * 2 * 10


def test_what_lies_far_off_is_counted_and_does_not_stretch_the_axes(filled: dict) -> None:
    figure = projection_figures(filled, "UAR")["audio"]
    assert any(title == "fair:b (3 of 10 outside)" for title in panels(figure))
    assert {"fair", "good (oracle)"} <= set(panels(figure))
    axes = [axis for name, axis in figure["layout"].items() if name.startswith("xaxis")]
    assert len({tuple(axis["range"]) for axis in axes}) == 1
    assert axes[0]["range"] == [-13.5, 13.5]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("constant", "every filler puts the same"),
        ("values", "labels are no classes"),
        ("classes", "8 classes at most"),
    ],
)
def test_where_nothing_is_projected_the_table_says_why(filled: dict, change: str, why: str) -> None:
    if change == "constant":
        for row in filled["rows"]:
            row["reconstruction"] = row["reconstruction"] and row["reconstruction"] | {"varies": False}
    else:
        filled["labels"] = [] if change == "values" else list("abcdefghi")
    assert projection_figures(filled, "UAR") == {}
    table = filling_table(filled, "UAR")
    assert table is not None
    assert "No projections: " in table.caption
    assert why in table.caption


def test_rows_beyond_the_twelfth_panel_are_named(filled: dict) -> None:
    row = next(row for row in filled["rows"] if row["row"] == "fair:b")
    filled["rows"] += [json.loads(json.dumps(row)) | {"row": f"more{i:02d}"} for i in range(10)]
    assert {len(panels(figure)) for figure in projection_figures(filled, "UAR").values()} == {12}
    table = filling_table(filled, "UAR")
    assert table is not None
    assert "Not projected, for want of room: good (oracle)." in table.caption
    assert len(table.rows) == 13


def test_both_pages_show_them_and_the_html_has_every_figure(filled: dict) -> None:
    html, markdown = report_pages([filled], "T", "UAR")
    data = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)]
    assert set(data[1]) == {""}
    assert set(data[2]) == set(SETS)
    assert '<option value="audio+vision">audio+vision</option>' in html
    assert "### What fillers put into holes" in markdown
    assert "\n\n\n\n" not in markdown
    assert report_pages([json.loads(json.dumps(filled))], "T", "UAR") == (html, markdown)
