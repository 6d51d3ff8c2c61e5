"""A classifier of utterance vectors with any filler: one network per seed, trained once, whatever stands in for a hole.

A method is one line: `FilledClassifier(network, params, spec)`, where the network turns the vectors of
`modalities(spec)`, side by side, into logits. The fit of the filler is a job of its own and knows nothing of the
network.

Algorithm 1 of UC Berkeley Technical Report EECS-2022-85 (Jhamb, 2022) is `predict`: an utterance with a hole is filled
`draws` times, every filled one is classified, and the scores are the shares of votes. The class of most votes is their
argmax, the first of equal ones, so ties go to the smallest index. In a regression the scores are the mean. A filler
that fills once is not voted on, nor is an utterance without a hole: the probabilities are those of the one prediction.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.errors import ContractError
from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams, make_filler
from pipeline.imputation.protocol import Donors, Filler, Fit, Oracle, Sampler, Stackable, fill
from pipeline.imputation.vectors import Vectors, constant_columns, utterance_vectors, vector_dataset, whole_vectors
from pipeline.methods.protocol import Output
from pipeline.seeding import stream_seed
from pipeline.training.loop import fit_network
from pipeline.training.params import NeuralParams
from pipeline.training.run import Run

_ROWS = 256
"""Utterances with a hole that are filled at once: memory grows with them and with the draws."""


class FilledParams(FillerParams, NeuralParams):
    """Parameters of a classifier of utterance vectors with a filler.

    Args:
        text_missing: `zero` alone, since the filler says what stands in for missing text.
    """

    text_missing: Literal["zero"] = "zero"


def modalities(spec: Spec) -> tuple[str, ...]:
    """What the joint vector of a benchmark is made of: the modalities that it has."""
    return spec.available or MODALITIES


def width(spec: Spec) -> int:
    """Width of the joint vector."""
    return sum(spec.dims[m] for m in modalities(spec))


class FilledClassifier:
    """A network of utterance vectors and a filler.

    Args:
        network: from joint vectors `(B, width(spec))` to logits `(B, K)`.
        params: optimisation, regime and filler.
        spec: of the benchmark.
    """

    def __init__(self, network: nn.Module, params: FilledParams, spec: Spec) -> None:
        """Start with a filler that is not fitted."""
        self.network, self.params = network, params
        self._task, self._modalities = spec.task, modalities(spec)
        self._learned = self._modalities
        self._filler = make_filler(params)
        self._seed = 0
        self._test: tuple[Dataset, Donors] | None = None

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train the classifier on the training part.

        What is missing while training is the mean, whatever the filler, so that all fillers share one training. A
        modality that no training utterance has is not looked at later, either: nothing was learned of it.

        Raises:
            DataError: a modality is constant throughout.
        """
        vectors, have = whole_vectors(train)
        constant = constant_columns(vectors, have)
        means = {m: vectors[m][have[m]].mean(0) if bool(have[m].any()) else vectors[m].sum(0) for m in vectors}
        means = {m: x.to(run.device) for m, x in means.items()}
        self._learned = tuple(m for m in self._modalities if bool(have[m].any()))
        if self.params.trains_on_complete:  # nothing is masked, so the vectors can be made once
            train, valid = vector_dataset(train), vector_dataset(valid) if valid else None

        def logits(batch: Batch) -> Tensor:
            own, there = utterance_vectors(batch)
            return self._classify({m: torch.where(there[m][:, None], x, means[m]) for m, x in own.items()})

        def loss(batch: Batch, epoch: int) -> Tensor:
            return self._task.loss(logits(batch), batch.labels)

        history = fit_network(self.network, loss, logits, train, valid, run, self.params)
        return history | ({"constant_columns": constant} if constant else {})

    def fit_filler(self, train: Dataset, run: Run) -> dict[str, Any]:
        """Fit the filler on the training part, and draw the seed of its chance from the run's stream."""
        fit = self.plan_filler(train, run)
        return fit.filler.fit(fit.vectors, fit.have, fit.run)

    def plan_filler(self, train: Dataset, run: Run) -> Fit[Filler]:
        """What `fit_filler` does, up to the fit itself."""
        self._seed = stream_seed(*run.words, "filler", self.params.filler)
        vectors, have = whole_vectors(train)
        constant_columns(vectors, have)
        return Fit(self._filler, {m: vectors[m] for m in self._modalities}, have, run)

    @staticmethod
    def fit_fillers(plans: Sequence[Fit[Filler]]) -> list[dict[str, Any]]:
        """Do planned fits in one go, which `gan` and `vae` can; their histories."""
        return cast(Stackable, plans[0].filler).fit_together(plans)

    def predict(self, batch: Batch, test: Dataset | None = None) -> Output:
        """Classify what is whole, fill and vote on what has a hole.

        Args:
            batch: of utterances.
            test: the test part, which oracles alone may be given, by evaluate alone.

        Raises:
            ContractError: the filler is not fitted, an oracle lacks the test part, or a filler's vector is not finite.
        """
        self.network.eval()
        with torch.no_grad():
            vectors, have = utterance_vectors(batch)
            vectors, have = ({m: x[m] for m in self._modalities} for x in (vectors, have))
            scores = self._task.predict(self._classify(vectors))
            holes = (~torch.stack(list(have.values())).all(0)).nonzero().flatten()
            for rows in torch.split(holes, _ROWS) if len(holes) else ():
                scores[rows] = self._vote(batch, rows, vectors, have, test)
        return Output(scores)

    def reconstruct(self, batch: Batch, test: Dataset) -> Vectors:
        """Fill the holes of a batch, as `predict` does.

        Args:
            batch: of utterances.
            test: the test part, for oracles.

        Returns:
            Per modality `(draws, B, D_m)`.
        """
        vectors, have = ({m: x[m] for m in self._modalities} for x in utterance_vectors(batch))
        everyone = torch.arange(len(batch), device=batch.labels.device)
        with torch.no_grad():
            parts = [self._filled(batch, rows, vectors, have, test) for rows in torch.split(everyone, _ROWS)]
        return {m: torch.cat([part[m] for part in parts], 1) for m in vectors}

    def state(self) -> dict[str, Tensor]:
        """Weights, and the filler where it is fitted."""
        weights = {f"network.{name}": x.detach().clone() for name, x in self.network.state_dict().items()}
        weights |= {f"learned.{m}": torch.tensor(m in self._learned) for m in self._modalities}
        filler = {f"filler.{name}": x for name, x in self._filler.state().items()}
        return weights | (filler | {"filler_seed": torch.tensor(self._seed)} if filler else {})

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave, or one of its two parts."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "learned": {}, "filler": {}, "filler_seed": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        if parts["network"] or not parts["filler"]:
            self.network.load_state_dict(parts["network"])
            self._learned = tuple(m for m in self._modalities if parts["learned"][m])
        if parts["filler"]:
            self._filler.load(parts["filler"])
            self._seed = int(parts["filler_seed"][""])

    def _classify(self, vectors: Vectors) -> Tensor:
        seen = [vectors[m] if m in self._learned else torch.zeros_like(vectors[m]) for m in self._modalities]
        logits: Tensor = self.network(torch.cat(seen, dim=-1))
        return logits

    def _vote(self, batch: Batch, rows: Tensor, vectors: Vectors, have: Vectors, test: Dataset | None) -> Tensor:
        """Scores `(b, K)` of the utterances `rows (b,)`, which have holes."""
        filled = self._filled(batch, rows, vectors, have, test)
        n = self.params.draws
        flat = {m: x.flatten(0, 1) for m, x in filled.items()}  # (n b, D_m)
        found = self._task.predict(self._classify(flat)).reshape(n, len(rows), -1)  # (n, b, K)
        if n == 1 or not self._task.labels:
            return found.mean(0)
        votes = torch.nn.functional.one_hot(found.argmax(-1), found.shape[-1])
        return votes.float().mean(0)

    def _filled(self, batch: Batch, rows: Tensor, vectors: Vectors, have: Vectors, test: Dataset | None) -> Vectors:
        """Vectors `(draws, b, D_m)` of the utterances `rows (b,)`, whose holes are filled."""
        if batch.keys is None:
            raise ContractError("predict: a batch without keys, expected one made by Dataset.batch; chance needs them")
        filler: Sampler = self._filler
        if test is not None and self.params.oracle:
            filler = cast(Oracle, self._filler).seeing(self._donors(test), batch.labels[rows])
        own, there = ({m: x[rows] for m, x in every.items()} for every in (vectors, have))
        chance = Chance(self._seed, batch.keys[rows])
        return fill(filler, self.params.filler, own, there, chance, self.params.draws, splice=self.params.splice)

    def _donors(self, test: Dataset) -> Donors:
        """The test part as vectors, made once."""
        if self._test is None or self._test[0] is not test:
            self._test = test, Donors(*whole_vectors(test), test.labels, test.keys)
        return self._test[1]
