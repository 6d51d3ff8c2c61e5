"""Distances between two batches of embeddings, and the error of a reconstruction at chosen steps."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Distance = Callable[[Tensor, Tensor], Tensor]


def central_moment_discrepancy(x: Tensor, y: Tensor, order: int = 5) -> Tensor:
    """Distance of means plus distances of the central moments 2 to `order`, per coordinate over the batch.

    Zellinger et al. 2017, https://arxiv.org/abs/1702.08811, without the division by the range of values. Under every
    root is 1e-12, which keeps the gradient finite where two moments agree.

    Args:
        x: `(B, D)`.
        y: `(B, D)`.
        order: highest moment.

    Returns:
        Scalar, 0 or more.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    >>> round(float(central_moment_discrepancy(x, y)), 3)
    8.0
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    total = _norm(mean_x - mean_y)
    centred_x, centred_y = x - mean_x, y - mean_y
    for k in range(2, order + 1):
        total = total + _norm((centred_x**k).mean(0) - (centred_y**k).mean(0))
    return total


def negative_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Minus the mean cosine similarity of the rows of `x (B, D)` and `y (B, D)`, in [-1, 1]."""
    return -functional.cosine_similarity(x, y, dim=-1).mean()


def jensen_shannon(x: Tensor, y: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the softmax over features of `x (B, D)` and `y (B, D)`, mean over B, in nats."""
    log_p, log_q = torch.log_softmax(x, dim=-1), torch.log_softmax(y, dim=-1)
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2.0)
    divergences = [functional.kl_div(log_mean, log, reduction="batchmean", log_target=True) for log in (log_p, log_q)]
    return 0.5 * (divergences[0] + divergences[1])


def missing_step_error(reconstructed: Tensor, target: Tensor, missing: Tensor) -> Tensor:
    """Smooth L1 over the missing steps, divided by their number of values plus 1e-4; 0 when nothing is missing.

    Args:
        reconstructed: `(B, T, D)`.
        target: `(B, T, D)`.
        missing: `(B, T)` bool; other steps have no part in value or gradient.
    """
    error = functional.smooth_l1_loss(reconstructed[missing], target[missing], reduction="sum")
    return error / (target.shape[-1] * missing.sum() + 1e-4)


def _norm(x: Tensor) -> Tensor:
    return torch.sqrt(x.square().sum() + 1e-12)
