"""The template of `dvc plots`: one colour per row, one dash per revision."""

import json
from pathlib import Path

from dvc.render.converter.vega import VegaConverter
from dvc_render.vega import VegaRenderer

from pipeline.evaluation.classification import classification
from pipeline.evaluation.regression import regression
from pipeline.evaluation.scores import curve_columns

COLUMNS = curve_columns(classification(4))
FOLDER = Path(__file__).parents[2] / ".dvc" / "plots"


def test_dvc_draws_the_last_column_which_is_the_main_metric_of_the_task() -> None:
    text = (FOLDER.parents[1] / "dvc.yaml").read_text()
    assert "template: missing_rate\n            x: rate\n" in text, "a y would be the same for every task"
    for measures in (classification(4), regression(0.0)):
        points = [dict.fromkeys(curve_columns(measures), "0.5")]
        converter = VegaConverter("demo.csv", {"demo.csv": points}, {"x": "rate", "template": "missing_rate"})
        drawn, properties = converter.flat_datapoints("workspace")
        assert (properties["x"], properties["y"]) == ("rate", measures.main)
        assert drawn[0][measures.main] == "0.5"


def test_dvc_fills_every_anchor_and_keeps_rows_and_revisions_apart() -> None:
    points = [
        dict.fromkeys(COLUMNS, "0.5") | {"row": row, "rev": rev} for row in ("a", "b") for rev in ("workspace", "HEAD")
    ]
    renderer = VegaRenderer(
        points, "demo.csv", template="missing_rate", template_dir=str(FOLDER), x="rate", y="UAR", title="Title"
    )
    filled = renderer.get_filled_template()
    assert "<DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == points
    encoding = filled["encoding"]
    assert (encoding["x"]["field"], encoding["y"]["field"]) == ("rate", "UAR")
    assert (encoding["color"]["field"], encoding["strokeDash"]["field"]) == ("row", "rev")
    tooltip = {entry["field"] for entry in filled["layer"][1]["encoding"]["tooltip"]}
    assert tooltip == {"row", "rev", "rate", "UAR", "UAR_low", "UAR_high"}
    assert tooltip - {"rev"} <= set(COLUMNS)
