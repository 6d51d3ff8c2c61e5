"""Oracles: bounds that see the test part, labels included. Vectors of another test utterance, or of a class' mean.

Jhamb, UC Berkeley Technical Report EECS-2022-85, 2022, section 3.4: `same_class` takes the missing vectors from a
random test utterance of the same class, `other_class` from one of any other class, `class_mean` is the mean of the
class. Our choice: all missing vectors of an utterance come from one donor, which has every modality and is never the
utterance itself; donors are equally likely; where there is no donor, the mean of the class stands in, and where nobody
of the class has the modality, the mean of all who have.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ContractError
from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams
from pipeline.imputation.protocol import Donors, unfitted
from pipeline.imputation.vectors import Vectors, known
from pipeline.training.run import Run


class OracleFiller:
    """Fills from the test part; of the training part it only learns which modalities there are."""

    def __init__(self, params: FillerParams) -> None:
        """Keep which oracle."""
        self._name = params.filler
        self._widths: dict[str, int] = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Learn which modalities there are; see the protocol."""
        self._widths = {m: vectors[m].shape[1] for m in known(have)}
        return {}

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Refuse: without the test part there is nothing to fill from.

        Raises:
            ContractError: always.
        """
        raise ContractError(
            f"filler '{self._name}': predict(batch) of an oracle, expected predict(batch, test), which evaluate alone "
            "calls; an oracle never fits, selects or validates"
        )

    def seeing(self, donors: Donors, labels: Tensor) -> "Seeing":
        """The filler for utterances with these true `labels (B,)`, once the test part is known.

        Raises:
            ContractError: not fitted.
        """
        if not self._widths:
            raise unfitted(self._name)
        order = donors.keys.argsort()  # a donor is chosen by its place in this order, wherever it stands in the part
        ordered = Donors(
            {m: donors.vectors[m][order] for m in self._widths},
            {m: donors.have[m][order] for m in self._widths},
            donors.labels[order],
            donors.keys[order],
        )
        return Seeing(self._name, ordered, labels)

    def state(self) -> dict[str, Tensor]:
        """The widths."""
        return {m: torch.tensor(width) for m, width in self._widths.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the widths."""
        self._widths = {m: int(width) for m, width in state.items()}


@dataclass(frozen=True)
class Seeing:
    """An oracle that knows the test part and the labels `(B,)` of what it fills."""

    name: str
    donors: Donors
    labels: Tensor

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Take the vectors of donors or of the class; see the protocol."""
        means = self._class_means()
        if self.name == "class_mean":
            return {m: x.expand(n, -1, -1) for m, x in means.items()}
        donors = self.donors
        alike = self.labels[:, None] == donors.labels  # (B, T)
        whole = torch.stack(list(donors.have.values())).all(0)
        candidates = (alike if self.name == "same_class" else ~alike) & whole
        candidates &= chance.keys[:, None] != donors.keys
        count = candidates.sum(1)
        wanted = (chance.uniforms("donor", n, 1)[..., 0] * count).long() + 1  # (n, B), the place among the candidates
        place = candidates.cumsum(1) * candidates
        chosen = (place == wanted[..., None]).int().argmax(-1)  # (n, B)
        return {
            m: torch.where((count > 0)[:, None], x[chosen], means[m].expand(n, -1, -1))
            for m, x in donors.vectors.items()
        }

    def _class_means(self) -> Vectors:
        """Means `(B, D_m)` over the test utterances of every label that have the modality."""
        means = {}
        for m, x in self.donors.vectors.items():
            have = self.donors.have[m]
            everyone = x[have].mean(0) if bool(have.any()) else torch.zeros_like(x).sum(0)
            of_class = {}
            for label in torch.unique(self.labels).tolist():
                own = have & (self.donors.labels == label)
                of_class[label] = x[own].mean(0) if bool(own.any()) else everyone
            means[m] = torch.stack([of_class[label] for label in self.labels.tolist()])
        return means
