"""Trainings as independent jobs: one per row, fold and seed, named by the hash of all that it depends on.

A finished training stays in scratch under that name, so a run that was killed goes on where it was, and changing one
variant of a method trains that variant only.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.scaling import Scaler
from pipeline.data.store import FeatureStore
from pipeline.execution.device import compute_device, start_computing
from pipeline.files import atomic, read_json, sha256, write_json
from pipeline.methods.protocol import Spec, Variant, build, models, not_applicable
from pipeline.registry import sources_sha256
from pipeline.training.cost import multiply_accumulates, parameters, peak_memory_mib
from pipeline.training.run import Run
from pipeline.training.text_extractor import TextExtractor, cannot_reencode, with_missing_text


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Args:
        folder: of the benchmark.
        variant: method and parameters.
        fold: an entry of folds.json; its test part is not here.
        seed: of the training.
        words: root seed and benchmark.
        fingerprint: hash of the features, the labels and the code.
        scratch: folder of finished trainings.
        model: of several behind one row, what its files' names have after the seed; see `models`.
        text_extractor: for `text_missing: unk`. No part of the name: task.json, which is, says which one it is.
    """

    folder: Path
    variant: Variant
    fold: dict[str, Any]
    seed: int
    words: tuple[int | str, ...]
    fingerprint: str
    scratch: Path
    model: str = ""
    text_extractor: TextExtractor | None = None

    @cached_property
    def key(self) -> str:
        """Name of the result in scratch."""
        parts = [
            self.variant.method,
            self.variant.training_params(),
            self.fold,
            self.seed,
            self.words,
            self.fingerprint,
            compute_device().type,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def weights(self) -> Path:
        """The trained state."""
        return self.scratch / f"{self.key}.safetensors"

    @property
    def record(self) -> Path:
        """History and cost; written last, so its presence says that the training is finished."""
        return self.scratch / f"{self.key}.json"

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.weights.is_file() and self.record.is_file()


def training_jobs(
    folder: Path,
    variants: list[Variant],
    seeds: tuple[int, ...] | str,
    words: tuple[int | str, ...],
    scratch: Path,
    rates: Sequence[float] = (),
    text_extractor: TextExtractor | None = None,
) -> Iterator[TrainingJob]:
    """The jobs of some variants of one method by variant, fold, seed and model; `rates` as `models` takes it."""
    folds = read_json(folder / "folds.json")["folds"]
    for variant in variants:
        fingerprint = benchmark_fingerprint(folder, "pipeline.training.jobs", f"pipeline.methods.{variant.method}")
        for fold in folds:
            own = {"name": fold["name"], "train": fold["train"], "valid": fold["valid"]}
            for seed in fold_seeds(seeds, fold):
                for model, trained in models(variant, rates).items():
                    yield TrainingJob(folder, trained, own, seed, words, fingerprint, scratch, model, text_extractor)


def fold_seeds(seeds: tuple[int, ...] | str, fold: dict[str, Any]) -> tuple[int, ...]:
    """The training seeds of a fold: the benchmark's, or with `from_fold` the one that it carries."""
    return (fold["seed"],) if isinstance(seeds, str) else seeds


def train_one(job: TrainingJob) -> Path:
    """Train, and write the result to scratch; returns the path of its record."""
    if job.finished:
        return job.record
    started = time.perf_counter()
    device = start_computing()
    data = with_missing_text(benchmark_dataset(job.folder), job.variant.params, job.text_extractor)
    train = data.take(data.positions(job.fold["train"]))
    valid = data.take(data.positions(job.fold["valid"])) if job.fold["valid"] else None
    scaler = Scaler.fit(train) if job.variant.params.standardize else Scaler.identity(train)
    run = Run((*job.words, "train", job.variant.method, job.fold["name"], job.seed), device)
    run.seed_weights()
    spec = Spec.of(data)
    method = build(job.variant, spec)
    history = method.fit(scaler.apply(train), scaler.apply(valid) if valid else None, run)
    state = {f"method.{name}": x for name, x in method.state().items()}
    state |= {f"scaler.{name}": x for name, x in scaler.state().items()}
    with atomic(job.weights) as temporary:
        save_file({name: x.detach().cpu().contiguous() for name, x in state.items()}, temporary)
    cost = {
        "seconds": time.perf_counter() - started,
        "peak_memory_mib": peak_memory_mib(device),
        "device": device.type,
    }
    counted = build(job.variant, spec)  # on the CPU: CUDA's recurrent kernels are not counted
    counted.load({name: x.detach().cpu() for name, x in method.state().items()})
    facts = {"parameters": parameters(method), "macs": multiply_accumulates(counted, spec)}
    write_json(job.record, {"history": history, "facts": facts, "cost": cost})
    return job.record


def refusal(variant: Variant, folder: Path) -> str | None:
    """Why a row cannot be had on this benchmark, or None."""
    if variant.params.text_missing == "unk" and (reason := cannot_reencode(folder)):
        return reason
    return not_applicable(variant, Spec.of(benchmark_dataset(folder)))


@lru_cache(maxsize=1)
def benchmark_dataset(folder: Path) -> Dataset:
    """The dataset of a benchmark, loaded once; worker processes that are forked share it."""
    return load_dataset(folder)


@lru_cache(maxsize=4)
def benchmark_fingerprint(folder: Path, *modules: str) -> str:
    """Hash of a benchmark's features and labels, of the code of some modules, and of the packages that compute."""
    digest = hashlib.sha256(f"{torch.__version__.partition('+')[0]} {np.__version__}".encode())
    for m in MODALITIES:
        with FeatureStore(folder / f"{m}.h5") as store:
            digest.update(store.content_sha256.encode())
    for name in ("labels.csv", "task.json"):
        digest.update(sha256(folder / name).encode())
    digest.update(sources_sha256(*modules).encode())
    return digest.hexdigest()
