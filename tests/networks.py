"""What tests of networks share: numbers to put in, weights to see through, sizes, and what ran."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


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
