"""The report: what it says, and that it needs nothing but itself."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from pipeline.report import results, setting
from pipeline.report.curves import figures, spread
from pipeline.report.pages import report_pages, report_text
from pipeline.report.results import auilc_summary, auilc_table, confusions, curve_table, ordered, set_tables


class Page(HTMLParser):
    """Collects ids, addresses that a browser would load, and embedded figures; fails on tags left open."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.data: list[Any] = []
        self.open: list[str] = []
        self.json = False
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        self.loads += [str(values[key]) for key in ("src", "srcset", "data") if values.get(key)]
        self.loads += [str(values["href"])] if tag == "link" else []
        self.json = values.get("type") == "application/json"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.json:
            self.data.append(json.loads(data))
            self.json = False


def test_rows_fall_by_auilc_and_a_row_without_one_comes_last(scores: dict) -> None:
    names = [row["row"] for row in ordered(scores, "UAR")]
    assert names[0] == "good"
    assert set(names[1:3]) == {"fair", "fair:b"}
    assert names[3:] == ["majority", "absent"]


def test_the_auilc_table_says_what_was_measured_on_what(scores: dict) -> None:
    table = auilc_table(scores, "UAR", "frames")
    for words in (
        "10 rates from 0 to 0.9",
        "90.00",
        "4 runs (2 folds, 2 seeds)",
        "95 % t interval",
        "Synthetic corpus",
    ):
        assert words in table.caption
    assert len(table.header) == sum(columns for _, columns in table.groups) == 10
    assert all(len(row) == 10 for row in table.rows)
    area = next(r for r in scores["rows"] if r["row"] == "good")["auilc"]["frames"]["metrics"]["UAR"]["area"]
    assert table.rows[0][2].text == f"{100 * area['mean']:.2f}"
    assert table.rows[0][9].text == f"{100 * area['pooled']:.2f}"
    assert [row[2].strong for row in table.rows] == [True, False, False, False, False]
    assert table.rows[4][0] == ("absent", "not applicable: it needs raw waveforms", False)


def test_an_oracle_stands_last_is_marked_and_never_wins(scores: dict) -> None:
    next(row for row in scores["rows"] if row["row"] == "good")["oracle"] = True
    table = auilc_table(scores, "UAR", "frames")
    assert [row[0].text for row in table.rows][-1] == "good (oracle)"
    assert not any(cell.strong for cell in table.rows[-1])
    assert "Oracles see test labels" in table.caption
    assert curve_table(scores, "UAR", "frames").rows[-1][0].text == "good (oracle)"
    assert set(auilc_summary([scores])["demo"]) == {"good (oracle)", "fair", "fair:b", "majority"}
    lines = {trace["name"]: trace for trace in figures(scores)["frames|UAR"]["data"] if trace.get("name")}
    assert lines["good (oracle)"]["mode"] == "lines"
    assert not any(
        row["row"] == "good" and "(oracle)" not in name for row in scores["rows"] for name in lines if "good" in name
    )
    assert setting.model_table(scores, "UAR").rows[-1][0].text == "good (oracle)"


def test_the_best_of_the_others_is_bold_where_an_oracle_is_better(scores: dict) -> None:
    for row in scores["rows"]:
        row["oracle"] = row["row"] == "good"
    area = next(row for row in scores["rows"] if row["row"] == "fair")["auilc"]["frames"]["metrics"]["UAR"]["area"]
    area |= {"mean": 0.8, "low": 0.79, "high": 0.81}
    strong = {row[0].text: row[2].strong for row in auilc_table(scores, "UAR", "frames").rows}
    assert strong == {"fair": True, "fair:b": False, "majority": False, "absent": False, "good (oracle)": False}


def test_models_and_epochs_stand_beside_the_regime(scores: dict) -> None:
    scores["rows"][1] |= {"models": 40, "epochs": 1200}
    table = setting.model_table(scores, "UAR")
    assert table.header[-3:] == ["regime", "models", "epochs"]
    assert [cell.text for cell in table.rows[0][-3:]] == ["dynamic", "40", "1,200"]


def test_real_data_are_not_called_synthetic_and_random_weights_are_named(scores: dict) -> None:
    real = scores | {"synthetic": False}
    assert "Synthetic" not in auilc_table(real, "UAR", "frames").caption
    html, markdown = report_pages([real], "Title", "UAR")
    assert "synthetic" not in markdown.lower()
    assert '<p class="banner"' not in html
    features = scores["features"] | {"audio": scores["features"]["audio"] | {"random_weights": True}}
    random = real | {"random_weights": True, "features": features}
    assert "Random weights" in auilc_table(random, "UAR", "frames").caption
    assert "> Features of demo (audio) come from a network with random weights" in report_pages([random], "T", "UAR")[1]


def test_what_a_study_says_of_a_benchmark_stands_above_its_numbers(scores):
    html, markdown = report_pages([scores], "T", "UAR", beware={"demo": "its text was seen before <b>"})
    assert "> demo: its text was seen before <b>" in markdown
    assert "demo: its text was seen before &lt;b&gt;" in html
    assert markdown.index("seen before") < markdown.index("## Benchmark")


def test_a_synthetic_corpus_does_not_hide_random_weights(scores: dict) -> None:
    features = scores["features"] | {"text": scores["features"]["text"] | {"random_weights": True}}
    html, markdown = report_pages([scores | {"random_weights": True, "features": features}], "Title", "UAR")
    assert markdown.count("\n> ") == html.count('<p class="banner"') == 2


def test_a_synthetic_corpus_has_a_banner_and_every_table_of_results_says_so(scores: dict) -> None:
    html, markdown = report_pages([scores], "Title", "UAR")
    assert re.search(r'<p class="banner" role="note">These numbers come from a synthetic corpus \(demo\)', html)
    assert "> These numbers come from a synthetic corpus (demo)" in markdown
    tables = [auilc_table(scores, "UAR", "bursts"), curve_table(scores, "UAR", "frames"), *set_tables(scores, "UAR")]
    assert all("Synthetic corpus" in table.caption for table in tables)


def test_modality_sets_stand_beside_the_planted_optimum_in_the_primary_metric_and_acc(scores: dict) -> None:
    uar, acc = set_tables(scores, "UAR")
    assert uar.caption.startswith("UAR")
    assert acc.caption.startswith("ACC")
    assert uar.header[1:] == [
        "text",
        "audio",
        "vision",
        "text+audio",
        "text+vision",
        "audio+vision",
        "text+audio+vision",
    ]
    assert uar.rows[0][0].text == results.OPTIMUM
    assert len(set_tables(scores, "ACC")) == 1
    without = set_tables(scores | {"planted_optimum": {}}, "UAR")[0]
    assert results.OPTIMUM not in {row[0].text for row in without.rows}
    assert results.OPTIMUM not in without.caption


def test_confusions_are_shares_of_the_true_class_at_the_lowest_and_the_highest_rate(scores: dict) -> None:
    pairs = {first.row: (first, last) for first, last in confusions(scores, "UAR")}
    assert set(pairs) == {"good", "fair", "fair:b", "majority"}
    for first, last in pairs.values():
        assert (first.condition, last.condition) == ("0.0", "0.9")
        assert [sum(row) for row in first.shares] == pytest.approx([1, 1])
    assert pairs["majority"][0].shares == [[1, 0], [1, 0]]


def test_degenerate_rows_are_pointed_out_and_the_floor_is_named(scores: dict) -> None:
    found = setting.notes(scores, "UAR")
    assert "absent is not applicable: it needs raw waveforms." in found
    assert any(note.startswith("majority predicts the most frequent") for note in found)
    assert not any("degenerate" in note for note in found)
    row = next(r for r in scores["rows"] if r["row"] == "fair")
    row["degenerate"] = {"frames": {"0.9": 0.25}, "bursts": dict.fromkeys([f"{i / 10:.1f}" for i in range(10)], 1.0)}
    found = setting.notes(scores, "UAR")
    assert "fair is degenerate under frames: it predicts one single class at 0.9 (25 % of runs)." in found
    assert "fair is degenerate under bursts: it predicts one single class in every run." in found


def test_facts_tell_quarantine_absence_and_whether_speakers_are_independent(scores: dict) -> None:
    facts = dict(setting.facts(scores))
    assert facts["Utterances"].startswith("40 used of 44 in the manifest; 1 quarantined (unreadable), 3 left out")
    assert facts["Natural absence"] == "text 1, audio 2, vision 3 utterances"
    assert facts["Protocol"] == "leave_one_session_out, 2 folds of 20 train, 0 valid, 20 test utterances"
    assert facts["Speaker-independent"].startswith("yes")
    uneven = scores | {"speaker_independent": False, "note": "why", "hours": None}
    uneven["folds"] = [*scores["folds"], {"name": "three", "train": 22, "valid": 0, "test": 18}]
    facts = dict(setting.facts(uneven))
    assert facts["Speaker-independent"].startswith("NO")
    assert "20 to 22 train, 0 valid, 18 to 20 test" in facts["Protocol"]
    assert (facts["Remark"], facts["Duration"]) == ("why", "–")


def test_the_page_is_whole_loads_nothing_and_draws_every_pattern_and_metric(scores: dict) -> None:
    html, _ = report_pages([scores], "A <b>title</b> & more", "WF1")
    page = Page(html)
    assert page.loads == []
    assert "curves-demo" in page.ids
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.data[0]) == {f"{p}|{m}" for p in ("frames", "bursts") for m in ("ACC", "UAR", "UF1", "WF1")}
    assert "A &lt;b&gt;title&lt;/b&gt; &amp; more" in html
    assert '<option value="WF1" selected>' in html
    script = html.split("<script>")[-1]
    assert 'modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]' in script, "the default offers an upload"
    assert 'href="costs.html"' in html


def test_curves_show_bands_floor_ceiling_and_direct_labels(scores: dict) -> None:
    figure = figures(scores)["frames|UAR"]
    lines = {trace["name"]: trace for trace in figure["data"] if trace.get("name")}
    assert set(lines) == {"good", "fair", "fair:b", "majority (floor)", "planted optimum (ceiling)"}
    expected = [c["metrics"]["UAR"]["mean"] for c in scores["rows"][1]["patterns"]["frames"]["conditions"]]
    assert lines["good"]["y"] == pytest.approx([100 * value for value in expected])
    assert lines["majority (floor)"]["line"]["dash"] == "dash"
    assert lines["majority (floor)"]["y"] == [50.0] * 10
    assert len({round(y, 9) for y in lines["planted optimum (ceiling)"]["y"]}) == 1
    assert sum(trace.get("fill") == "toself" for trace in figure["data"]) == 3
    labels = [trace for trace in figure["data"] if trace.get("mode") == "text"]
    assert {trace["text"][0].partition("</span> ")[2] for trace in labels} == set(lines)
    low, high = figure["layout"]["yaxis"]["range"]
    assert all(low <= y <= high for trace in figure["data"] for y in trace["y"])


def test_a_single_run_has_curves_without_bands(scores: dict) -> None:
    for row in scores["rows"]:
        for pattern in row["patterns"].values():
            for condition in pattern["conditions"]:
                for found in condition["metrics"].values():
                    found |= {"sd": None, "low": None, "high": None, "n": 1}
    figure = figures(scores)["frames|UAR"]
    assert not any(trace.get("fill") == "toself" for trace in figure["data"])
    assert "no interval" in curve_table(scores, "UAR", "frames").caption


def test_labels_that_meet_are_moved_apart_within_the_plot() -> None:
    placed = spread([1.0, 1.0, 1.1, 9.9, 10.0], 1.0, 10.0)
    assert all(b - a >= 1.0 - 1e-9 for a, b in pairwise(placed))
    assert placed[-1] <= 10.0


def test_two_runs_write_the_same_page(scores: dict) -> None:
    copy = json.loads(json.dumps(scores))
    assert report_pages([scores], "T", "UAR") == report_pages([copy], "T", "UAR")


def test_a_study_without_benchmarks_says_so() -> None:
    html, markdown = report_pages([], "Empty", "UAR")
    Page(html)
    assert "names no benchmark" in html
    assert "names no benchmark" in markdown
    assert auilc_summary([]) == {}
    assert report_text([], "UAR").startswith("no AUILC")


def test_a_benchmark_without_methods_still_shows_its_corpus(scores: dict) -> None:
    empty = scores | {"rows": []}
    html, markdown = report_pages([empty], "Empty", "UAR")
    assert Page(html).data == []
    assert "names no method" in html
    assert "names no method" in markdown
    assert "leave_one_session_out" in markdown


def test_several_benchmarks_have_a_section_each_with_ids_of_their_own(scores: dict) -> None:
    html, markdown = report_pages([scores, scores | {"benchmark": "other"}], "Two", "UAR")
    page = Page(html)
    assert {"demo", "other", "curves-demo", "curves-other"} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert markdown.count("\n## Benchmark ") == 2
    assert 'href="#other"' in html


def test_markdown_has_no_raw_markup_and_whole_tables(scores: dict) -> None:
    _, markdown = report_pages([scores], "T", "UAR")
    assert "{{" not in markdown
    assert "{%" not in markdown
    assert "\n\n\n\n" not in markdown
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("| ")]
    assert len(blocks) == 12
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1


def test_the_summary_for_dvc_holds_un_normalised_means_in_parts_of_one(scores: dict) -> None:
    summary = auilc_summary([scores])["demo"]
    assert set(summary) == {"good", "fair", "fair:b", "majority"}
    assert summary["majority"] == {"ACC": 0.45, "UAR": 0.45, "UF1": pytest.approx(0.3), "WF1": pytest.approx(0.3)}


def test_the_terminal_shows_the_first_table_with_the_remark(scores: dict) -> None:
    text = report_text([scores], "UAR")
    assert "Synthetic corpus" in text.replace("\n", " ")
    assert "absent: not applicable: it needs raw waveforms" in text
    assert "pooled" not in text
