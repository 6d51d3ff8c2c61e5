"""Stage train: one model per row, fold and seed of a method on a benchmark."""

import shutil
from pathlib import Path

from pipeline import cli, paths
from pipeline.execution.device import jobs_at_once
from pipeline.execution.jobs import run_jobs, workers
from pipeline.execution.lock import exclusive
from pipeline.files import atomic, read_json, write_json
from pipeline.methods.protocol import variants
from pipeline.params import load_params
from pipeline.progress import track
from pipeline.training.jobs import TrainingJob, refusal, train_one, training_jobs
from pipeline.training.text_extractor import find_text_extractor


def train(benchmark: str, method: str) -> None:
    """Train METHOD on BENCHMARK: all its variants, folds and seeds."""
    params = load_params(benchmarks=benchmark, methods=method)
    rows = variants(method, params.methods[method])
    scratch = paths.scratch() / "train" / benchmark / method
    folder = paths.benchmark(benchmark)
    with exclusive(scratch):
        refused = {row.row: refusal(row, folder) for row in rows}
        possible = [row for row in rows if not refused[row.row]]
        seeds, words = params.benchmarks[benchmark].seeds, (params.seed, benchmark)
        locations = {name: features.weights for name, features in params.features.items()}
        texts = find_text_extractor(folder, possible, locations)
        jobs = list(training_jobs(folder, possible, seeds, words, scratch, params.training.rates, texts))
        unique = {job.key: job for job in jobs}
        waiting = [job for job in unique.values() if not job.finished]
        if len(waiting) < len(unique):
            print(f"{method}: {len(unique) - len(waiting)} of {len(unique)} trainings are already done")
        for _ in track(run_jobs(train_one, waiting, jobs_at_once()), f"train {method}", "models", len(waiting)):
            pass
        costs = _costs(jobs)
        with atomic(paths.models(benchmark, method)) as target:
            for job in jobs:
                place = target / job.variant.folder / job.fold["name"]
                place.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(job.weights, place / f"{job.seed}{job.model}.safetensors")
                record = read_json(job.record)
                write_json(place / f"{job.seed}{job.model}.json", record["history"])
                effort = {name: costs[job.variant.row][name] for name in ("models", "epochs")}
                write_json(target / job.variant.folder / "facts.json", record["facts"] | effort)
            for row in rows:
                if refused[row.row]:
                    write_json(target / row.folder / "facts.json", {"not_applicable": refused[row.row]})
        write_json(paths.costs(benchmark, method), {"rows": costs})
        _forget(scratch, unique)


def _costs(jobs: list[TrainingJob]) -> dict[str, dict[str, object]]:
    rows: dict[str, list[TrainingJob]] = {}
    for job in jobs:
        rows.setdefault(job.variant.row, []).append(job)
    found: dict[str, dict[str, object]] = {}
    for row, own in rows.items():
        records = [read_json(job.record) for job in own]
        same = [other for other in found if [job.key for job in rows[other]] == [job.key for job in own]]
        found[row] = {
            "trained_with": same[0] if same else None,
            "seconds": round(sum(record["cost"]["seconds"] for record in records), 3),
            "peak_memory_mib": round(max(record["cost"]["peak_memory_mib"] for record in records), 1),
            "models": len(records),
            "epochs": sum(len(record["history"].get("epochs", [])) for record in records),
            "device": records[0]["cost"]["device"],
            "workers": workers(jobs_at_once()),
        }
    return found


def _forget(scratch: Path, current: dict[str, TrainingJob]) -> None:
    """Remove results of earlier parameters; DVC's run cache keeps those."""
    for path in scratch.iterdir():
        if path.name != "lock" and path.stem not in current:
            path.unlink()


if __name__ == "__main__":
    cli.run(train, "benchmark", "method")
