"""Print the AUILC table of the study as it stands, and where the report is; for people, not in the DAG."""

from pipeline import cli, paths
from pipeline.files import read_json
from pipeline.params import load_params
from pipeline.report.pages import report_text


def summary() -> None:
    """Print the AUILC table."""
    params = load_params()
    scores = [read_json(paths.scores(benchmark)) for benchmark in sorted(params.benchmarks)]
    print(report_text(scores, params.report.primary), end="\n\n")
    print(f"report: {(paths.METRICS / 'report.html').resolve().as_uri()}")


if __name__ == "__main__":
    cli.run(summary)
