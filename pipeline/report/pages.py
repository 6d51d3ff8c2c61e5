"""The pages: report.html and report.md, costs.html and costs.md, from scores and costs alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.report import results, setting
from pipeline.report.breakdowns import diagonal_tables, duration_tables
from pipeline.report.curves import figure_patterns, figures
from pipeline.report.fillings import error_figure, filling_table, projection_figures
from pipeline.report.published import Figure, published_table
from pipeline.report.quantity import primary_metric
from pipeline.report.statistics import statistics_tables
from pipeline.report.table import Table

COMMANDS = (
    ("dvc repro", "run what has changed, and rewrite this page"),
    ("dvc repro report", "only as far as this page needs"),
    ("dvc metrics show", "the AUILCs in the terminal"),
    ("dvc metrics diff", "what changed since the last commit"),
    ("dvc plots diff", "the curves of both"),
)
"""How the numbers come about again."""

TERMS = (
    (
        "AUILC",
        "area under a metric over missing rates, un-normalised as papers print it; compare it over equal rates only",
    ),
    ("Mean height", "AUILC divided by the range of rates"),
    (
        "Interval",
        "Student's t over folds x seeds; runs share training and test utterances, so it shows spread and is no test of "
        "a difference between rows",
    ),
    ("Pooled", "per seed, the test predictions of all folds measured together, then the mean over seeds"),
)
"""What the words of the report mean, beside the metrics, which say so themselves."""


def environment(*, escape: bool) -> Environment:
    """The templates of this folder; `escape` for HTML."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def report_pages(
    scores: Sequence[dict[str, Any]],
    title: str,
    primary: str,
    published: Mapping[str, Sequence[Figure]] | None = None,
    beware: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """The report as (HTML, Markdown); the HTML is self-contained and works offline.

    Args:
        scores: of every benchmark, as the score stage writes them; may be empty.
        title: of the report.
        primary: metric of the first table and plot, where a benchmark has it.
        published: by benchmark, what papers print.
        beware: by benchmark, what must be read first.
    """
    rows = sorted({row["row"] for found in scores for row in found["rows"]})
    lead = f"{len(scores)} benchmark{'s' * (len(scores) != 1)}, {len(rows)} row{'s' * (len(rows) != 1)} of results."
    if not scores:
        lead = "The study names no benchmark, so nothing was scored: add one under `benchmarks` in params.yaml."
    terms = {name: metric["means"] for found in scores for name, metric in found["measures"].items()}
    values = {
        "title": title,
        "lead": lead,
        "banners": [
            *(banner for found in scores for banner in _banners(found)),
            *(f"{name}: {text}" for name, text in sorted((beware or {}).items())),
        ],
        "sections": [_section(found, primary, (published or {}).get(found["benchmark"], ())) for found in scores],
        "terms": [*terms.items(), *TERMS],
        "commands": COMMANDS,
    }
    # Markup: the library's own source is no text to escape.
    html = environment(escape=True).get_template("report.html.j2").render(values, plotly_js=Markup(get_plotlyjs()))
    return html, environment(escape=False).get_template("report.md.j2").render(values)


def report_text(scores: Sequence[dict[str, Any]], primary: str) -> str:
    """The first table of every benchmark for the terminal; says so where there is none."""
    tables = [
        results.auilc_table(found, primary_metric(found, primary), pattern, brief=True).plain()
        for found in scores
        for pattern in results.curve_patterns(found)[:1]
    ]
    return "\n\n".join(tables) or "no AUILC: the study scores no method over missing rates"


def costs_pages(extracted: Table, trained: Sequence[Table]) -> tuple[str, str]:
    """The page of costs as (HTML, Markdown)."""
    title = "Time and memory of extraction, training and evaluation"
    lead = "Measured on the machine that did the work; these numbers vary from run to run, and no other artifact does."
    if not trained:
        lead += " The study names no benchmark or no method, so nothing was trained."
    tables = [*([extracted] if extracted.rows else []), *trained]
    html = environment(escape=True).get_template("costs.html.j2").render(title=title, lead=lead, tables=tables)
    return html, "\n".join([f"# {title}\n", f"{lead}\n", *(table.markdown() for table in tables)])


def _banners(scores: dict[str, Any]) -> list[str]:
    """What must be read before any number of a benchmark."""
    name = scores["benchmark"]
    synthetic = (
        f"These numbers come from a synthetic corpus ({name}). They show that the pipeline works; they say nothing "
        "about how well a method recognises people, and must never be reported as a benchmark."
    )
    untrained = ", ".join(m for m, made in scores["features"].items() if made.get("random_weights"))
    random = (
        f"Features of {name} ({untrained}) come from a network with random weights: its numbers only test the pipeline."
    )
    return [text for key, text in (("synthetic", synthetic), ("random_weights", random)) if scores[key]]


def _section(scores: dict[str, Any], asked: str, published: Sequence[Figure]) -> dict[str, Any]:
    patterns, primary = results.curve_patterns(scores), primary_metric(scores, asked)
    return {
        "name": scores["benchmark"],
        "primary": primary,
        "confidence": f"{100 * scores['confidence']:g}",
        "remark": results.remark(scores),
        "patterns": figure_patterns(scores),
        "metrics": scores["metrics"],
        "auilc": [results.auilc_table(scores, primary, pattern) for pattern in patterns],
        "curves": [results.curve_table(scores, primary, pattern) for pattern in patterns],
        "figures": figures(scores),
        "statistics": statistics_tables(scores, primary),
        "durations": duration_tables(scores, primary),
        "published": published_table(scores, primary, published) if published else None,
        "sets": [*results.set_tables(scores, primary), *diagonal_tables(scores, primary)],
        "filling": filling_table(scores, primary),
        "errors": error_figure(scores, primary),
        "projections": projection_figures(scores, primary),
        "confusions": results.confusions(scores, primary),
        "models": setting.model_table(scores, primary),
        "params": setting.row_params(scores, primary),
        "facts": setting.facts(scores),
        "features": setting.feature_table(scores),
        "notes": setting.notes(scores, primary),
    }
