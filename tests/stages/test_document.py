"""docs/methods.md says what the methods' files and the committed scores say."""

import json
from pathlib import Path

import pytest

from pipeline.registry import load
from stages.document import method_section, methods, prose

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/methods.md").read_text()


@pytest.mark.parametrize("name", methods())
def test_every_method_is_there_with_its_docstring(name: str) -> None:
    idea, _, rest = (load("methods", name).__doc__ or "").strip().partition("\n\n")
    assert f"## {name}\n\n{idea}\n" in PAGE, "run `python -m stages.document`"
    assert all(paragraph in PAGE for paragraph in prose(rest)), "run `python -m stages.document`"


def test_the_scores_are_those_of_the_committed_metrics() -> None:
    rows = json.loads((ROOT / "metrics/auilc.json").read_text())["demo"]
    for row, metrics in rows.items():
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
        assert f"{100 * metrics['UAR']:.2f} [" in line


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
