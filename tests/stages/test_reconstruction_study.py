"""The reconstruction study from raw video to report: SlowFast and wav2vec 2.0, untrained, on a few synthetic clips."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stages.checkout import Checkout, copy_working_tree

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reconstruction")]

FILLERS = ("mean", "uniform", "gaussian_mixture", "gan", "vae", "same_class", "other_class", "class_mean", "neighbours")


def _study(params: dict[str, Any]) -> None:
    """The study as studies/reconstruction.yaml has it, on 20 clips, everything short."""
    params["synthetic"]["demo"]["options"]["clips"] = 20
    params["corpora"]["demo"]["decode"] |= {"streams": ["audio", "frames"], "frame_px": 256}
    text, audio, vision = (params["features"][f"demo_{m}"] for m in ("text", "audio", "vision"))
    text["extractor"] = "absent"
    random = {"weights": "random", "weights_sha256": None}
    audio |= random | {"extractor": "wav2vec2", "options": {"wav2vec2": {"output": "conv_ln", "pool": "mean"}}}
    vision |= random | {"extractor": "slowfast", "stream": "frames", "options": {"slowfast": {"depth": 50}}}
    conditions = [[0.0, p, p] for p in (0.0, 0.5, 1.0)]
    params["benchmarks"]["demo"] |= {
        "folds": {"protocol": "random_by_clip", "test_share": 0.2, "seeds": [42, 1]},
        "seeds": "from_fold",
        "max_lengths": {"text": 1, "audio": 1, "vision": 1},
        "missing": {"test": {"bernoulli": {"conditions": conditions, "repeats": 1}}},
    }
    short = {"epochs": 2, "decay_every": None, "gan": {"epochs": 1}, "vae": {"epochs": 1}, "neighbours": {"k": 2}}
    params["methods"] = {"mlp": short | {"variants": {name: {"filler": name} for name in FILLERS}}}
    params["score"] |= {"reference": "mlp", "durations": []}
    params["report"] |= {"primary": "ACC"}


def test_all_fillers_run_from_raw_video_to_the_report(tmp_path: Path) -> None:
    checkout: Checkout = copy_working_tree(tmp_path)
    checkout.edit(_study)
    checkout.repro()
    scores = json.loads((checkout.path / "metrics/scores/demo.json").read_text())
    rows = {row["row"]: row for row in scores["rows"]}
    assert set(rows) == {"mlp", *(f"mlp:{name}" for name in FILLERS)}
    assert {name for name, row in rows.items() if row["oracle"]} == {
        "mlp:same_class", "mlp:other_class", "mlp:class_mean"
    }  # fmt: skip
    classifiers = list((checkout.path / "data/models/demo/mlp").glob("*/seed_42/42.safetensors"))
    assert len(classifiers) == len(rows)
    assert len({path.read_bytes() for path in classifiers}) == 1
    for row in rows.values():
        assert set(row["reconstruction"]["errors"]) == {"audio", "vision", "audio+vision"}
    assert {m: made["dim"] for m, made in scores["features"].items()} == {"text": 1, "audio": 512, "vision": 400}
    report = (checkout.path / "metrics/report.md").read_text()
    assert "synthetic corpus" in report
    assert "random weights" in report
    assert "What fillers put into holes" in report
    assert checkout.repro() == []
