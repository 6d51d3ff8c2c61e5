"""Published numbers stand beside measured ones and are never mixed with them."""

import re
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.report.pages import report_pages
from pipeline.report.published import Figure, published_table, read_published

FOLDER = Path(__file__).parents[2] / "studies" / "published"
FIGURES = [
    Figure("fair", "0.0", "UAR", "76.39", "", "Paper A, Table 2"),
    Figure("fair", "AUILC", "UAR", "63.63", "0.5", "Paper A, Table 2"),
    Figure("unknown", "0.0", "UAR", "77.13", "", "Paper B, Table 1"),
]


def test_a_row_has_its_pooled_values_beside_the_printed_ones(scores: dict) -> None:
    table = published_table(scores, "UAR", FIGURES)
    assert table.header == ["row", "UAR at 0.0", "published", "UAR AUILC", "published"]
    fair = next(row for row in scores["rows"] if row["row"] == "fair")
    complete = fair["patterns"]["frames"]["conditions"][0]["metrics"]["UAR"]["pooled"]
    area = fair["auilc"]["frames"]["metrics"]["UAR"]["area"]["pooled"]
    ours, theirs = table.rows
    assert [cell.text for cell in ours] == ["fair", f"{100 * complete:.2f}", "76.39", f"{100 * area:.2f}", "63.63"]
    assert ours[4].note == "± 0.5"
    assert [cell.text for cell in theirs] == ["unknown", "–", "77.13", "–", "–"]
    assert "Paper A, Table 2; Paper B, Table 1" in table.caption
    assert "not measured here" in table.caption


def test_the_report_shows_them_where_the_study_names_them(scores: dict) -> None:
    for page in report_pages([scores], "T", "UAR", {"demo": FIGURES}):
        assert "Beside published numbers" in page
        assert "76.39" in page
    for page in report_pages([scores], "T", "UAR"):
        assert "published numbers" not in page


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.stem)
def test_every_committed_file_is_whole(path: Path) -> None:
    figures = read_published(path)
    conditions = r"0\.0|AUILC|\d\.\d+/\d\.\d+/\d\.\d+"
    assert figures
    for figure in figures:
        assert re.fullmatch(conditions, figure.condition)
        assert figure.metric in {"ACC", "UAR", "UF1", "WF1"}
        assert 0 <= float(figure.value) <= (90 if figure.condition == "AUILC" else 100)
        assert "Table" in figure.source


def test_committed_numbers_are_those_of_the_papers() -> None:
    def value(name: str, row: str, condition: str, metric: str) -> str:
        found = [f for f in read_published(FOLDER / f"{name}.csv") if (f.row, f.condition) == (row, condition)]
        return next(f.value for f in found if f.metric == metric)

    assert value("mct_hfr_iemocap", "mct_hfr", "AUILC", "UAR") == "68.06"
    assert value("mct_hfr_msp_improv", "mct_hfr:one_to_one", "0.0", "WF1") == "70.34"
    assert value("reconstruction_ravdess", "mlp:vae", "0.0/0.5/0.5", "ACC") == "62.28"
    assert value("reconstruction_ravdess", "mlp:class_mean", "0.0/0.25/0.25", "ACC") == "93.97"
    assert value("reconstruction_mosi2", "mlp", "0.0/1.0/1.0", "ACC") == "47.68"


def test_a_file_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file, .*report\.published"):
        read_published(tmp_path / "none.csv")
    path = tmp_path / "p.csv"
    path.write_text("row,value\na,1\n")
    with pytest.raises(DataError, match="columns are row, value, expected row, condition"):
        read_published(path)
    path.write_text("row,condition,metric,value,interval,source\na,0.0,ACC,1,,T\na,0.0,ACC,2,,T\n")
    with pytest.raises(DataError, match=r"line 3: a, 0\.0, ACC stands twice"):
        read_published(path)
