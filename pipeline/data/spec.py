"""Spec: all that a method may know of a benchmark."""

from dataclasses import dataclass

from pipeline.data.dataset import Dataset
from pipeline.data.task import Task


@dataclass(frozen=True)
class Spec:
    """All that a method may know of a benchmark: shapes, never names.

    Args:
        dims: features per step D_m of every modality, at least 1.
        available: modalities that any utterance has; the others have T_m = 0 throughout.
        task: labels and loss.
        hops: seconds between steps, or None.
        max_lengths: longest sequence T_m.
    """

    dims: dict[str, int]
    available: tuple[str, ...]
    task: Task
    hops: dict[str, float | None]
    max_lengths: dict[str, int]

    @classmethod
    def of(cls, data: Dataset) -> "Spec":
        """The Spec of a dataset."""
        columns = data.columns
        return cls(
            dims={m: c.values.shape[1] for m, c in columns.items()},
            available=tuple(m for m, c in columns.items() if len(c.values)),
            task=data.task,
            hops={m: c.hop for m, c in columns.items()},
            max_lengths=dict(data.max_lengths),
        )
