"""What tests of networks and methods share: inputs, the benchmark of the study, batches, and three checks."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import MODALITIES, Batch, Features
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.training.run import Run

STUDY_TRAINING = {
    "optimizer": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01, "clip_value": 0.8,
    "batch_size": 32, "epochs": 40, "patience": 8, "monitor": "loss",
}  # fmt: skip
"""How the study trains every network."""


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def perturbed(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, with weights away from their start, so that biases and norms show."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module.eval()


def valid_of(*lengths: int, steps: int) -> Tensor:
    """Which of `steps` steps are no padding `(B, T)` bool, for one utterance per length."""
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


def runs_of(modules: Iterable[nn.Module]) -> list[int]:
    """A list that grows by one whenever one of these modules runs."""
    ran: list[int] = []
    for module in modules:
        module.register_forward_hook(lambda *_: ran.append(1))
    return ran


def paper_spec(text: int = 768, audio: int = 512, vision: int = 512, available: tuple[str, ...] = MODALITIES) -> Spec:
    """The benchmark of the study, with these widths and modalities."""
    return Spec(
        dims={"text": text, "audio": audio, "vision": vision},
        available=available,
        task=Task(("angry", "happy", "neutral", "sad")),
        hops=dict.fromkeys(MODALITIES),
        max_lengths={"text": 50, "audio": 400, "vision": 40},
    )


def kept(data: Dataset, share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Keep masks: each step stays with probability `share`."""
    return {m: torch.rand(len(c.values), generator=generator) < share for m, c in data.columns.items()}


def keep_only(data: Dataset, *modalities: str) -> dict[str, Tensor]:
    """Keep masks: every step of these modalities, no step of the others."""
    return {m: torch.full((len(c.values),), m in modalities) for m, c in data.columns.items()}


def everything(data: Dataset) -> Batch:
    """All utterances, nothing masked."""
    return data.batch(torch.arange(len(data)))


def masked(data: Dataset, share: float = 0.6, rows: list[int] | None = None) -> Batch:
    """A training batch of all utterances or of `rows`: masked features beside the complete ones."""
    keep = kept(data, share, torch.Generator().manual_seed(0))
    return data.batch(torch.arange(len(data)) if rows is None else torch.tensor(rows), keep, complete=True)


def padded(batch: Batch) -> Batch:
    """The batch with three more steps of padding than its longest sequences need."""

    def longer(values: Features, *after: int) -> Features:
        return {m: functional.pad(x, after) for m, x in values.items()}

    return replace(
        batch,
        features=longer(batch.features, 0, 0, 0, 3),
        valid=longer(batch.valid, 0, 3),
        present=longer(batch.present, 0, 3),
        observed=longer(batch.observed, 0, 3),
        complete=batch.complete and longer(batch.complete, 0, 0, 0, 3),
    )


def assert_finite_gradients(method: Any, batch: Batch, epoch: int = 1) -> None:
    """The loss of a batch is finite, and so is every gradient that it gives."""
    loss = method._loss(batch, epoch)
    method.network.zero_grad()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.network.parameters())


def assert_scored_where_masked_out(error: Callable[[Batch], Tensor], batch: Batch) -> None:
    """An error of restoration compares with the complete features where a present step was masked out, nowhere else."""
    before = error(batch)
    missing = {m: batch.present[m] & ~batch.observed[m] for m in MODALITIES}
    assert all(at.any() for at in missing.values())
    assert batch.complete is not None
    elsewhere = {m: x.masked_fill(~missing[m][..., None], 50.0) for m, x in batch.complete.items()}
    torch.testing.assert_close(error(replace(batch, complete=elsewhere)), before)
    moved = {m: x + 1.0 * missing[m][..., None] for m, x in batch.complete.items()}
    assert not torch.isclose(error(replace(batch, complete=moved)), before)


def assert_learns_by_heart(method: Any, data: Dataset) -> None:
    """Trained on all of `data`, a method predicts every label of it."""
    method.fit(data, None, Run(("heart",)))
    batch = everything(data)
    assert torch.equal(method.predict(batch).scores.argmax(-1), batch.labels)
