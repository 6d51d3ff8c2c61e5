"""Predictions as independent jobs: one trained model of one fold and seed under every mask of its benchmark."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.errors import DataError, ParamsError
from pipeline.evaluation.inference import load_method, model_files, predict_masked
from pipeline.evaluation.reconstruction import Reconstructs, reconstruction
from pipeline.execution.device import compute_device, start_computing
from pipeline.files import atomic, read_json, sha256, write_json
from pipeline.methods.protocol import Output, Variant
from pipeline.missing.masks import MaskBank, Masks
from pipeline.training.cost import peak_memory_mib
from pipeline.training.jobs import benchmark_dataset, benchmark_fingerprint
from pipeline.training.text_extractor import TextExtractor, with_missing_text


@dataclass(frozen=True)
class PredictionJob:
    """One trained model under every mask.

    Args:
        folder: of the benchmark.
        bank: file of the test masks.
        variant: method and parameters.
        fold: an entry of folds.json; its test part is predicted.
        seed: of the training.
        models: the row's models with the files of their weights: one, or with `one_to_one` one per rate.
        scratch: folder of finished predictions.
        text_extractor: for `text_missing: unk`.
    """

    folder: Path
    bank: Path
    variant: Variant
    fold: dict[str, Any]
    seed: int
    models: tuple[tuple[Variant, Path], ...]
    scratch: Path
    text_extractor: TextExtractor | None = None

    @property
    def result(self) -> Path:
        """Where the scores wait, named by the hash of all that they depend on."""
        modules = ["pipeline.evaluation.jobs", f"pipeline.methods.{self.variant.method}"]
        modules += filter(None, [self.variant.params.filler_module])
        parts = [
            benchmark_fingerprint(self.folder, *modules),
            self.variant.method,
            self.variant.params.model_dump(mode="json"),
            self.fold["name"],
            self.fold["test"],
            [
                (variant.params.model_dump(mode="json"), [sha256(file) for file in model_files(path, variant)])
                for variant, path in self.models
            ],
            sha256(self.bank),
            compute_device().type,
        ]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
        return self.scratch / f"{key}.safetensors"


def predict_one(job: PredictionJob) -> Path:
    """Predict one model and keep the scores per pattern in scratch; gives their file.

    Beside it, under the same name, a json file says seconds, memory and device (`cost`) and how far what its filler
    puts into holes is from the truth (`reconstruction`, None without a filler).

    Raises:
        DataError: the masks were drawn for other utterances.
    """
    result = job.result
    if result.is_file():
        return result
    started = time.perf_counter()
    device = start_computing()
    data = with_missing_text(benchmark_dataset(job.folder), job.variant.params, job.text_extractor)
    bank, name = MaskBank(job.bank), job.fold["name"]
    patterns = bank.patterns(name)
    masks = [bank.masks(name, pattern) for pattern in patterns]
    if any(pattern.utt_ids != job.fold["test"] for pattern in masks):
        raise DataError(f"{job.bank}: drawn for other test utterances of fold {name}; run the mask stage again")
    test = data.take(data.positions(job.fold["test"]))
    scores: dict[str, npt.NDArray[np.float32]] = {}
    filled = None
    for number, (variant, path) in enumerate(job.models):
        own = [_own(m.conditions, job.models, number, p) for p, m in zip(patterns, masks, strict=True)]
        if not any(own):
            continue
        method, scaler = load_method(path, variant, data)
        if method.network is not None:
            method.network.to(device)
        parts = [_conditions(pattern, places) for pattern, places in zip(masks, own, strict=True)]
        tested = scaler.apply(test).to(device)
        found = predict_masked(_SeesTest(method, tested) if variant.params.oracle else method, tested, parts)
        for pattern, places, whole, part in zip(patterns, own, masks, found, strict=True):
            every = scores.setdefault(pattern, np.full((len(whole.conditions), *part.shape[1:]), np.nan, np.float32))
            every[places] = part
        if isinstance(method, Reconstructs):
            filled = reconstruction(method, tested)
    seconds, memory = time.perf_counter() - started, peak_memory_mib(device)
    cost = {"seconds": seconds, "peak_memory_mib": memory, "device": device.type}
    # Before the scores, whose presence says that all is done.
    write_json(result.with_suffix(".json"), {"cost": cost, "reconstruction": filled})
    with atomic(result) as temporary:
        save_file(scores, temporary)
    return result


class _SeesTest:
    """An oracle with the test part at hand: this is the one place that gives it."""

    def __init__(self, oracle: Any, test: Dataset) -> None:
        self._oracle, self._test = oracle, test

    def predict(self, batch: Batch) -> Output:
        output: Output = self._oracle.predict(batch, self._test)
        return output


def total_cost(files: Iterable[Path], workers: int) -> dict[str, Any]:
    """Of a row: seconds summed over its predictions, and the most memory that a worker has had, in MiB."""
    found = [read_json(file)["cost"] for file in sorted(files)]
    return {
        "seconds": round(sum(cost["seconds"] for cost in found), 3),
        "peak_memory_mib": round(max(cost["peak_memory_mib"] for cost in found), 1),
        "device": found[0]["device"],
        "workers": workers,
    }


def _own(conditions: list[str], models: Sequence[tuple[Variant, Path]], number: int, pattern: str) -> list[int]:
    """Positions of the conditions that one of several models is for; what is no missing rate is the first model's.

    Raises:
        ParamsError: a rate that no model was trained for.
    """
    tested = [_rate(condition) for condition in conditions]
    if len(models) == 1 or None in tested:
        return list(range(len(conditions))) if number == 0 else []
    trained = [variant.params.p_miss for variant, _ in models]
    for rate in tested:
        if rate not in trained:
            raise ParamsError(
                f"params.yaml: training.rates: {rate} is tested under {pattern}, but {models[0][0].row} is trained "
                f"one_to_one at {', '.join(map(str, trained))}; add it there"
            )
    return [place for place, rate in enumerate(tested) if rate == trained[number]]


def _rate(condition: str) -> float | None:
    try:
        return float(condition)
    except ValueError:
        return None


def _conditions(masks: Masks, places: list[int]) -> Masks:
    """The masks of some conditions."""
    if len(places) == len(masks.conditions):
        return masks
    keep = {m: kept[places] for m, kept in masks.keep.items()}
    return Masks(masks.utt_ids, [masks.conditions[place] for place in places], keep)
