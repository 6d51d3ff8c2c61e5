"""The tables that say how sure the numbers are."""

from pipeline.report.pages import report_pages
from pipeline.report.statistics import statistics_tables


def test_every_curve_has_a_table_of_certainty_and_one_of_calibration(scores: dict) -> None:
    tables = statistics_tables(scores, "UAR")
    assert [table.caption[:11] for table in tables] == ["How sure: A", "Calibration"] * 2
    assert all("Synthetic corpus" in table.caption for table in tables)


def test_rows_are_compared_with_the_reference_and_it_says_which_it_is(scores: dict) -> None:
    table = statistics_tables(scores, "UAR")[0]
    assert table.header[3:] == ["difference to fair", "p (t)", "p (Wilcoxon)"]
    lines = {line[0].text: line for line in table.rows}
    assert lines["fair"][3].text == "reference"
    good = lines["good"]
    scored = {row["row"]: row["auilc"] for row in scores["rows"] if row["auilc"]}
    area = {row: found["frames"]["metrics"]["UAR"]["area"]["mean"] for row, found in scored.items()}
    assert good[3].text == f"{100 * (area['good'] - area['fair']):+.2f}"
    assert good[3].note.startswith("[")
    assert good[4].note.startswith("uncorrected ")
    assert good[1].note.startswith("[")


def test_without_a_reference_there_is_no_comparison(scores: dict) -> None:
    alone = scores | {"reference": None, "rows": [row | {"against": {}} for row in scores["rows"]]}
    assert statistics_tables(alone, "UAR")[0].header == ["row", "UAR pooled", "sd over runs"]


def test_a_row_that_is_always_sure_and_often_wrong_is_badly_calibrated(scores: dict) -> None:
    table = statistics_tables(scores, "UAR")[1]
    error = {line[0].text: float(line[1].text) for line in table.rows}
    assert error["good"] < error["fair"] < error["majority"]


def test_both_pages_show_them(scores: dict) -> None:
    html, markdown = report_pages([scores], "Title", "UAR")
    assert "<h3>How sure</h3>" in html
    assert "### How sure" in markdown
