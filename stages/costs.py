"""Stage costs: time and memory of extraction and training on a page of their own, since they vary from run to run."""

from pipeline import cli, paths
from pipeline.files import write_text
from pipeline.params import load_params
from pipeline.report.costs import cost_table, extraction_table
from pipeline.report.pages import costs_pages


def costs() -> None:
    """Write the costs of every extraction and every training of the study."""
    params = load_params()
    methods = sorted(params.methods)
    benchmarks = sorted(params.benchmarks) if methods else []
    extracted = extraction_table({name: paths.extraction_costs(name) for name in sorted(params.features)})
    trained = [cost_table(b, [paths.costs(b, method) for method in methods]) for b in benchmarks]
    html, markdown = costs_pages(extracted, trained)
    write_text(paths.METRICS / "costs.md", markdown)
    write_text(paths.METRICS / "costs.html", html)


if __name__ == "__main__":
    cli.run(costs)
