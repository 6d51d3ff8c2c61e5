"""Stage evaluate: predictions of every trained model of a method under every test mask."""

from pipeline import cli, paths
from pipeline.data.dataset import load_dataset
from pipeline.data.predictions import write_predictions
from pipeline.evaluation.inference import PredictionJob, predict_one
from pipeline.execution.jobs import run_jobs
from pipeline.files import read_json
from pipeline.methods.protocol import variants
from pipeline.missing.masks import MaskBank
from pipeline.params import load_params
from pipeline.progress import track


def evaluate(benchmark: str, method: str) -> None:
    """Predict with METHOD on BENCHMARK."""
    params = load_params(benchmarks=benchmark, methods=method)
    rows = variants(method, params.methods[method])
    folds = read_json(paths.benchmark(benchmark) / "folds.json")["folds"]
    models = paths.models(benchmark, method)
    folder, bank_path = paths.benchmark(benchmark), paths.masks(benchmark)
    data = load_dataset(folder)
    seeds = params.benchmarks[benchmark].seeds
    bank = MaskBank(bank_path)
    known = {row.row: read_json(models / row.folder / "facts.json") for row in rows}
    possible = [row for row in rows if "not_applicable" not in known[row.row]]
    triples = [(row, fold, seed) for row in possible for fold in folds for seed in _seeds(seeds, fold)]
    jobs = [
        PredictionJob(folder, bank_path, row, fold["name"], models / row.folder / fold["name"] / f"{seed}.safetensors")
        for row, fold, seed in triples
    ]
    with write_predictions(paths.predictions(benchmark, method)) as writer:
        for fold in folds:
            writer.fold(fold["name"], fold["test"], data.labels[data.positions(fold["test"])].numpy())
        for row in rows:
            facts = known[row.row]
            if row in possible:
                writer.row(row.row, **facts, regime=row.params.regime, params=row.params.model_dump(mode="json"))
            else:
                writer.not_applicable(row.row, facts["not_applicable"])
        results = track(run_jobs(predict_one, jobs), f"evaluate {method}", "models", len(jobs))
        for (row, fold, seed), scores in zip(triples, results, strict=True):
            for pattern, part in zip(bank.patterns(fold["name"]), scores, strict=True):
                writer.add(row.row, fold["name"], seed, pattern, bank.conditions(fold["name"], pattern), part)


def _seeds(seeds: tuple[int, ...] | str, fold: dict[str, int]) -> tuple[int, ...]:
    return (fold["seed"],) if isinstance(seeds, str) else seeds


if __name__ == "__main__":
    cli.run(evaluate, "benchmark", "method")
