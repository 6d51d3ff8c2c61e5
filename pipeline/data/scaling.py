"""Z-scores with the statistics of the training part; a step that is not there stays exactly 0, which is the mean."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.dataset import Dataset

_BLOCK = 65_536
"""Steps that are summed at once: what is held beside the data does not grow with it."""


@dataclass(frozen=True)
class Scaler:
    """Mean and deviation of every feature.

    Args:
        mean: per modality `(D_m,)` float32.
        deviation: per modality `(D_m,)` float32; 1 where a feature is constant.
    """

    mean: dict[str, Tensor]
    deviation: dict[str, Tensor]

    @classmethod
    def fit(cls, train: Dataset) -> "Scaler":
        """Statistics over the present steps of the training part: two passes of float64 sums, a block at a time."""
        mean, deviation = {}, {}
        for m, column in train.columns.items():
            blocks = list(zip(torch.split(column.values, _BLOCK), torch.split(column.present, _BLOCK), strict=True))
            count = max(int(column.present.sum()), 1)
            centre = torch.zeros(column.values.shape[1], dtype=torch.float64)
            square, largest = torch.zeros_like(centre), torch.ones_like(centre)
            for values, present in blocks:
                centre += values[present].double().sum(0) / count
            for values, present in blocks:
                there = values[present].double()
                square += (there - centre).square_().sum(0) / count
                if len(there):
                    largest = torch.maximum(largest, there.abs_().amax(0))
            spread = square.sqrt()
            mean[m] = centre.float()
            deviation[m] = torch.where(spread > 1e-6 * largest, spread, torch.ones_like(spread)).float()
        return cls(mean, deviation)

    @classmethod
    def identity(cls, data: Dataset) -> "Scaler":
        """Change nothing."""
        widths = {m: column.values.shape[1] for m, column in data.columns.items()}
        return cls({m: torch.zeros(d) for m, d in widths.items()}, {m: torch.ones(d) for m, d in widths.items()})

    def apply(self, data: Dataset) -> Dataset:
        """The dataset in z-scores."""
        columns = {}
        for m, column in data.columns.items():
            mean, deviation = self.mean[m].to(data.device), self.deviation[m].to(data.device)
            values = ((column.values - mean) / deviation).masked_fill_(~column.present[:, None], 0.0)
            reencoder = column.reencoder and column.reencoder.scaled(mean, deviation)
            columns[m] = replace(column, values=values, reencoder=reencoder)
        return replace(data, columns=columns)

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, for a checkpoint."""
        return {f"{name}.{m}": x for name in ("mean", "deviation") for m, x in getattr(self, name).items()}

    @classmethod
    def load(cls, state: dict[str, Tensor]) -> "Scaler":
        """Restore what `state` gave."""
        parts: dict[str, dict[str, Tensor]] = {"mean": {}, "deviation": {}}
        for key, value in state.items():
            name, _, modality = key.partition(".")
            parts[name][modality] = value
        return cls(**parts)
