"""Stage score: metrics, curves and AUILC of one benchmark, from stored predictions alone."""

from pipeline import cli, paths
from pipeline.data.predictions import PredictionStore
from pipeline.evaluation.comparison import curves, statistics
from pipeline.evaluation.decomposition import decompose
from pipeline.evaluation.durations import by_duration
from pipeline.evaluation.facts import load_benchmark
from pipeline.evaluation.fillings import fillings
from pipeline.evaluation.scores import curve_columns, curve_rows, score_planted, score_row
from pipeline.files import write_csv, write_json
from pipeline.params import load_params


def score(benchmark: str) -> None:
    """Score every method of the study on BENCHMARK."""
    params = load_params(benchmarks=benchmark)
    confidence, edges = params.score.interval, params.score.durations
    data = load_benchmark(benchmark, paths.benchmark(benchmark))
    measures, durations = data.measures, data.durations()
    masks, lengths = paths.masks(benchmark), data.folder / "lengths.csv"
    rows, compared = [], {}
    speakers = {utt_id: row["speaker"] for utt_id, row in data.rows.items()}
    for method in params.methods:
        with PredictionStore(paths.predictions(benchmark, method)) as store:
            data.check(store)
            filled = fillings(store, paths.reconstructions(benchmark, method), confidence, classes=bool(data.labels))
            for info in store.rows:
                row = score_row(store, info, measures, confidence)
                row["durations"] = by_duration(store, info, measures, confidence, edges, durations)
                row["decomposition"] = decompose(store, info, measures, masks, lengths)
                row["reconstruction"] = filled.get(info.row)
                rows.append(row)
                compared[info.row] = curves(store, info, measures, confidence, speakers)
    oracles = {row["row"] for row in rows if row["oracle"]}
    beside = statistics(compared, params.score.reference, confidence, oracles)
    rows = [row | beside[row["row"]] for row in rows]
    rows.sort(key=lambda row: str(row["row"]))
    planted = score_planted(*data.planted(), confidence)
    facts = {**data.facts(), "confidence": confidence, "metrics": list(measures.metrics), "planted_optimum": planted}
    facts |= {"main": measures.main, "measures": measures.described(), "reference": params.score.reference}
    write_json(paths.scores(benchmark), {**facts, "rows": rows})
    write_csv(paths.curves(benchmark), curve_columns(measures), curve_rows(rows, measures))


if __name__ == "__main__":
    cli.run(score, "benchmark")
