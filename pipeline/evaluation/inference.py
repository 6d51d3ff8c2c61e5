"""Predict the test part of a fold under every mask of a benchmark, in one pass over packed batches."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.scaling import Scaler
from pipeline.errors import DataError, ParamsError
from pipeline.execution.device import compute_device, start_computing
from pipeline.files import atomic, read_json, sha256, write_json
from pipeline.methods.protocol import Method, Output, Spec, Variant, build
from pipeline.missing.masks import MaskBank, Masks
from pipeline.missing.patterns import Keep
from pipeline.training.batches import total_lengths
from pipeline.training.cost import peak_memory_mib
from pipeline.training.jobs import FILLER, benchmark_dataset, benchmark_fingerprint
from pipeline.training.text_extractor import TextExtractor, with_missing_text

_STEPS = {"cpu": 4_096, "cuda": 16_384}
"""Padded steps of all modalities in one batch: constants, since the size of a batch may change the last bits.

A processor is fastest while a layer fits into its cache, a GPU while it has enough to do.
"""


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
        modules = ["pipeline.evaluation.inference", f"pipeline.methods.{self.variant.method}"]
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

    Beside it, under the same name, a json file says seconds, memory and device.

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
    seconds, memory = time.perf_counter() - started, peak_memory_mib(device)
    cost = {"seconds": seconds, "peak_memory_mib": memory, "device": device.type}
    write_json(result.with_suffix(".json"), cost)  # before the scores, whose presence says that all is done
    with atomic(result) as temporary:
        save_file(scores, temporary)
    return result


class Predicts(Protocol):
    """What is asked of a trained method here."""

    def predict(self, batch: Batch) -> Output:
        """As `Method.predict`."""


class _SeesTest:
    """An oracle with the test part at hand: this is the one place that gives it."""

    def __init__(self, oracle: Any, test: Dataset) -> None:
        self._oracle, self._test = oracle, test

    def predict(self, batch: Batch) -> Output:
        output: Output = self._oracle.predict(batch, self._test)
        return output


def total_cost(files: Iterable[Path], workers: int) -> dict[str, Any]:
    """Of a row: seconds summed over its predictions, and the most memory that a worker has had, in MiB."""
    found = [read_json(file) for file in sorted(files)]
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


def model_files(path: Path, variant: Variant) -> list[Path]:
    """The file of a model's weights, and that of its filler where it has one: `SEED.filler.safetensors` beside it."""
    filler = path.with_name(f"{path.stem}.{FILLER}{path.suffix}")
    return [path] if variant.params.filler_fit is None else [path, filler]


def load_method(path: Path, variant: Variant, data: Dataset) -> tuple[Method, Scaler]:
    """Restore a trained method, its filler and its scaler.

    Raises:
        DataError: a file is missing, damaged or of another network.
    """
    method = build(variant, Spec.of(data))
    state: dict[str, Tensor] = {}
    for file in model_files(path, variant):
        try:
            state |= (own := load_file(file))
            method.load({k.removeprefix("method."): x for k, x in own.items() if k.startswith("method.")})
        except (OSError, SafetensorError, RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file}: cannot be loaded ({reason}); delete it and run `dvc repro`") from error
    return method, Scaler.load({k.removeprefix("scaler."): x for k, x in state.items() if k.startswith("scaler.")})


@torch.no_grad()
def predict_masked(method: Predicts, data: Dataset, masks: list[Masks]) -> list[npt.NDArray[np.float32]]:
    """Scores under every condition and repeat of some patterns.

    Equal masks (all repeats at rate 0, the complete set of modalities) are predicted once.

    Args:
        method: trained, on the device of `data`.
        data: the test part alone, standardised, utterances in the order of the masks.
        masks: one entry per pattern.

    Returns:
        Per pattern `(C, R, n, K)` float32.

    Raises:
        DataError: the masks were drawn for sequences of other lengths.
    """
    for pattern in masks:
        for m, column in data.columns.items():
            if pattern.keep[m].shape[2] != len(column.values):
                raise DataError(
                    f"masks: {pattern.keep[m].shape[2]} steps of {m}, the test part has {len(column.values)}; run the "
                    "mask stage again"
                )
    flat = {m: np.concatenate([_flat(pattern.keep[m]) for pattern in masks]) for m in data.columns}
    packed = np.concatenate([np.packbits(keep, axis=1) for keep in flat.values()], axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    banks = {m: torch.from_numpy(keep[first]).to(data.device) for m, keep in flat.items()}  # (Q, S_m)
    scores = _predict(method, data, banks, len(first))  # (Q, n, K)
    expanded = scores[inverse.ravel()]
    parts, start = [], 0
    for pattern in masks:
        conditions, repeats = next(iter(pattern.keep.values())).shape[:2]
        part = expanded[start : start + conditions * repeats]
        parts.append(part.reshape(conditions, repeats, *part.shape[1:]))
        start += conditions * repeats
    return parts


def _flat(keep: Keep) -> Keep:
    """`(C, R, S)` as `(C R, S)`; S may be 0."""
    conditions, repeats, steps = keep.shape
    return keep.reshape(conditions * repeats, steps)


def _predict(method: Predicts, data: Dataset, banks: dict[str, Tensor], masks: int) -> npt.NDArray[np.float32]:
    order = total_lengths(data).argsort(stable=True).repeat_interleave(masks)
    which = torch.arange(masks, device=data.device).repeat(len(data))
    scores = np.empty((masks, len(data), data.task.outputs), np.float32)
    start, most = 0, _STEPS[data.device.type]
    costs = total_lengths(data)[order].clamp(min=1).tolist()
    while start < len(order):
        stop = start + 1
        while stop < len(order) and costs[stop] * (stop + 1 - start) <= most:
            stop += 1
        index, own = order[start:stop], which[start:stop]
        keep = {}
        for m, column in data.columns.items():
            time = torch.arange(int(column.lengths[index].max()), device=data.device)
            steps = (column.offsets[index][:, None] + time).clamp(max=max(len(column.values) - 1, 0))
            keep[m] = banks[m][own[:, None], steps] if len(column.values) else steps.bool()
        output = method.predict(data.batch(index, keep)).scores
        scores[own.cpu().numpy(), index.cpu().numpy()] = output.float().cpu().numpy()
        start = stop
    return scores
