"""The one training loop: give it a network, its loss and its logits."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.errors import ContractError
from pipeline.training.batches import by_length, shuffled
from pipeline.training.params import NeuralParams
from pipeline.training.regimes import Keep, epoch_masks, repeated, validation_masks
from pipeline.training.run import Run

_EVALUATION_BATCH = 128


def fit_network(
    network: nn.Module,
    loss: Callable[[Batch, int], Tensor],
    logits: Callable[[Batch], Tensor],
    train: Dataset,
    valid: Dataset | None,
    run: Run,
    params: NeuralParams,
    *,
    needs_complete: bool = False,
) -> dict[str, Any]:
    """Train `network` in place and leave it with the weights of its best epoch (the last one without validation).

    Args:
        network: what is trained.
        loss: objective of a masked batch in an epoch (from 1).
        logits: `(B, K)` of a batch, for validation.
        train: the training part alone.
        valid: the validation part alone, or None.
        run: streams and device.
        params: optimisation and regime.
        needs_complete: give `loss` batches with their features before masking.

    Returns:
        History: per epoch the training loss, the validation loss and, in a classification, acc and uar; the best epoch.

    Raises:
        ContractError: the training or validation loss is not finite.
    """
    train = repeated(params, train.to(run.device))
    valid = repeated(params, valid.to(run.device)) if valid is not None else None
    network.to(run.device)
    optimizer = _optimizer(network, params)
    plateau = (
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=params.plateau_patience)
        if params.plateau_patience is not None
        else None
    )
    decay = torch.optim.lr_scheduler.StepLR(optimizer, params.decay_every or params.epochs + 1, gamma=0.1)
    masks = epoch_masks(params, train, run)
    valid_keep = validation_masks(params, valid, run) if valid is not None else None
    order = run.generator("order")
    epochs: list[dict[str, float]] = []
    best, best_epoch, best_weights = math.inf, 0, None
    monitor = "loss" if train.task.is_regression and params.monitor != "last" else params.monitor
    for epoch in range(1, params.epochs + 1):
        network.train()
        keep, losses = masks(epoch), torch.zeros((), device=run.device)
        for index in shuffled(train, params.batch_size, order):
            value = loss(train.batch(index, keep, complete=needs_complete), epoch)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            if params.clip_value is not None:
                nn.utils.clip_grad_value_(network.parameters(), params.clip_value)
            if params.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), params.clip_norm)
            optimizer.step()
            losses += value.detach() * len(index)
        epochs.append({"loss": losses.item() / len(train)})
        decay.step()
        if valid is not None:
            epochs[-1] |= _validate(network, logits, valid, valid_keep)
        odd = [f"{name} is {value}" for name, value in epochs[-1].items() if not math.isfinite(value)]
        if odd:
            where = " ".join(map(str, run.words))
            raise ContractError(
                f"{where}: the {odd[0]} in epoch {epoch}, expected a finite number; lower learning_rate"
            )
        if valid is None:
            continue
        if plateau is not None:
            plateau.step(epochs[-1]["valid_loss"])
        if monitor == "last":
            continue
        badness = epochs[-1]["valid_loss"] if monitor == "loss" else -epochs[-1][f"valid_{monitor}"]
        if badness < best:
            best, best_epoch, best_weights = badness, epoch, copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= params.patience:
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.eval()
    return {"epochs": epochs, "best_epoch": best_epoch or len(epochs)}


def _optimizer(network: nn.Module, params: NeuralParams) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if params.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)


@torch.no_grad()
def _validate(
    network: nn.Module, logits: Callable[[Batch], Tensor], valid: Dataset, keep: Keep | None
) -> dict[str, float]:
    network.eval()
    rows = list(by_length(valid, _EVALUATION_BATCH))
    scores = torch.cat([logits(valid.batch(index, keep)) for index in rows])
    labels = valid.labels[torch.cat(rows)]
    valid_loss = {"valid_loss": valid.task.loss(scores, labels).item()}
    if valid.task.is_regression:
        return valid_loss
    hit = (scores.argmax(-1) == labels).double()
    truth = torch.nn.functional.one_hot(labels, valid.task.outputs).double()
    recalls = (truth * hit[:, None]).sum(0) / truth.sum(0)
    return valid_loss | {"valid_acc": hit.mean().item(), "valid_uar": recalls.nanmean().item()}
