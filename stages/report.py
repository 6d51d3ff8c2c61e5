"""Stage report: the AUILCs for `dvc metrics`, and the report for people."""

from pipeline import cli, paths
from pipeline.files import read_json, write_json, write_text
from pipeline.params import load_params
from pipeline.report.pages import report_pages, report_text
from pipeline.report.published import read_published
from pipeline.report.results import auilc_summary


def report() -> None:
    """Write the report of all benchmarks of the study, and print its first table."""
    params = load_params()
    scores = [read_json(paths.scores(benchmark)) for benchmark in sorted(params.benchmarks)]
    published = {b: read_published(paths.published(name)) for b, name in params.report.published.items()}
    beware = params.report.beware
    html, markdown = report_pages(scores, params.report.title, params.report.primary, published, beware)
    write_json(paths.METRICS / "auilc.json", auilc_summary(scores))
    write_text(paths.METRICS / "report.md", markdown)
    write_text(paths.METRICS / "report.html", html)
    print(report_text(scores, params.report.primary), end="\n\n")
    print(f"report: {paths.METRICS / 'report.html'} (open it in a browser; it needs no network)")


if __name__ == "__main__":
    cli.run(report)
