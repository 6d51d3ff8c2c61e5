"""Write docs/methods.md and docs/extractors.md from docstrings, the scores of `demo_all` and the last benchmark."""

from pathlib import Path
from typing import Any

from pipeline import cli, paths
from pipeline.files import read_json, write_json, write_text
from pipeline.params import load_params
from pipeline.registry import names
from pipeline.report.documents import extractor_section, extractors_page, method_section, methods_page
from pipeline.report.results import named

METHODS = Path("docs/methods.md")
SCORES = Path("docs/method_scores.json")
EXTRACTORS = Path("docs/extractors.md")
SPEED = Path("docs/extraction_speed.json")


def document() -> None:
    """Write docs/methods.md and docs/extractors.md.

    Where the study is `demo_all` and has been run, its scores are kept first, in docs/method_scores.json.
    """
    if load_params() == load_params(paths.STUDIES / "demo_all.yaml"):
        write_json(SCORES, {named(row): _brief(row) for row in read_json(paths.scores("demo"))["rows"]})
    scores = read_json(SCORES)
    sections = [
        method_section(name, {row: s for row, s in scores.items() if row.split(":")[0] == name})
        for name in names("methods")
    ]
    write_text(METHODS, methods_page(sections))
    extractors = [extractor_section(name) for name in names("extractors")]
    write_text(EXTRACTORS, extractors_page(extractors, read_json(SPEED)))
    print(f"{METHODS}: {len(sections)} methods; {EXTRACTORS}: {len(extractors)} extractors")


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a row."""
    kept = {key: row[key] for key in ("regime", "parameters", "macs", "not_applicable")}
    curve = row["auilc"].get("frames")
    return kept | {"auilc": curve and curve["metrics"]["UAR"]["area"]}


if __name__ == "__main__":
    cli.run(document)
