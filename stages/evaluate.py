"""Stage evaluate: predictions of every trained model of a method under every test mask."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline import cli, paths
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.predictions import write_predictions
from pipeline.evaluation.inference import load_method, predict_masked
from pipeline.execution.jobs import one_thread, run_jobs
from pipeline.files import read_json
from pipeline.methods.protocol import Variant, variants
from pipeline.missing.masks import MaskBank
from pipeline.params import load_params
from pipeline.progress import track
from pipeline.training.device import compute_device


@dataclass(frozen=True)
class Job:
    """One trained model."""

    benchmark: str
    variant: Variant
    fold: str
    weights: Path


def evaluate(benchmark: str, method: str) -> None:
    """Predict with METHOD on BENCHMARK."""
    params = load_params()
    rows = variants(method, params.methods[method])
    folds = read_json(paths.benchmark(benchmark) / "folds.json")["folds"]
    models = paths.models(benchmark, method)
    data = load_dataset(paths.benchmark(benchmark))
    seeds = params.benchmarks[benchmark].seeds
    bank = MaskBank(paths.masks(benchmark))
    known = {row.row: read_json(models / row.folder / "facts.json") for row in rows}
    possible = [row for row in rows if "not_applicable" not in known[row.row]]
    triples = [(row, fold, seed) for row in possible for fold in folds for seed in _seeds(seeds, fold)]
    jobs = [
        Job(benchmark, row, fold["name"], models / row.folder / fold["name"] / f"{seed}.safetensors")
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
        results = track(run_jobs(predict, jobs), f"evaluate {method}", "models", len(jobs))
        for (row, fold, seed), scores in zip(triples, results, strict=True):
            for pattern, part in zip(bank.patterns(fold["name"]), scores, strict=True):
                writer.add(row.row, fold["name"], seed, pattern, bank.conditions(fold["name"], pattern), part)


def predict(job: Job) -> list[npt.NDArray[np.float32]]:
    """Scores of one model under every pattern, in the order of their names."""
    one_thread()
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which imports torch's compiler
    data = _dataset(job.benchmark)
    bank = MaskBank(paths.masks(job.benchmark))
    masks = [bank.masks(job.fold, pattern) for pattern in bank.patterns(job.fold)]
    method, scaler = load_method(job.weights, job.variant, data)
    device = compute_device()
    if method.network is not None:
        method.network.to(device)
    test = scaler.apply(data.take(data.positions(masks[0].utt_ids))).to(device)
    return predict_masked(method, test, masks)


def _seeds(seeds: tuple[int, ...] | str, fold: dict[str, int]) -> tuple[int, ...]:
    return (fold["seed"],) if isinstance(seeds, str) else seeds


@lru_cache(maxsize=1)
def _dataset(benchmark: str) -> Dataset:
    return load_dataset(paths.benchmark(benchmark))


if __name__ == "__main__":
    cli.run(evaluate, "benchmark", "method")
