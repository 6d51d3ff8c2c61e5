"""docs/methods.md and docs/extractors.md say what the files, the committed scores and the last benchmark say."""

import json
from pathlib import Path

import pytest

from pipeline.methods.protocol import variants
from pipeline.params import load_params
from pipeline.registry import load, names
from pipeline.report.documents import extractor_section, method_section, prose, speed_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/methods.md").read_text()
EXTRACTORS = (ROOT / "docs/extractors.md").read_text()


@pytest.mark.parametrize("name", names("extractors"))
def test_every_extractor_is_there_with_its_docstring_its_weights_and_its_options(name: str) -> None:
    section = extractor_section(name)
    assert section in EXTRACTORS, "run `python -m stages.document`"
    for option in load("extractors", name).Options.model_fields:
        (line,) = [line for line in section.splitlines() if line.startswith(f"- `{option}` (")]
        assert not line.endswith("): "), f"the docstring of {name}.Options says nothing of {option}"


def test_the_speeds_are_those_of_the_last_benchmark() -> None:
    speeds = json.loads((ROOT / "docs/extraction_speed.json").read_text())
    assert {name.partition(":")[0] for name in speeds} == set(names("extractors")) - {"absent"}
    assert speed_table(speeds) in EXTRACTORS, "run `python -m stages.document`"


@pytest.mark.parametrize("name", names("methods"))
def test_every_method_is_there_with_its_docstring(name: str) -> None:
    idea, _, rest = (load("methods", name).__doc__ or "").strip().partition("\n\n")
    assert f"## {name}\n\n{idea}\n" in PAGE, "run `python -m stages.document`"
    assert all(paragraph in PAGE for paragraph in prose(rest)), "run `python -m stages.document`"


def test_every_row_of_the_study_of_all_methods_is_there_with_its_score() -> None:
    scores = json.loads((ROOT / "docs/method_scores.json").read_text())
    params = load_params(ROOT / "studies/demo_all.yaml")
    assert set(params.methods) == set(names("methods"))
    assert set(scores) == {row.row for name, block in params.methods.items() for row in variants(name, block)}
    for name in names("methods"):
        own = {row: facts for row, facts in scores.items() if row.split(":")[0] == name}
        assert method_section(name, own) in PAGE, "run `python -m stages.document`"


def test_a_row_that_is_not_applicable_says_why() -> None:
    section = method_section("majority", {"majority": {"not_applicable": "needs sound"}})
    assert "| majority | not applicable: needs sound | | | |" in section


def test_what_a_method_follows_where_it_differs_and_what_it_does_about_absence_are_points() -> None:
    assert prose("Paper.\n\nFollows: a\nb.\nDiffers: c.\nHandles absence by: d.") == [
        "Paper.",
        "- **Follows**: a b.",
        "- **Differs**: c.",
        "- **Handles absence by**: d.",
    ]
