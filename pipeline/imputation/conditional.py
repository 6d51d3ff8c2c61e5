"""Generators with a condition: one network per set of modalities that may be missing, given those that are there.

Jhamb, UC Berkeley Technical Report EECS-2022-85, 2022, section 3.3 and figures 3.3 and 3.4: with vision and audio the
three networks V, A and AV. The rule is the same for one and for three modalities: one network per non-empty set of
missing ones, whose condition is the vectors of the others and whose output is always the whole joint vector, as the
widths in the captions say.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import ContractError
from pipeline.imputation.chance import Chance
from pipeline.imputation.protocol import Fit, unfitted
from pipeline.imputation.vectors import JOINT_ORDER, Vectors, complete_rows
from pipeline.section import Section
from pipeline.seeding import stream_seed
from pipeline.training.run import Run

_CONSTANT = 1e-6
"""A column whose deviation is at most so much of its greatest value is constant: its scores are divided by 1."""

Made = TypeVar("Made")
Steps = Iterator[tuple[Tensor, Tensor, Tensor]]
Trained = tuple[nn.Module, int, dict[str, list[float]]]


@dataclass(frozen=True)
class Member:
    """One of the trainings that are done in one go.

    Args:
        joint: vectors `(N, J)`.
        condition: `(N, C)`; C may be 0.
        seed: of the initial weights.
        chance: of order and noise.
    """

    joint: Tensor
    condition: Tensor
    seed: int
    chance: torch.Generator

    def initial(self, make: Callable[[int, int], Made]) -> Made:
        """What `make` makes of J and C with the member's initial weights, on the CPU."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return make(self.joint.shape[1], self.condition.shape[1])


class ConditionalFiller:
    """Learns joint vectors given parts of them, and draws.

    Args:
        name: of the filler.
        params: its section; fillers with equal ones can be trained in one go.
        latent: width of the noise z.
        standardize: learn z-scores with the statistics of the training part.
        make: from the widths of joint vector and condition to the network that turns `[z; condition]` into joint
            vectors.
        train: from members of equal shapes to such a network each, the count of all that was trained, and losses per
            epoch.
    """

    def __init__(
        self,
        name: str,
        params: Section,
        latent: int,
        standardize: bool,
        make: Callable[[int, int], nn.Module],
        train: Callable[[Sequence[Member]], list[Trained]],
    ) -> None:
        """Start without networks."""
        self._name, self._section, self._latent, self._standardize = name, params, latent, standardize
        self._make, self._train = make, train
        self._widths: dict[str, int] = {}
        self._mean = self._deviation = torch.zeros(0)
        self._networks: dict[str, nn.Module] = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Train every network on the utterances that have every modality; see the protocol.

        Raises:
            DataError: there are too few.
            ContractError: a loss is not finite.
        """
        return self.fit_together([Fit(self, vectors, have, run)])[0]

    @staticmethod
    def fit_together(fits: Sequence[Fit["ConditionalFiller"]]) -> list[dict[str, Any]]:
        """Train as one what is alike in parameters, widths and number of utterances; see the protocol.

        Raises:
            DataError: there are too few utterances in one of them.
            ContractError: a loss of one of them is not finite.
        """
        scores = [fit.filler._scores(fit) for fit in fits]
        stacks: dict[Any, list[int]] = {}
        for i, filler in enumerate(fit.filler for fit in fits):
            alike = filler._section, *filler._widths.items(), len(scores[i])
            stacks.setdefault(alike, []).append(i)
        histories: dict[int, dict[str, Any]] = {}
        for members in stacks.values():
            found = _fit_stack([fits[i] for i in members], [scores[i] for i in members])
            histories |= zip(members, found, strict=True)
        return [histories[i] for i in range(len(fits))]

    @torch.no_grad()
    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Draw for every utterance that lacks something; the others get zeros. See the protocol."""
        if not self._networks:
            raise unfitted(self._name)
        names, device = tuple(self._widths), chance.keys.device
        mean, deviation = self._mean.to(device), self._deviation.to(device)
        own = torch.cat([vectors[m].masked_fill(~have[m][:, None], 0.0) for m in names], dim=1)
        scores = self._blocks((own - mean) / deviation)
        drawn = own.new_zeros(n, *own.shape)
        for key, network in self._networks.items():
            missing = key.split("+")
            rows = torch.stack([have[m] != (m in missing) for m in names]).all(0).nonzero().flatten()
            if not len(rows):
                continue
            noise = chance.of(rows).normals(key, n, self._latent)  # (n, b, latent)
            condition = self._condition({m: x[rows] for m, x in scores.items()}, missing).expand(n, -1, -1)
            given = torch.cat([noise, condition], dim=-1).flatten(0, 1)
            made: Tensor = network.to(device)(given) * deviation + mean  # (n b, J)
            drawn[:, rows] = made.reshape(n, len(rows), -1)
        return self._blocks(drawn)

    def state(self) -> dict[str, Tensor]:
        """Widths, statistics, and the weights that sampling needs."""
        if not self._networks:
            return {}
        state = {f"width.{m}": torch.tensor(width) for m, width in self._widths.items()}
        state |= {"mean": self._mean, "deviation": self._deviation}
        for key, network in self._networks.items():
            state |= {f"network.{key}.{name}": x.detach().clone() for name, x in network.state_dict().items()}
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the networks."""
        self._widths = {m: int(state[f"width.{m}"]) for m in JOINT_ORDER if f"width.{m}" in state}
        self._mean, self._deviation = state["mean"], state["deviation"]
        for missing in _subsets(tuple(self._widths)):
            key = "+".join(missing)
            condition = sum(width for m, width in self._widths.items() if m not in missing)
            prefix = f"network.{key}."
            with torch.random.fork_rng():  # initial weights, which are replaced
                network = self._make(sum(self._widths.values()), condition)
            network.load_state_dict({k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)})
            self._networks[key] = network.eval()

    def _scores(self, fit: Fit["ConditionalFiller"]) -> Tensor:
        """Scores `(N, J)` of a training part, whose widths and statistics are kept."""
        own = complete_rows(fit.vectors, fit.have, self._name, at_least=2)
        self._widths = {m: x.shape[1] for m, x in own.items()}
        joint = torch.cat(list(own.values()), dim=1).to(fit.run.device)  # (N, J)
        self._mean, self._deviation = self._statistics(joint)
        return (joint - self._mean) / self._deviation

    def _member(self, scores: Tensor, missing: tuple[str, ...], run: Run) -> Member:
        words = "filler", self._name, "+".join(missing)
        condition = self._condition(self._blocks(scores), missing)
        return Member(scores, condition, stream_seed(*run.words, *words, "weights"), run.generator(*words))

    def _keep(self, key: str, network: nn.Module, losses: dict[str, list[float]]) -> None:
        odd = [f"{loss} of {key} is {values[-1]}" for loss, values in losses.items() if not _finite(values)]
        if odd:
            raise ContractError(
                f"filler '{self._name}': the loss {odd[0]}, expected finite numbers; lower its learning_rate"
            )
        self._networks[key] = network.eval()

    def _statistics(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        if not self._standardize:
            return torch.zeros_like(joint[0]), torch.ones_like(joint[0])
        exact = joint.double()
        spread, largest = exact.std(0, correction=0), exact.abs().amax(0).clamp(min=1.0)
        deviation = torch.where(spread > _CONSTANT * largest, spread, torch.ones_like(spread))
        return exact.mean(0).float(), deviation.float()

    def _blocks(self, joint: Tensor) -> Vectors:
        """The vectors that joint vectors `(..., J)` are made of."""
        parts = torch.split(joint, list(self._widths.values()), dim=-1)
        return dict(zip(self._widths, parts, strict=True))

    def _condition(self, scores: Vectors, missing: tuple[str, ...] | list[str]) -> Tensor:
        """The vectors of what is there, side by side: `(N, C)`; C may be 0."""
        there = [x for m, x in scores.items() if m not in missing]
        return torch.cat(there, dim=1) if there else next(iter(scores.values()))[:, :0]


def epochs_of(members: Sequence[Member], latent: int, batch_size: int, epochs: int) -> Iterator[Steps]:
    """Shuffled mini-batches of joint vectors, conditions and fresh noise, epoch by epoch.

    All of an epoch is put in order at once, on the device, so that a step only takes views. Order and noise are drawn
    on the CPU. Batches differ in size by one at most, so none is too small for batch normalisation.

    Args:
        members: of equal shapes; each gets the batches that it would get alone.
        latent: width of the noise.
        batch_size: utterances per step and member, at most.
        epochs: how many.

    Returns:
        Per epoch and step `(b, J)`, `(b, C)` and `(b, latent)`; with several members `(S, b, J)` and so on.
    """
    parts = -(-len(members[0].joint) // batch_size)
    for _ in range(epochs):
        shuffled = [_shuffled(member, latent) for member in members]
        whole = shuffled[0] if len(members) == 1 else map(torch.stack, zip(*shuffled, strict=True))
        yield zip(*(x.tensor_split(parts, dim=-2) for x in whole), strict=True)


def _shuffled(member: Member, latent: int) -> tuple[Tensor, Tensor, Tensor]:
    """Joint vectors, conditions and noise of one epoch."""
    joint, chance = member.joint, member.chance
    order = torch.randperm(len(joint), generator=chance).to(joint.device)
    noise = torch.randn(len(joint), latent, generator=chance).to(joint.device)
    return joint[order], member.condition[order], noise


def _fit_stack(fits: Sequence[Fit[ConditionalFiller]], scores: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Train the fillers of fits whose scores `(N, J)` and parameters are alike; their histories."""
    histories: list[dict[str, Any]] = [{"parameters": 0, "losses": {}} for _ in fits]
    first = fits[0].filler
    for missing in _subsets(tuple(first._widths)):
        key = "+".join(missing)
        members = [fit.filler._member(own, missing, fit.run) for fit, own in zip(fits, scores, strict=True)]
        for fit, history, trained in zip(fits, histories, first._train(members), strict=True):
            network, count, losses = trained
            fit.filler._keep(key, network, losses)
            history["parameters"] += count
            history["losses"][key] = losses
    return histories


def _subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The non-empty sets of modalities that may be missing."""
    return [missing for size in range(1, len(names) + 1) for missing in combinations(names, size)]


def _finite(values: list[float]) -> bool:
    return bool(torch.isfinite(torch.tensor(values)).all())
