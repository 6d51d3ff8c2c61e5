"""What training drops: masks over the packed steps of the training part, drawn in one call per epoch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.data.dataset import Dataset
from pipeline.methods.protocol import MethodParams
from pipeline.training.run import Run

Keep = dict[str, Tensor]


def epoch_masks(params: MethodParams, train: Dataset, run: Run) -> Callable[[int], Keep | None]:
    """The regime as a function from the epoch (from 1) to keep masks `(S_m,)` per modality, or None for complete data.

    `dynamic` (MCT-HFR, arXiv 2312.15848, section 4.4.2): every step of a masked utterance is dropped independently with
    probability `p_miss`, anew in every epoch; the share of masked utterances is min(1, (epoch - 1)/(ramp_epochs - 1)).
    """
    if params.regime == "complete":
        return lambda epoch: None
    generator = run.generator("masks")

    def draw(epoch: int) -> Keep:
        share = 1.0 if params.ramp_epochs == 1 else min(1.0, (epoch - 1) / (params.ramp_epochs - 1))
        order = torch.randperm(len(train), generator=generator).to(train.device)
        masked = torch.zeros(len(train), dtype=torch.bool, device=train.device)
        masked[order[: math.ceil(share * len(train) - 1e-9)]] = True
        return _frames(train, params.p_miss, generator, masked)

    return draw


def validation_masks(params: MethodParams, valid: Dataset, run: Run) -> Keep | None:
    """Static masks at the training rate, the same in every epoch: selection sees what training sees."""
    if params.regime == "complete":
        return None
    everyone = torch.ones(len(valid), dtype=torch.bool, device=valid.device)
    return _frames(valid, params.p_miss, run.generator("valid masks"), everyone)


def _frames(data: Dataset, rate: float, generator: torch.Generator, masked: Tensor) -> Keep:
    keep = {}
    for m, column in data.columns.items():
        uniform = torch.rand(len(column.values), generator=generator).to(data.device)
        keep[m] = (uniform >= rate) | ~torch.repeat_interleave(masked, column.lengths)
    return keep
