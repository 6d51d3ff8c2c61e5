"""Correlated audio-visual vectors of a known kind (section 2.3 of the specification), and chance for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams, make_filler
from pipeline.imputation.protocol import Filler
from pipeline.imputation.vectors import Vectors
from pipeline.training.run import Run

WIDTHS = {"text": 3, "audio": 5, "vision": 4}


def make_vectors(
    n: int = 40, seed: int = 0, modalities: tuple[str, ...] = ("audio", "vision")
) -> tuple[Vectors, Tensor]:
    """`n` utterances of four classes: a class' centre, a shared nuisance and noise; their labels `(n,)`."""
    centres, draw = torch.Generator().manual_seed(9), torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    nuisance = torch.randn(n, 2, generator=draw)
    vectors = {}
    for m in modalities:
        of_class = torch.randn(4, WIDTHS[m], generator=centres)
        mixing = torch.randn(2, WIDTHS[m], generator=centres)
        vectors[m] = of_class[labels] + nuisance @ mixing + 0.1 * torch.randn(n, WIDTHS[m], generator=draw)
    return vectors, labels


def everything(vectors: Vectors) -> Vectors:
    """`have` of complete vectors."""
    return {m: torch.ones(len(x), dtype=torch.bool) for m, x in vectors.items()}


def chance_for(n: int, seed: int = 5) -> Chance:
    return Chance(seed, 1000 + 7 * torch.arange(n))


SMALL: dict[str, Any] = {
    "gan": {"latent": 3, "epochs": 2},
    "vae": {"latent": 3, "hidden": 8, "epochs": 3},
    "neighbours": {"k": 3},
}


def make(name: str, **more: Any) -> Filler:
    """A small filler, not fitted."""
    return make_filler(FillerParams.model_validate({"filler": name, **SMALL, **more}))


@pytest.fixture
def fitted() -> Callable[..., Filler]:
    """`fitted(name, vectors)` on complete training vectors."""

    def fit(name: str, vectors: Vectors | None = None, **more: Any) -> Filler:
        filler, own = make(name, **more), make_vectors()[0] if vectors is None else vectors
        filler.fit(own, everything(own), Run(("test",)))
        return filler

    return fit
