"""How far what a filler puts into holes is from the truth, and where it lies, on test utterances that are made to lack.

Utterances that have all modalities lose one, or several, or all of them, and are filled. The error of a modality is
the root mean square over utterances, draws and features, each feature in units of its deviation over these utterances,
so that filling with the mean has an error of 1; features, and modalities, that do not vary are left out. For the eye,
true and filled joint vectors are projected onto the first two principal components of the true ones.
"""

from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.imputation.vectors import Vectors, whole_vectors

_SHOWN = 150
"""Utterances whose projections are kept, evenly taken."""


@runtime_checkable
class Reconstructs(Protocol):
    """A method that fills holes in utterance vectors."""

    def reconstruct(self, batch: Batch, test: Dataset) -> Vectors:
        """Filled vectors `(n, B, D_m)` per modality; `test` is for oracles."""


@torch.no_grad()
def reconstruction(method: Reconstructs, test: Dataset) -> dict[str, Any] | None:
    """Errors and projections, as JSON values; None where no utterance has all modalities, or fewer than two have.

    Args:
        method: trained, on the device of `test`.
        test: the test part, standardised.

    Returns:
        `errors`: per set of missing modalities ("audio", "text+audio", ...) the error of each of them. `labels`: of the
        utterances that are projected; `real` their points `(n, 2)`, and `filled` those per set of missing modalities.
    """
    vectors, have = whole_vectors(test)
    names = [m for m in vectors if bool(have[m].any())]
    whole = torch.stack([have[m] for m in names]).all(0) if names else torch.zeros(0, dtype=torch.bool)
    rows = whole.nonzero().flatten()
    if len(rows) < 2:
        return None
    truth = {m: vectors[m][rows].double() for m in names}
    centre, spread = {m: x.mean(0) for m, x in truth.items()}, {m: x.std(0, correction=0) for m, x in truth.items()}
    varies = {m: spread[m] > 1e-9 * centre[m].abs().clamp(min=1.0) for m in names}

    def scaled(own: Vectors) -> Vectors:
        return {m: ((own[m].double() - centre[m]) / spread[m])[..., varies[m]] for m in names}

    real = scaled(truth)
    axes = _principal(torch.cat(list(real.values()), -1))  # (D, 2)
    shown = torch.linspace(0, len(rows) - 1, min(_SHOWN, len(rows)), device=rows.device).round().long()
    measured = [m for m in names if bool(varies[m].any())]
    errors: dict[str, dict[str, float]] = {}
    filled: dict[str, list[list[float]]] = {}
    for missing in (own for k in range(1, len(names) + 1) for own in combinations(names, k)):
        keep = {m: torch.full((len(c.values),), m not in missing, device=test.device) for m, c in test.columns.items()}
        found = scaled(method.reconstruct(test.batch(rows, keep), test))  # (n, B, D_m)
        word = "+".join(missing)
        errors[word] = {m: _rounded((found[m] - real[m]).square().mean().sqrt()) for m in missing if m in measured}
        filled[word] = _points(torch.cat([found[m][0] for m in names], -1)[shown] @ axes)
    return {
        "errors": errors,
        "labels": test.labels[rows][shown].tolist(),
        "real": _points(torch.cat(list(real.values()), -1)[shown] @ axes),
        "filled": filled,
    }


def _principal(centred: Tensor) -> Tensor:
    """The first two principal axes `(D, 2)`, each pointing where its largest weight is positive."""
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    axes = torch.nn.functional.pad(axes, (0, 0, 0, 2 - len(axes)))
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return (axes * torch.where(largest < 0, -1.0, 1.0)).T


def _points(points: Tensor) -> list[list[float]]:
    return [[round(x, 3) for x in point] for point in points.tolist()]


def _rounded(value: Tensor) -> float:
    return round(float(value), 6)
