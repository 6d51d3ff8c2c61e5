"""Stage costs: training time and memory of the study on a page of their own, since they vary from run to run."""

from pipeline import cli, paths
from pipeline.files import write_text
from pipeline.params import load_params
from pipeline.report.costs import cost_table
from pipeline.report.pages import costs_pages


def costs() -> None:
    """Write the costs of every training of the study."""
    params = load_params()
    methods = sorted(params.methods)
    benchmarks = sorted(params.benchmarks) if methods else []
    html, markdown = costs_pages([cost_table(b, [paths.costs(b, method) for method in methods]) for b in benchmarks])
    write_text(paths.METRICS / "costs.md", markdown)
    write_text(paths.METRICS / "costs.html", html)


if __name__ == "__main__":
    cli.run(costs)
