"""Tables by duration and along the diagonal, with both intervals and parts that add up."""

import math
from typing import Any

import numpy as np
import pytest

from pipeline.report.breakdowns import diagonal, diagonal_tables, duration_tables
from pipeline.report.curves import figure_patterns, figures
from pipeline.report.pages import report_pages
from pipeline.report.results import ordered

CONDITIONS = ["0.0/1.0/1.0", "0.0/0.0/0.0", "0.0/0.5/0.5", "0.0/0.5/0.0"]


@pytest.fixture
def apart(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores with conditions of `bernoulli`, durations, and two oracles."""
    for height, row in enumerate(scores["rows"][1:]):
        names = ("ACC", "UAR", "UF1", "WF1")
        values = {c: 0.9 - 0.1 * height - 0.4 * c.count("1.0") - 0.2 * c.count("0.5") / 2 for c in CONDITIONS}
        row["patterns"]["bernoulli"] = {
            "repeats": 1,
            "conditions": [
                {
                    "condition": c,
                    "metrics": {
                        name: {"mean": v, "pooled": v, "sd": 0.02, "low": v - 0.03, "high": v + 0.03, "n": 5}
                        for name in names
                    },
                }
                for c, v in values.items()
            ],
        }
        row["decomposition"] = [
            {
                "condition": c,
                "parts": [
                    {"missing": missing, "n": n, "hits": hits}
                    for missing, n, hits in ((0, 50, 45), (1, 30, 12), (2, 20, 3))
                ],
            }
            for c in CONDITIONS
        ]
        found = {name: {"mean": 0.5, "sd": 0.1, "low": 0.4, "high": 0.6, "n": 2} for name in names}
        row["durations"] = {
            "frames": [
                {"name": "up to 2 s", "n": 10, "share": 0.25, "metrics": found},
                {"name": "over 2 s", "n": 0, "share": 0.0, "metrics": None},
                {"name": "unknown", "n": 30, "share": 0.75, "metrics": found},
            ]
        }
    for name in ("good", "fair:b"):
        next(row for row in scores["rows"] if row["row"] == name)["oracle"] = True
    return scores


def test_the_diagonal_has_the_conditions_of_one_probability_in_ascending_order(apart: dict) -> None:
    assert diagonal(apart) == {"0.0/0.0/0.0": 0.0, "0.0/0.5/0.5": 0.5, "0.0/1.0/1.0": 1.0}
    assert diagonal(apart | {"rows": apart["rows"][:1]}) == {}


def test_the_diagonal_shows_the_t_interval_and_that_of_the_report(apart: dict) -> None:
    accuracy, _ = diagonal_tables(apart, "UAR")
    assert accuracy.header == ["row", "0", "0.5", "1"]
    cell = next(line for line in accuracy.rows if line[0].text == "fair")[1]
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    values = values / values.std(ddof=1) * 0.02
    half = 1.96 * values.std() / math.sqrt(5)
    assert cell.text == f"80.00 ±{100 * half:.2f}"
    assert cell.note == "[77.00, 83.00]"


def test_parts_have_share_and_accuracy_and_add_up(apart: dict) -> None:
    _, parts = diagonal_tables(apart, "UAR")
    assert parts.header == ["row and probability", "ACC", "complete", "one missing", "two missing"]
    line = next(line for line in parts.rows if line[0].text == "fair at 0.5")
    assert [cell.text for cell in line[1:]] == ["60.00", "90.00", "40.00", "15.00"]
    assert [cell.note for cell in line[2:]] == ["of 50.0 %", "of 30.0 %", "of 20.0 %"]
    assert 0.5 * 90 + 0.3 * 40 + 0.2 * 15 == 60


def test_scores_without_such_a_pattern_have_no_diagonal(scores: dict) -> None:
    assert diagonal_tables(scores, "UAR") == []
    assert figure_patterns(scores) == ["frames", "bursts"]


def test_without_a_curve_the_mean_over_conditions_orders_the_rows(apart: dict) -> None:
    for row in apart["rows"]:
        row["auilc"] = row["degenerate"] = {}
        row["patterns"] = {name: found for name, found in row["patterns"].items() if name == "bernoulli"}
    assert [row["row"] for row in ordered(apart, "ACC")] == ["fair", "majority", "absent", "good", "fair:b"]
    html, markdown = report_pages([apart], "T", "ACC")
    assert "bernoulli|ACC" in html
    assert "### Whole modalities missing" in markdown


def test_durations_name_share_and_number_and_leave_empty_ranges_empty(apart: dict) -> None:
    (table,) = duration_tables(apart, "UAR")
    assert table.header == ["row", "up to 2 s (25.0 %, 10)", "over 2 s (0.0 %, 0)", "unknown (75.0 %, 30)", "all"]
    line = next(line for line in table.rows if line[0].text == "fair")
    assert [cell.text for cell in line[1:4]] == ["50.00", "–", "50.00"]
    assert "t interval over seeds" in table.caption


def test_the_diagonal_is_drawn_with_oracles_dashed_and_what_is_between_them_shaded(apart: dict) -> None:
    assert figure_patterns(apart) == ["frames", "bursts", "bernoulli"]
    figure = figures(apart)["bernoulli|ACC"]
    lines = {trace["name"]: trace for trace in figure["data"] if trace.get("name")}
    assert set(lines) == {
        "fair",
        "majority (floor)",
        "good (oracle)",
        "fair:b (oracle)",
        "between the oracles",
        "planted optimum (ceiling)",
    }
    assert lines["fair"]["x"] == [0.0, 0.5, 1.0]
    assert lines["fair"]["y"] == pytest.approx([80.0, 60.0, 0.0])
    for name in ("good (oracle)", "fair:b (oracle)"):
        assert "dash" in lines[name]["line"]["dash"]
        assert "markers" not in lines[name]["mode"]
    between = lines["between the oracles"]
    assert between["fill"] == "toself"
    assert between["y"] == pytest.approx([90, 70, 10, -10, 50, 70])
    assert "probability" in figure["layout"]["xaxis"]["title"]["text"]


def test_both_pages_show_the_tables(apart: dict) -> None:
    for page in report_pages([apart], "T", "UAR"):
        assert "By duration" in page
        assert "Where that accuracy comes from on demo" in page
        assert "good (oracle)" in page
