"""Stage score: metrics, curves and AUILC of one benchmark, from stored predictions alone."""

from pipeline import cli, paths
from pipeline.data.predictions import PredictionStore
from pipeline.evaluation.classification import METRICS
from pipeline.evaluation.comparison import curves, statistics
from pipeline.evaluation.facts import load_benchmark
from pipeline.evaluation.scores import CURVE_COLUMNS, curve_rows, score_planted, score_row
from pipeline.files import write_csv, write_json
from pipeline.params import load_params


def score(benchmark: str) -> None:
    """Score every method of the study on BENCHMARK."""
    params = load_params(benchmarks=benchmark)
    confidence = params.score.interval
    data = load_benchmark(benchmark, paths.benchmark(benchmark))
    rows, compared = [], {}
    speakers = {utt_id: row["speaker"] for utt_id, row in data.rows.items()}
    for method in params.methods:
        with PredictionStore(paths.predictions(benchmark, method)) as store:
            data.check(store)
            for info in store.rows:
                rows.append(score_row(store, info, len(data.labels), confidence))
                compared[info.row] = curves(store, info, len(data.labels), confidence, speakers)
    beside = statistics(compared, params.score.reference, confidence)
    rows = [row | beside[row["row"]] for row in rows]
    rows.sort(key=lambda row: str(row["row"]))
    planted = score_planted(*data.planted(), confidence)
    facts = {**data.facts(), "confidence": confidence, "metrics": list(METRICS), "planted_optimum": planted}
    facts["reference"] = params.score.reference
    write_json(paths.scores(benchmark), {**facts, "rows": rows})
    write_csv(paths.curves(benchmark), CURVE_COLUMNS, curve_rows(rows))


if __name__ == "__main__":
    cli.run(score, "benchmark")
