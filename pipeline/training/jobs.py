"""Trainings as independent jobs: one per row, fold and seed, named by the hash of all that it depends on.

A finished training stays in scratch under that name, so a run that was killed goes on where it was, and changing one
variant of a method trains that variant only. Fitting a filler is a job of its own, so that rows which differ by their
fillers share one training, and changing a filler's parameters fits that filler only. Several fits may be done in one
go; each is still a job with a result of its own.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.scaling import Scaler
from pipeline.data.spec import Spec
from pipeline.data.store import FeatureStore
from pipeline.execution.device import compute_device, start_computing
from pipeline.files import atomic, read_json, sha256, write_json
from pipeline.methods.protocol import Method, Variant, build, models, not_applicable
from pipeline.registry import sources_sha256
from pipeline.training.cost import multiply_accumulates, parameters, peak_memory_mib
from pipeline.training.run import Run
from pipeline.training.text_extractor import TextExtractor, cannot_reencode, with_missing_text

Result = tuple[dict[str, Any], dict[str, Tensor]]
"""A record without its cost, and a state."""

FILLER = "filler"
"""Part of a model that is fitted apart, and what the names of its tensors begin with."""


class FilledMethod(Method, Protocol):
    """A method whose parameters have a `filler_fit`: its `fit` leaves the filler to `fit_filler`."""

    def fit_filler(self, train: Dataset, run: Run) -> dict[str, Any]:
        """Fit the filler on the training part; gives a history, `parameters` among it if something is trained."""


class StackedMethod(FilledMethod, Protocol):
    """A method whose parameters may have `filler_stacks`."""

    def plan_filler(self, train: Dataset, run: Run) -> Any:
        """What `fit_filler` does, up to the fit itself; holds the vectors of the training part, not its sequences."""

    def fit_fillers(self, plans: Sequence[Any]) -> list[dict[str, Any]]:
        """Do the fits that several methods of one class have planned; their histories."""


@dataclass(frozen=True)
class TrainingJob:
    """One training, or the fit of one filler.

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
        part: "", or `filler`.
        trained: of a filler that is fitted to what a network makes of its input, the training of that network.
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
    part: str = ""
    trained: "TrainingJob | None" = None

    @cached_property
    def key(self) -> str:
        """Name of the result in scratch."""
        parts: list[Any] = [
            self.variant.method,
            self.variant.training_params(),
            self.fold,
            self.seed,
            self.words,
            self.fingerprint,
            compute_device().type,
        ]
        if self.part:
            known = {"standardize": self.variant.params.standardize, "trained": self.trained and self.trained.key}
            parts[1] = [self.part, self.variant.params.filler_fit, known]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def epochs(self) -> int:
        """At most so many; 0 where nothing is trained in epochs."""
        params = self.variant.params
        if not self.part:
            return int(getattr(params, "epochs", 0))
        return int((params.filler_fit or {}).get("section", {}).get("epochs", 0))

    @property
    def stack(self) -> str | None:
        """What fits must share to be done in one go; None for what is done alone."""
        params = self.variant.params
        if not (self.part and params.filler_stacks):
            return None
        return json.dumps([params.filler_fit, len(self.fold["train"])], sort_keys=True)

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


def filler_jobs(jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
    """The fits of fillers that belong to some trainings, in their order; jobs with equal keys are one."""
    found = []
    for job in jobs:
        params = job.variant.params
        if params.filler_fit is None:
            continue
        modules = "pipeline.training.jobs", f"pipeline.methods.{job.variant.method}", str(params.filler_module)
        fingerprint = benchmark_fingerprint(job.folder, *modules)
        trained = job if params.filler_needs_weights else None
        found.append(replace(job, fingerprint=fingerprint, part=FILLER, trained=trained))
    return found


def fold_seeds(seeds: tuple[int, ...] | str, fold: dict[str, Any]) -> tuple[int, ...]:
    """The training seeds of a fold: the benchmark's, or with `from_fold` the one that it carries."""
    return (fold["seed"],) if isinstance(seeds, str) else seeds


def train_one(job: TrainingJob) -> Path:
    """Train or fit, and write the result to scratch; returns the path of its record.

    A filler that needs a trained network finds it in scratch: that training must be finished.
    """
    return train_together([job])[0]


def train_together(jobs: Sequence[TrainingJob]) -> list[Path]:
    """Do one job, or several with one `stack` in one go, and write the result of each; the paths of their records.

    The cost of each is an equal share of the seconds, and the memory of all.
    """
    waiting = [job for job in jobs if not job.finished]
    if not waiting:
        return [job.record for job in jobs]
    started = time.perf_counter()
    device = start_computing()
    done = _fit_fillers(waiting, device) if len(waiting) > 1 else [_train(waiting[0], device)]
    for job, (_, state) in zip(waiting, done, strict=True):
        with atomic(job.weights) as temporary:
            save_file({name: x.detach().cpu().contiguous() for name, x in state.items()}, temporary)
    cost = {
        "seconds": (time.perf_counter() - started) / len(waiting),
        "peak_memory_mib": peak_memory_mib(device),
        "device": device.type,
    }
    for job, (record, _) in zip(waiting, done, strict=True):
        write_json(job.record, record | {"cost": cost})
    return [job.record for job in jobs]


@dataclass(frozen=True)
class _Ready:
    """A training that can begin: its data are scaled, its method is built."""

    method: Method
    spec: Spec
    train: Dataset
    valid: Dataset | None
    scaler: Scaler
    run: Run


def _prepare(job: TrainingJob, device: torch.device) -> _Ready:
    data = with_missing_text(benchmark_dataset(job.folder), job.variant.params, job.text_extractor)
    task = data.task.fitted(data.labels[data.positions(job.fold["train"])])
    data = replace(data, task=task)
    train = data.take(data.positions(job.fold["train"]))
    valid = data.take(data.positions(job.fold["valid"])) if job.fold["valid"] and not job.part else None
    scaler = Scaler.fit(train) if job.variant.params.standardize else Scaler.identity(train)
    run = Run((*job.words, "train", job.variant.method, job.fold["name"], job.seed), device)
    run.seed_weights()
    spec = Spec.of(data)
    method = build(job.variant, spec)
    return _Ready(method, spec, scaler.apply(train), scaler.apply(valid) if valid else None, scaler, run)


def _train(job: TrainingJob, device: torch.device) -> Result:
    ready = _prepare(job, device)
    if job.part:
        return _fit_filler(job, ready)
    method, scaler = ready.method, ready.scaler
    record = {"history": method.fit(ready.train, ready.valid, ready.run)}
    state = {f"method.{name}": x for name, x in method.state().items()}
    counted = build(job.variant, ready.spec)  # on the CPU: CUDA's recurrent kernels are not counted
    counted.load({name: x.detach().cpu() for name, x in method.state().items()})
    record["facts"] = {"parameters": parameters(method), "macs": multiply_accumulates(counted, ready.spec)}
    state |= {f"scaler.{name}": x for name, x in scaler.state().items()}
    state |= {f"task.{name}": x for name, x in ready.spec.task.state().items()}
    return record, state


def _fit_filler(job: TrainingJob, ready: _Ready) -> Result:
    filled = cast(FilledMethod, ready.method)
    if job.trained:
        state = load_file(job.trained.weights)
        filled.load({k.removeprefix("method."): x for k, x in state.items() if k.startswith("method.")})
    return _filler_result(filled, filled.fit_filler(ready.train, ready.run))


def _fit_fillers(jobs: Sequence[TrainingJob], device: torch.device) -> list[Result]:
    methods: list[StackedMethod] = []
    plans = []
    for job in jobs:  # of a training part nothing but its vectors stays in memory
        ready = _prepare(job, device)
        methods.append(cast(StackedMethod, ready.method))
        plans.append(methods[-1].plan_filler(ready.train, ready.run))
    return list(map(_filler_result, methods, methods[0].fit_fillers(plans)))


def _filler_result(method: FilledMethod, history: dict[str, Any]) -> Result:
    record = {"history": history, "facts": {FILLER: history.get("parameters", 0)}}
    return record, {f"method.{name}": x for name, x in method.state().items() if name.startswith(FILLER)}


def refusal(variant: Variant, folder: Path) -> str | None:
    """Why a row cannot be had on this benchmark, or None."""
    if variant.params.text_missing == "unk" and (reason := cannot_reencode(folder)):
        return reason
    return not_applicable(variant, Spec.of(benchmark_dataset(folder)))


@lru_cache(maxsize=1)
def benchmark_dataset(folder: Path) -> Dataset:
    """The dataset of a benchmark, loaded once; worker processes that are forked share it."""
    return load_dataset(folder)


@lru_cache(maxsize=64)
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
