"""Stage train: one model per row, fold and seed of a method on a benchmark, and its filler if it has one."""

from itertools import chain

from pipeline import cli, paths
from pipeline.execution.device import fits_are_stacked, jobs_at_once
from pipeline.execution.jobs import run_jobs, workers
from pipeline.execution.lock import exclusive
from pipeline.files import atomic, write_json
from pipeline.methods.protocol import variants
from pipeline.params import load_params
from pipeline.progress import track
from pipeline.training.jobs import TrainingJob, filler_jobs, refusal, train_together, training_jobs
from pipeline.training.results import costs, forget_others, gather_models
from pipeline.training.text_extractor import find_text_extractor

_STACK = 64
"""At most so many fits in one go: a killed run loses no more, and GANs of published size need about 5 GB of a GPU."""


def train(benchmark: str, method: str) -> None:
    """Train METHOD on BENCHMARK: all its variants, folds and seeds."""
    params = load_params(benchmarks=benchmark, methods=method)
    rows = variants(method, params.methods[method])
    scratch = paths.scratch() / "train" / benchmark / method
    folder = paths.benchmark(benchmark)
    with exclusive(scratch):
        refused = {row.folder: refusal(row, folder) for row in rows}
        possible = [row for row in rows if not refused[row.folder]]
        seeds = params.benchmarks[benchmark].seeds
        words, rates = (params.seed, benchmark), params.training.rates
        locations = {name: features.weights for name, features in params.features.items()}
        texts = find_text_extractor(folder, possible, locations)
        trainings = list(training_jobs(folder, possible, seeds, words, scratch, rates, texts))
        fillers = filler_jobs(trainings)
        _run(method, [*trainings, *(job for job in fillers if not job.trained)])
        if any(job.trained for job in fillers):
            _run(method, [job for job in fillers if job.trained])
        jobs = [*trainings, *fillers]
        spent = costs(jobs)
        with atomic(paths.models(benchmark, method)) as target:
            gather_models(jobs, refused, spent, target)
        write_json(paths.costs(benchmark, method), {"rows": spent})
        forget_others(scratch, jobs)


def _run(method: str, jobs: list[TrainingJob]) -> None:
    """Do what is not done yet, the longest first, so that no worker is left alone with one at the end."""
    unique = {job.key: job for job in jobs}
    waiting = sorted((job for job in unique.values() if not job.finished), key=lambda job: -job.epochs)
    if len(waiting) < len(unique):
        print(f"{method}: {len(unique) - len(waiting)} of {len(unique)} trainings are already done")
    results = run_jobs(train_together, _in_stacks(waiting), jobs_at_once(), ahead=len(waiting))
    done = chain.from_iterable(results)
    for _ in track(done, f"train {method}", "models", len(waiting)):
        pass


def _in_stacks(jobs: list[TrainingJob]) -> list[list[TrainingJob]]:
    """What is done in one go: on a GPU fits that are alike, a part of them for every worker; else every job alone."""
    if not fits_are_stacked():
        return [[job] for job in jobs]
    stacks: dict[str, list[TrainingJob]] = {}
    for job in jobs:
        stacks.setdefault(job.stack or job.key, []).append(job)
    found = []
    for alike in stacks.values():
        parts = min(len(alike), max(workers(jobs_at_once()), -(-len(alike) // _STACK)))
        found += [alike[i::parts] for i in range(parts)]
    return found


if __name__ == "__main__":
    cli.run(train, "benchmark", "method")
