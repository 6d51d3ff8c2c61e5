"""Write docs/methods.md and docs/extractors.md from docstrings, the demo study's scores and the last benchmark."""

from pathlib import Path

from pipeline import cli, paths
from pipeline.errors import ParamsError
from pipeline.files import read_json, write_text
from pipeline.params import load_params
from pipeline.registry import names
from pipeline.report.documents import extractor_section, extractors_page, method_section, methods_page

METHODS = Path("docs/methods.md")
EXTRACTORS = Path("docs/extractors.md")
SPEED = Path("docs/extraction_speed.json")


def document() -> None:
    """Write docs/methods.md and docs/extractors.md."""
    if load_params() != load_params(paths.STUDIES / "demo.yaml"):
        raise ParamsError("params.yaml: not the demo study, whose scores the page shows; `python -m stages.study demo`")
    scores = {row["row"]: row for row in read_json(paths.scores("demo"))["rows"]}
    sections = [
        method_section(name, {row: s for row, s in scores.items() if row.split(":")[0] == name})
        for name in names("methods")
    ]
    write_text(METHODS, methods_page(sections))
    extractors = [extractor_section(name) for name in names("extractors")]
    write_text(EXTRACTORS, extractors_page(extractors, read_json(SPEED)))
    print(f"{METHODS}: {len(sections)} methods; {EXTRACTORS}: {len(extractors)} extractors")


if __name__ == "__main__":
    cli.run(document)
