"""What a filler is: it learns from training vectors and proposes vectors for utterances that lack some."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.errors import ContractError
from pipeline.imputation.chance import Chance
from pipeline.imputation.vectors import Vectors
from pipeline.training.run import Run


class Filler(Protocol):
    """Proposes vectors of every modality that training had; `fill` puts them into the holes alone."""

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Learn from training data alone.

        Args:
            vectors: per modality `(N, D_m)`.
            have: per modality `(N,)` bool, False where the vector is missing.
            run: streams and device.

        Returns:
            History: JSON values, among them `parameters`, the trained numbers, where there are any.
        """

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Propose vectors, `n` times.

        Args:
            vectors: per modality `(B, D_m)`; nothing where `have` is False may matter.
            have: per modality `(B,)` bool.
            chance: numbers for these utterances.
            n: draws.

        Returns:
            Per modality that training had `(n, B, D_m)`.

        Raises:
            ContractError: not fitted.
        """

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs; empty before `fit`."""

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""


Kind = TypeVar("Kind", bound=Filler)


@dataclass(frozen=True)
class Fit(Generic[Kind]):
    """A fit that is not done yet: a filler and what its `fit` takes."""

    filler: Kind
    vectors: Vectors
    have: Vectors
    run: Run


class Stackable(Filler, Protocol):
    """A filler that can be fitted together with others of its kind, which is faster where a device would idle."""

    @staticmethod
    def fit_together(fits: Sequence[Fit[Any]]) -> list[dict[str, Any]]:
        """Fit several, of any parameters and training parts; every one ends as if fitted alone, up to rounding.

        Returns:
            Their histories, as `fit` gives them.
        """


@dataclass(frozen=True)
class Donors:
    """The test part.

    Args:
        vectors: per modality `(T, D_m)`.
        have: per modality `(T,)` bool.
        labels: `(T,)` int64.
        keys: `(T,)` int64, what names an utterance.
    """

    vectors: Vectors
    have: Vectors
    labels: Tensor
    keys: Tensor


class Sampler(Protocol):
    """The part of a filler that fills."""

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """As `Filler.sample`."""


class Oracle(Filler, Protocol):
    """A filler that needs the test part; its own `sample` refuses."""

    def seeing(self, donors: Donors, labels: Tensor) -> Sampler:
        """The filler for utterances with these true `labels (B,)`, once the test part is known."""


def fill(
    filler: Sampler, name: str, vectors: Vectors, have: Vectors, chance: Chance, n: int, *, splice: bool
) -> Vectors:
    """Fill holes `n` times.

    Args:
        filler: fitted.
        name: of the filler, for messages.
        vectors: per modality `(B, D_m)`.
        have: per modality `(B,)` bool.
        chance: numbers for these utterances.
        n: draws.
        splice: keep what is there, bit by bit; else all of an utterance with a hole is replaced.

    Returns:
        Per modality `(n, B, D_m)`; 0 where training lacked the modality and it is missing.

    Raises:
        ContractError: a proposal is not finite.
    """
    proposed = filler.sample(vectors, have, chance, n)
    filled = {}
    for m, x in vectors.items():
        own = proposed.get(m)
        if own is None:
            filled[m] = x.masked_fill(~have[m][:, None], 0.0).expand(n, -1, -1)
            continue
        if not bool(torch.isfinite(own).all()):
            raise ContractError(
                f"filler '{name}': a vector of {m} that is not finite, expected finite numbers; lower its learning "
                "rate or standardise the features"
            )
        filled[m] = torch.where(have[m][:, None], x, own.to(x)) if splice else own.to(x).expand(n, *x.shape)
    return filled


def unfitted(name: str) -> ContractError:
    """What to raise when a filler is used too early."""
    return ContractError(f"filler '{name}': sample before fit; fit it on the training part or load its state")
