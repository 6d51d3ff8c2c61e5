"""Stage evaluate: predictions of every trained model of a method under every test mask."""

import shutil
from pathlib import Path

from safetensors.numpy import load_file

from pipeline import cli, paths
from pipeline.data.predictions import write_predictions
from pipeline.evaluation.jobs import PredictionJob, predict_one, total_cost
from pipeline.execution.device import jobs_at_once
from pipeline.execution.jobs import run_jobs, workers
from pipeline.execution.lock import exclusive
from pipeline.files import read_json, write_json
from pipeline.methods.protocol import models, variants
from pipeline.missing.masks import MaskBank
from pipeline.params import load_params
from pipeline.progress import track
from pipeline.training.jobs import benchmark_dataset, fold_seeds
from pipeline.training.text_extractor import find_text_extractor


def evaluate(benchmark: str, method: str) -> None:
    """Predict with METHOD on BENCHMARK."""
    params = load_params(benchmarks=benchmark, methods=method)
    rows = variants(method, params.methods[method])
    folder, weights, bank = paths.benchmark(benchmark), paths.models(benchmark, method), paths.masks(benchmark)
    folds = read_json(folder / "folds.json")["folds"]
    facts = {row.row: read_json(weights / row.folder / "facts.json") for row in rows}
    scratch = paths.scratch() / "evaluate" / benchmark / method
    seeds = params.benchmarks[benchmark].seeds
    possible = [row for row in rows if "not_applicable" not in facts[row.row]]
    locations = {name: features.weights for name, features in params.features.items()}
    texts = find_text_extractor(folder, possible, locations)
    jobs = [
        PredictionJob(
            folder,
            bank,
            row,
            fold,
            seed,
            tuple(
                (trained, weights / row.folder / fold["name"] / f"{seed}{model}.safetensors")
                for model, trained in models(row, params.training.rates).items()
            ),
            scratch,
            texts,
        )
        for row in possible
        for fold in folds
        for seed in fold_seeds(seeds, fold)
    ]
    data, masks = benchmark_dataset(folder), MaskBank(bank)
    with exclusive(scratch), write_predictions(paths.predictions(benchmark, method)) as writer:
        for fold in folds:
            writer.fold(fold["name"], fold["test"], data.labels[data.positions(fold["test"])].numpy())
        for row in rows:
            known = facts[row.row]
            if "not_applicable" in known:
                writer.not_applicable(row.row, known["not_applicable"])
            else:
                params_of = row.params.model_dump(mode="json")
                writer.row(row.row, **known, regime=row.params.regime, params=params_of, oracle=row.params.oracle)
        records: dict[str, list[Path]] = {}
        results = track(run_jobs(predict_one, jobs, jobs_at_once()), f"evaluate {method}", "models", len(jobs))
        for job, result in zip(jobs, results, strict=True):
            records.setdefault(job.variant.row, []).append(result.with_suffix(".json"))
            for pattern, scores in sorted(load_file(result).items()):
                conditions = masks.conditions(job.fold["name"], pattern)
                writer.add(job.variant.row, job.fold["name"], job.seed, pattern, conditions, scores)
        spent = {row: total_cost(files, workers(jobs_at_once())) for row, files in records.items()}
        write_json(paths.evaluation_costs(benchmark, method), {"rows": spent})
        filled = {row: [read_json(file)["reconstruction"] for file in files] for row, files in records.items()}
        write_json(paths.reconstructions(benchmark, method), {row: own for row, own in filled.items() if any(own)})
    shutil.rmtree(scratch)


if __name__ == "__main__":
    cli.run(evaluate, "benchmark", "method")
