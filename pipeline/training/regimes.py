"""What training drops: masks over the packed steps of the training part, drawn in one call per epoch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.data.dataset import Dataset
from pipeline.training.params import MethodParams
from pipeline.training.run import Run

Keep = dict[str, Tensor]


def repeated(params: MethodParams, data: Dataset) -> Dataset:
    """The utterances that an epoch sees: with `moddrop` each of them once per set of modalities, in blocks.

    Moddrop (Rajan, thesis, 2022, section 4.4.1): all modalities, then each of them left out in turn, all in one epoch.
    With a single modality there is nothing to leave out.
    """
    if params.regime != "moddrop":
        return data
    return data.take(torch.arange(len(data), device=data.device).repeat(1 + len(_left_out(data))))


def epoch_masks(params: MethodParams, train: Dataset, run: Run) -> Callable[[int], Keep | None]:
    """The regime as a function from the epoch (from 1) to keep masks `(S_m,)` per modality, or None for complete data.

    `dynamic` (MCT-HFR, arXiv 2312.15848, section 4.4.2): every step of a masked utterance is dropped independently with
    probability `p_miss`, anew in every epoch; the share of masked utterances is min(1, (epoch - 1)/(ramp_epochs - 1)).
    `one_to_one`: masks at the rate `p_miss` for everyone, drawn once; none at rate 0. `moddrop`: one modality is
    missing in every block of `repeated` but the first.

    Args:
        params: the regime.
        train: the training part as `repeated` gives it.
        run: streams.
    """
    if params.trains_on_complete:
        return lambda epoch: None
    if params.regime in {"moddrop", "one_to_one"}:
        everyone = torch.ones(len(train), dtype=torch.bool, device=train.device)
        own = run.generator("masks")
        keep = _blocks(train) if params.regime == "moddrop" else _frames(train, params.p_miss, own, everyone)
        return lambda epoch: keep
    generator = run.generator("masks")

    def draw(epoch: int) -> Keep:
        share = 1.0 if params.ramp_epochs == 1 else min(1.0, (epoch - 1) / (params.ramp_epochs - 1))
        order = torch.randperm(len(train), generator=generator).to(train.device)
        masked = torch.zeros(len(train), dtype=torch.bool, device=train.device)
        masked[order[: math.ceil(share * len(train) - 1e-9)]] = True
        return _frames(train, params.p_miss, generator, masked)

    return draw


def validation_masks(params: MethodParams, valid: Dataset, run: Run) -> Keep | None:
    """Static masks at the training rate, the same in every epoch: selection sees what training sees.

    Args:
        params: the regime.
        valid: the validation part as `repeated` gives it.
        run: streams.
    """
    if params.trains_on_complete:
        return None
    if params.regime == "moddrop":
        return _blocks(valid)
    everyone = torch.ones(len(valid), dtype=torch.bool, device=valid.device)
    return _frames(valid, params.p_miss, run.generator("valid masks"), everyone)


def _frames(data: Dataset, rate: float, generator: torch.Generator, masked: Tensor) -> Keep:
    keep = {}
    for m, column in data.columns.items():
        uniform = torch.rand(len(column.values), generator=generator).to(data.device)
        keep[m] = (uniform >= rate) | ~torch.repeat_interleave(masked, column.lengths)
    return keep


def _left_out(data: Dataset) -> list[str]:
    """Modalities that `moddrop` leaves out in turn."""
    there = [m for m, column in data.columns.items() if len(column.values)]
    return there if len(there) > 1 else []


def _blocks(data: Dataset) -> Keep:
    dropped = [None, *_left_out(data)]
    block = torch.arange(len(data), device=data.device) // (len(data) // len(dropped))
    keep = {}
    for m, column in data.columns.items():
        kept = torch.ones(len(data), dtype=torch.bool, device=data.device)
        if m in dropped:
            kept = block != dropped.index(m)
        keep[m] = torch.repeat_interleave(kept, column.lengths)
    return keep
