"""The template of `dvc plots`: one colour per row, one dash per revision."""

import json
from pathlib import Path

from dvc_render.vega import VegaRenderer

from pipeline.evaluation.classification import classification
from pipeline.evaluation.scores import curve_columns

COLUMNS = curve_columns(classification(4))
FOLDER = Path(__file__).parents[2] / ".dvc" / "plots"


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
