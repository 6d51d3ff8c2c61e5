"""Predict a test part under every mask of a benchmark, in one pass over packed batches."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.scaling import Scaler
from pipeline.data.spec import Spec
from pipeline.errors import DataError
from pipeline.methods.protocol import Method, Output, Variant, build
from pipeline.missing.masks import Masks
from pipeline.missing.patterns import Keep
from pipeline.training.batches import total_lengths
from pipeline.training.jobs import FILLER

_STEPS = {"cpu": 4_096, "cuda": 16_384}
"""Padded steps of all modalities in one batch: constants, since the size of a batch may change the last bits.

A processor is fastest while a layer fits into its cache, a GPU while it has enough to do.
"""


class Predicts(Protocol):
    """What is asked of a trained method here."""

    def predict(self, batch: Batch) -> Output:
        """As `Method.predict`."""


def model_files(path: Path, variant: Variant) -> list[Path]:
    """The file of a model's weights, and that of its filler where it has one: `SEED.filler.safetensors` beside it."""
    filler = path.with_name(f"{path.stem}.{FILLER}{path.suffix}")
    return [path] if variant.params.filler_fit is None else [path, filler]


def load_method(path: Path, variant: Variant, data: Dataset) -> tuple[Method, Scaler]:
    """Restore a trained method, its filler and its scaler.

    Raises:
        DataError: a file is missing, damaged or of another network.
    """
    method: Method | None = None
    state: dict[str, Tensor] = {}
    for file in model_files(path, variant):
        try:
            state |= (own := load_file(file))
            if method is None:  # the first file, that of the network, also has what its outputs count from
                method = build(variant, Spec.of(replace(data, task=data.task.load(_part(own, "task")))))
            method.load(_part(own, "method"))
        except (OSError, SafetensorError, RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file}: cannot be loaded ({reason}); delete it and run `dvc repro`") from error
    assert method is not None
    return method, Scaler.load(_part(state, "scaler"))


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of a checkpoint, by their names in it."""
    return {k.removeprefix(f"{name}."): x for k, x in state.items() if k.startswith(f"{name}.")}


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
