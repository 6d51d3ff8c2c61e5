"""Mutual promotion as EMT's authors released it: pre-norm units with skips, shared by all, and a pooled context.

https://github.com/sunlicai/EMT-DLFR (snapshot e9f0960), read for facts: layers, widths, order, what is shared; see
pipeline/methods/emt_dlfr.py for the paper. pipeline/nn/hub.py has the form that the authors of MCT-HFR gave it.
B batch, T_m steps of modality m, M modalities, D width. The context is one token per modality, `(B, M, D)`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.attention import Attention
from pipeline.nn.dropout import Dropout
from pipeline.nn.hub import Attendable, States


class PromotionUnit(nn.Module):
    """A target learns from a source, from itself and step by step; each with a norm before and a skip around it.

    x + cross(LN(x), LN(source)), x + self(LN(x)), x + drop(W2 (a gelu(b))) with [a, b] = W1 LN(x).

    Args:
        width: D.
        heads: h.
        ffn: width of a and b.
        attention_dropout: of the attention weights.
        ffn_dropout: of what the FFN adds.
    """

    def __init__(self, width: int, heads: int, ffn: int, attention_dropout: float, ffn_dropout: float) -> None:
        super().__init__()
        self.norm_target, self.norm_source = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_itself, self.norm_steps = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = Attention(width, heads, attention_dropout, bias=False)
        self.itself = Attention(width, heads, attention_dropout, bias=False)
        for linear in (self.cross.projection, self.cross.output, self.itself.projection, self.itself.output):
            linear.reset_parameters()  # as any other linear layer of that code
        self.gated, self.output = nn.Linear(width, 2 * ffn), nn.Linear(ffn, width)
        self.dropout = Dropout(ffn_dropout)

    def forward(self, target: Tensor, source: Tensor, own: Attendable, other: Attendable) -> Tensor:
        """Update `target (B, T, D)` with steps `own` from `source (B, S, D)` with steps `other`.

        Attention to a source without a valid step adds 0.
        """
        attended = self.cross(self.norm_target(target), self.norm_source(source), other.keys)
        x = target + attended.masked_fill(~other.some, 0.0)
        x = x + self.itself(self.norm_itself(x), valid=own.keys)
        value, gate = self.gated(self.norm_steps(x)).chunk(2, dim=-1)  # (B, T, ffn)
        updated: Tensor = x + self.dropout(self.output(value * functional.gelu(gate)))
        return updated


class ContextPooling(nn.Module):
    """Mean of M contexts under attention weights: softmax over m of w . tanh(W z_m + b), z_m flattened.

    That code adds a number to all scores, which a softmax does not see; here it is not built.

    Args:
        width: M D of a flattened context.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scorer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))

    def forward(self, contexts: Sequence[Tensor]) -> Tensor:
        """Merge `contexts`, each `(B, M, D)`."""
        stacked = torch.stack(list(contexts), dim=1)  # (B, M contexts, M, D)
        weights = torch.softmax(self.scorer(stacked.flatten(2)), dim=1)  # (B, M, 1)
        return (stacked * weights.unsqueeze(-1)).sum(1)


class Promotion(nn.Module):
    """Layers in which every modality learns from the context and, as it was before, the context from every modality.

    Args:
        modalities: their names.
        layers: how many.
        width: D.
        heads: h.
        ffn: as in `PromotionUnit`.
        attention_dropout: of the attention weights.
        ffn_dropout: of what an FFN adds.
        share: `all` has one unit for all modalities, layers and both directions, and one pooling; `none` has its own
            for each.
        keeps_states: False, with `share: none`, leaves the last units of the modalities out, for who reads the context
            alone.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        layers: int,
        width: int,
        heads: int,
        ffn: int,
        attention_dropout: float,
        ffn_dropout: float,
        share: Literal["all", "none"],
        *,
        keeps_states: bool,
    ) -> None:
        super().__init__()
        self.layers, self.shared = layers, share == "all"
        own = [f"{m}_{layer}" for layer in range(layers if keeps_states else layers - 1) for m in modalities]
        back = [f"context_{m}_{layer}" for layer in range(layers) for m in modalities]
        names, poolings = (["all"], ["all"]) if self.shared else ([*own, *back], [f"{k}" for k in range(layers)])
        self.units = nn.ModuleDict(
            {name: PromotionUnit(width, heads, ffn, attention_dropout, ffn_dropout) for name in names}
        )
        self.poolings = nn.ModuleDict({name: ContextPooling(len(modalities) * width) for name in poolings})

    def forward(
        self, states: Mapping[str, Tensor], context: Tensor, valid: Mapping[str, Tensor], *, reads_states: bool
    ) -> tuple[States, Tensor]:
        """Promote.

        Args:
            states: per modality `(B, T_m, D)`, T_m of at least 1.
            context: `(B, M, D)`.
            valid: per modality `(B, T_m)` bool.
            reads_states: False spares the last update of the modalities, which are then returned as they were before.

        Returns:
            The modalities `(B, T_m, D)` and the context `(B, M, D)`. What is in padding means nothing.
        """
        states = dict(states)
        steps = {m: Attendable.of(valid[m]) for m in states}
        tokens = Attendable.of(torch.ones(context.shape[:2], dtype=torch.bool, device=context.device))
        for layer in range(self.layers):
            contexts = [self._unit(f"context_{m}_{layer}")(context, x, tokens, steps[m]) for m, x in states.items()]
            if reads_states or layer < self.layers - 1:
                states = {m: self._unit(f"{m}_{layer}")(x, context, steps[m], tokens) for m, x in states.items()}
            context = self.poolings["all" if self.shared else f"{layer}"](contexts)
        return states, context

    def _unit(self, name: str) -> PromotionUnit:
        return cast("PromotionUnit", self.units["all" if self.shared else name])
