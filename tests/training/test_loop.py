"""The one training loop: it learns, selects, stops and cuts its rate as its parameters say."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.errors import ContractError
from pipeline.training.loop import fit_network
from pipeline.training.params import NeuralParams
from pipeline.training.run import Run

Make = Callable[..., Dataset]
RUN = Run(("demo", "mlp", 3))


class Slope(nn.Module):
    """One number that every step of Adam moves up by the learning rate, since its gradient is always -1."""

    def __init__(self) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.zeros(()))


class Climb:
    """Trains a Slope with one batch per epoch; at height h the validation margin is `margin(h)`."""

    def __init__(self, margin: Callable[[Tensor], Tensor], make_data: Make) -> None:
        self.network, self.margin = Slope(), margin
        self.heights: list[float] = []
        self.data = make_data(8)

    def loss(self, batch: Batch, epoch: int) -> Tensor:
        assert self.network.training
        self.heights.append(self.network.height.item())
        assert epoch == len(self.heights)
        return -self.network.height

    def logits(self, batch: Batch) -> Tensor:
        assert not self.network.training
        sign = nn.functional.one_hot(batch.labels, 2) * 2.0 - 1.0
        return sign * self.margin(self.network.height)

    def fit(self, valid: bool = True, **params: Any) -> dict[str, Any]:
        known = {"epochs": 12, "batch_size": 8, "learning_rate": 0.1, **params}
        history = fit_network(
            self.network, self.loss, self.logits, self.data, self.data if valid else None, RUN, NeuralParams(**known)
        )
        self.heights.append(self.network.height.item())
        assert not self.network.training
        return history

    def steps(self) -> list[float]:
        """How far each epoch moved; the last only where the last weights were kept."""
        return [round(after - before, 4) for before, after in zip(self.heights, self.heights[1:], strict=False)]


def peak(height: Tensor) -> Tensor:
    """Best at the height of the fifth epoch."""
    return 1.0 - (height - 0.5) ** 2


def test_a_separable_toy_is_learned(make_data: Make) -> None:
    data = make_data(60, lift=3.0)
    train, valid = data.take(torch.arange(40)), data.take(torch.arange(40, 60))
    network = nn.Linear(7, 2)

    def logits(batch: Batch) -> Tensor:
        pooled = [x.sum(1) / batch.observed[m].sum(1).clamp(min=1)[:, None] for m, x in batch.features.items()]
        scores: Tensor = network(torch.cat(pooled, 1))
        return scores

    history = fit_network(
        network,
        lambda batch, epoch: data.task.loss(logits(batch), batch.labels),
        logits,
        train,
        valid,
        RUN,
        NeuralParams(epochs=30, batch_size=8, learning_rate=0.05),
    )
    losses = [epoch["loss"] for epoch in history["epochs"]]
    assert losses[-1] < 0.3 * losses[0]
    assert history["epochs"][history["best_epoch"] - 1]["valid_uar"] > 0.9


@pytest.mark.parametrize("patience", [1, 3, 100])
def test_the_best_epoch_is_restored_and_patience_ends_the_training(make_data: Make, patience: int) -> None:
    climb = Climb(peak, make_data)
    history = climb.fit(patience=patience)
    assert history["best_epoch"] == 5
    assert len(history["epochs"]) == min(5 + patience, 12)
    assert climb.network.height.item() == pytest.approx(0.5)


def test_a_tie_keeps_the_earlier_epoch(make_data: Make) -> None:
    history = Climb(lambda height: 0 * height + 1.0, make_data).fit(patience=4)
    assert history["best_epoch"] == 1
    assert len(history["epochs"]) == 5


@pytest.mark.parametrize("monitor", ["acc", "uar"])
def test_accuracy_and_uar_can_select_too(make_data: Make, monitor: str) -> None:
    climb = Climb(lambda height: height - 0.35, make_data)  # right from the fourth epoch on
    history = climb.fit(monitor=monitor)
    assert history["best_epoch"] == 4
    assert climb.network.height.item() == pytest.approx(0.4)
    assert [epoch[f"valid_{monitor}"] for epoch in history["epochs"][:5]] == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_the_monitor_last_keeps_the_last_epoch_and_never_stops_early(make_data: Make) -> None:
    climb = Climb(peak, make_data)
    history = climb.fit(monitor="last", patience=1)
    assert history["best_epoch"] == len(history["epochs"]) == 12
    assert climb.network.height.item() == pytest.approx(1.2)
    assert "valid_loss" in history["epochs"][0]


def test_without_validation_the_last_epoch_is_kept(make_data: Make) -> None:
    climb = Climb(peak, make_data)
    history = climb.fit(valid=False, patience=1)
    assert history["best_epoch"] == len(history["epochs"]) == 12
    assert set(history["epochs"][0]) == {"loss"}
    assert climb.network.height.item() == pytest.approx(1.2)


def test_the_rate_is_cut_to_a_tenth_every_so_many_epochs(make_data: Make) -> None:
    climb = Climb(peak, make_data)
    climb.fit(valid=False, epochs=6, decay_every=2)
    assert climb.steps() == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_the_rate_is_cut_to_a_tenth_on_a_plateau(make_data: Make) -> None:
    climb = Climb(lambda height: 0 * height + 1.0, make_data)
    climb.fit(monitor="last", epochs=6, plateau_patience=2)
    assert climb.steps() == [0.1, 0.1, 0.1, 0.1, 0.01, 0.01]


def test_without_either_the_rate_stays(make_data: Make) -> None:
    climb = Climb(peak, make_data)
    climb.fit(monitor="last", epochs=5)
    assert climb.steps() == [0.1] * 5


@pytest.mark.parametrize(("clip", "seen"), [(None, -500.0), (0.25, -0.25)])
def test_gradient_values_are_clipped(make_data: Make, clip: float | None, seen: float) -> None:
    network, gradients = Slope(), []

    def loss(batch: Batch, epoch: int) -> Tensor:
        gradients.append(network.height.grad)
        return -500.0 * network.height

    params = NeuralParams(epochs=3, batch_size=8, clip_value=clip)
    fit_network(network, loss, lambda batch: batch.labels, make_data(8), None, RUN, params)
    assert [g if g is None else g.item() for g in gradients] == [None, seen, seen]


@pytest.mark.parametrize(("clip", "seen"), [(None, [30.0, -40.0]), (5.0, [3.0, -4.0]), (60.0, [30.0, -40.0])])
def test_the_norm_of_all_gradients_together_is_clipped(make_data: Make, clip: float | None, seen: list[float]) -> None:
    network, gradients = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(2)]), []

    def loss(batch: Batch, epoch: int) -> Tensor:
        gradients.append([x.grad for x in network])
        return 30.0 * network[0] - 40.0 * network[1]

    params = NeuralParams(epochs=2, batch_size=8, clip_norm=clip)
    fit_network(network, loss, lambda batch: batch.labels, make_data(8), None, RUN, params)
    assert [g.item() for g in gradients[1]] == pytest.approx(seen)


def test_adamw_decays_weights_apart_from_the_gradient(make_data: Make) -> None:
    heights = {}
    for optimizer in ("adam", "adamw"):
        climb = Climb(peak, make_data)
        with torch.no_grad():
            climb.network.height.fill_(1.0)
        climb.fit(valid=False, epochs=1, optimizer=optimizer, weight_decay=0.5)
        heights[optimizer] = climb.network.height.item()
    assert heights["adamw"] == pytest.approx(1.0 - 0.1 * 0.5 + 0.1)
    assert heights["adam"] == pytest.approx(1.1)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_breaks_the_contract(make_data: Make, odd: float) -> None:
    network = Slope()
    params = NeuralParams(epochs=3, batch_size=8)
    with pytest.raises(ContractError, match=rf"demo mlp 3: the loss is -?{odd} in epoch 2, expected a finite number"):
        fit_network(
            network,
            lambda batch, epoch: network.height * (1.0 if epoch < 2 else odd),
            lambda batch: torch.zeros(len(batch), 2),
            make_data(8),
            None,
            RUN,
            params,
        )


def test_a_validation_loss_that_is_not_finite_breaks_the_contract(make_data: Make) -> None:
    with pytest.raises(ContractError, match="demo mlp 3: the valid_loss is nan in epoch 1"):
        Climb(lambda height: height * float("nan"), make_data).fit()


@pytest.mark.parametrize("needed", [True, False])
def test_the_complete_features_are_given_where_they_are_needed(make_data: Make, needed: bool) -> None:
    network, data = Slope(), make_data(8)

    def loss(batch: Batch, epoch: int) -> Tensor:
        assert (batch.complete is not None) == needed
        return network.height

    fit_network(
        network, loss, lambda batch: batch.labels, data, None, RUN, NeuralParams(epochs=1), needs_complete=needed
    )


def test_the_loss_of_an_epoch_is_the_mean_over_utterances(make_data: Make) -> None:
    network, data = Slope(), make_data(9)

    def loss(batch: Batch, epoch: int) -> Tensor:
        return batch.labels.float().mean() + 0.0 * network.height

    history = fit_network(
        network, loss, lambda batch: batch.labels, data, None, RUN, NeuralParams(epochs=1, batch_size=4)
    )
    assert history["epochs"][0]["loss"] == pytest.approx(data.labels.float().mean().item())


def test_training_and_validation_are_masked_as_the_regime_says(make_data: Make) -> None:
    network, data = Slope(), make_data(8)
    shares: dict[str, list[float]] = {"train": [], "valid": []}

    def share(batch: Batch) -> float:
        return sum(float(x.sum()) for x in batch.observed.values()) / sum(
            float(x.sum()) for x in batch.present.values()
        )

    def loss(batch: Batch, epoch: int) -> Tensor:
        shares["train"].append(share(batch))
        return network.height

    def logits(batch: Batch) -> Tensor:
        shares["valid"].append(share(batch))
        return torch.zeros(len(batch), 2)

    for regime in ("complete", "dynamic"):
        params = NeuralParams(regime=regime, p_miss=1.0, ramp_epochs=2, epochs=3, batch_size=8)
        fit_network(network, loss, logits, data, data, RUN, params)
    assert shares == {"train": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "valid": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]}


def test_a_run_gives_the_same_weights_bit_by_bit_and_another_run_others(make_data: Make) -> None:
    data = make_data(40)

    def train(run: Run) -> list[float]:
        torch.manual_seed(0)
        network = nn.Linear(3, 2)

        def logits(batch: Batch) -> Tensor:
            scores: Tensor = network(batch.features["text"].sum(1))
            return scores

        params = NeuralParams(regime="dynamic", p_miss=0.5, epochs=3, batch_size=8)
        fit_network(network, lambda b, _: data.task.loss(logits(b), b.labels), logits, data, None, run, params)
        return network.weight.ravel().tolist()

    assert train(RUN) == train(Run(("demo", "mlp", 3)))
    assert train(RUN) != train(Run(("demo", "mlp", 4)))
