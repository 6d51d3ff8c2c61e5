"""Attention with dropout of its weights on a CPU, for which torch has no fused kernel.

Scores are computed for a few heads at a time, which stay in the processor's cache, and once more in the backward pass
instead of being kept: two to three times as fast as three large tensors for each call, and a tenth of their memory.
B batch, h heads, T target steps, S source steps.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.nn.dropout import draw_kept

_SCORES = 2**18
"""Scores at a time: 1 MiB. A constant, since it decides which random number falls on which score."""


def attention_with_dropout(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """What scaled_dot_product_attention with dropout computes, on a CPU.

    Args:
        query: `(B, h, T, d)`.
        key: `(B, h, S, d)`.
        value: `(B, h, S, d)`.
        mask: `(B, 1, 1, S)` bool, keys that may be attended to, at least one per row; `(B, 1, T, S)` says it for
            every query; B may be 1; None means all.
        rate: of dropout, above 0 and below 1 - 2 ** -17.

    Returns:
        `(B, h, T, d)`.
    """
    mixed = _DroppedAttention.apply(query, key, value, mask, rate)  # type: ignore[no-untyped-call]
    return cast("Tensor", mixed)


class _DroppedAttention(torch.autograd.Function):
    """Softmax of Q K^T / sqrt(d), its dropout, times V; rows are heads of utterances, `(B h, T, S)`."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float) -> Tensor:
        steps, size = query.shape[2:]
        ctx.query_scale, ctx.value_scale = size**-0.5, 1.0 / (1.0 - rate)
        q = (query * ctx.query_scale).flatten(0, 1)
        k = key.flatten(0, 1)
        v = (value * ctx.value_scale).flatten(0, 1)
        bias = q.new_zeros(1, 1, k.shape[1]) if mask is None else _bias(mask[:, 0], q.dtype)
        owner = torch.arange(len(bias)).repeat_interleave(len(q) // len(bias))  # which mask a row has
        kept = torch.empty(len(q), steps, k.shape[1], dtype=torch.uint8)  # faster to convert than bool
        mixed = torch.empty_like(q)
        for rows in _chunks(kept):
            weights = torch.softmax(torch.baddbmm(bias[owner[rows]], q[rows], k[rows].mT), dim=-1)
            drawn = draw_kept(kept[rows], rate).to(weights.dtype)
            torch.bmm(weights.mul_(drawn), v[rows], out=mixed[rows])
        ctx.save_for_backward(q, k, v, bias, owner, kept)
        return mixed.view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, owner, kept = ctx.saved_tensors
        g = gradient.flatten(0, 1)
        of_query, of_key, of_value = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for rows in _chunks(kept):
            weights = torch.softmax(torch.baddbmm(bias[owner[rows]], q[rows], k[rows].mT), dim=-1)
            drawn = kept[rows].to(weights.dtype)
            of_weights = torch.bmm(g[rows], v[rows].mT).mul_(drawn)
            torch.bmm(drawn.mul_(weights).mT, g[rows], out=of_value[rows])
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            torch.bmm(of_scores, k[rows], out=of_query[rows])
            torch.bmm(of_scores.mT, q[rows], out=of_key[rows])
        gradients = of_query.mul_(ctx.query_scale), of_key, of_value.mul_(ctx.value_scale)
        return (*(x.view(*gradient.shape[:2], *x.shape[1:]) for x in gradients), None, None)


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` is True, minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, -torch.inf)


def _chunks(scores: Tensor) -> list[slice]:
    """Rows of `scores (B h, T, S)` that are computed together."""
    rows = max(1, _SCORES // max(1, scores[0].numel())) if len(scores) else 1
    return [slice(start, start + rows) for start in range(0, len(scores), rows)]
