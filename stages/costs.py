"""Stage costs: time and memory of extraction, training and evaluation, beside the scores that they bought.

A page of its own, since these numbers vary from run to run.
"""

from pipeline import cli, paths
from pipeline.files import read_json, write_text
from pipeline.params import load_params
from pipeline.report.costs import cost_table, extraction_table
from pipeline.report.pages import costs_pages
from pipeline.report.quantity import primary_metric


def costs() -> None:
    """Write the costs of every extraction, training and evaluation of the study."""
    params = load_params()
    methods = sorted(params.methods)
    extracted = extraction_table({name: paths.extraction_costs(name) for name in sorted(params.features)})
    trained = []
    for benchmark in sorted(params.benchmarks) if methods else []:
        scores = read_json(paths.scores(benchmark))
        primary = primary_metric(scores, params.report.primary)
        evaluated = [paths.evaluation_costs(benchmark, method) for method in methods]
        training = [paths.costs(benchmark, method) for method in methods]
        trained.append(cost_table(scores, primary, training, [path for path in evaluated if path.exists()]))
    html, markdown = costs_pages(extracted, trained)
    write_text(paths.METRICS / "costs.md", markdown)
    write_text(paths.METRICS / "costs.html", html)


if __name__ == "__main__":
    cli.run(costs)
