"""The encoder of MCT: one attention of every modality to all modalities at once, with length-dependent key factors.

Equations 5 to 10 of https://arxiv.org/abs/2312.15848; see pipeline/methods/mct_hfr.py for the paper.
B batch, T_m steps of modality m, S sum of all T_m, D width, h heads.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.data.steps import Steps
from pipeline.nn.attention import AttentionBlock, attendable
from pipeline.nn.convolution import StepConvolution
from pipeline.nn.dropout import Dropout
from pipeline.nn.positions import sinusoidal

States = dict[str, Tensor]


def length_factors(
    valid: Mapping[str, Tensor], longest: int, *, gamma_b: bool = True, gamma_e: bool = True
) -> dict[str, Tensor]:
    """Key factors gamma_b gamma_e of every modality: n_m ** -0.5 and ln(sum n_m) / ln(longest), section 4.1.2.

    n_m counts valid steps, the missing ones included. A modality without steps counts as one step in gamma_b, an
    utterance without steps in gamma_e.

    Args:
        valid: per modality `(B, T_m)` bool.
        longest: sum over modalities of the longest sequence that a benchmark admits.
        gamma_b: False puts 1 for the factor that balances modalities.
        gamma_e: False puts 1 for the factor that extrapolates to other lengths.

    Returns:
        Per modality `(B,)` float32.
    """
    counts = {m: v.sum(1) for m, v in valid.items()}
    total = torch.stack(list(counts.values())).sum(0).clamp(min=1)
    shared = torch.log(total) / math.log(max(longest, 2)) if gamma_e else torch.ones_like(total, dtype=torch.float32)
    return {m: shared * n.clamp(min=1) ** -0.5 if gamma_b else shared for m, n in counts.items()}


class FrontEnd(nn.Module):
    """One modality: convolution over time to width D, times sqrt(D), plus positions, dropout.

    Args:
        dim: features per step D_m.
        width: D.
        kernel: steps that the convolution sees; zeros continue a sequence at both ends.
        dropout: of the embedding.
        skip_zero_positions: no position where the first projected channel is exactly 0.
    """

    def __init__(self, dim: int, width: int, kernel: int, dropout: float, skip_zero_positions: bool) -> None:
        super().__init__()
        self.convolution = StepConvolution(dim, width, kernel)
        self.scale = math.sqrt(width)
        self.dropout = Dropout(dropout)
        self.skip_zero_positions = skip_zero_positions

    def forward(self, x: Steps) -> tuple[Tensor, Tensor]:
        """Embed sequences of D_m features, T of at least 1: the scaled projection and H_m, both `(B, T, D)`."""
        projected = self.scale * self.convolution(x)  # (B, T, D)
        positions = sinusoidal(projected.shape[1], projected.shape[2], projected.device)
        if self.skip_zero_positions:
            positions = positions * (projected[..., :1] != 0)
        return projected, self.dropout(projected + positions)


class MRAU(nn.Module):
    """Multimodal re-scaled attention unit: every modality attends to the keys of all, concatenated along time.

    Args:
        width: D.
        heads: h.
        ffn: hidden width of the FFNs.
        attention_dropout: per modality, of the attention weights of its queries.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to the skips.
        ffn_skip: False loses the skip around the FFN, as the released code does.
        outer_skip: True adds a skip around the whole layer, as the released code does.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ffn: int,
        attention_dropout: Mapping[str, float],
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.1,
        ffn_skip: bool = True,
        outer_skip: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(
            {
                m: AttentionBlock(width, heads, ffn, rate, ffn_dropout, residual_dropout)
                for m, rate in attention_dropout.items()
            }
        )
        self.ffn_skip, self.outer_skip = ffn_skip, outer_skip

    def forward(self, states: States, keys: Tensor, factors: Mapping[str, Tensor]) -> States:
        """Update all modalities at once.

        Args:
            states: per modality `(B, T_m, D)`.
            keys: `(B, S)` bool, keys that may be attended to, at least one per row.
            factors: per modality `(B,)`, what its keys are multiplied with.

        Returns:
            Per modality `(B, T_m, D)`.
        """
        blocks = cast("Mapping[str, AttentionBlock]", self.blocks)
        projected = {m: blocks[m].attention.project(x) for m, x in states.items()}
        key = torch.cat([k * factors[m][:, None, None, None] for m, (_, k, _) in projected.items()], dim=2)
        value = torch.cat([v for _, _, v in projected.values()], dim=2)  # (B, h, S, D / h)
        mixed = {m: blocks[m].attention.attend(q, key, value, keys) for m, (q, _, _) in projected.items()}
        return {m: self._finish(blocks[m], x, mixed[m]) for m, x in states.items()}

    def _finish(self, block: AttentionBlock, x: Tensor, mixed: Tensor) -> Tensor:
        attended = block.norm1(x + block.residual(mixed))
        fed = block.feed_forward(attended)
        updated: Tensor = block.norm2((attended if self.ffn_skip else fed) + block.residual(fed))
        return x + block.residual(updated) if self.outer_skip else updated


class MRAUEncoder(nn.Module):
    """Front ends, a stack of MRAU layers, one final layer norm per modality.

    Args:
        front_ends: per modality.
        layers: the stack.
        width: D.
        longest: sum over modalities of the longest sequence that a benchmark admits.
        gamma_b: balance modalities by their lengths.
        gamma_e: extrapolate to other lengths.
    """

    def __init__(
        self,
        front_ends: Mapping[str, FrontEnd],
        layers: list[MRAU],
        width: int,
        longest: int,
        *,
        gamma_b: bool,
        gamma_e: bool,
    ) -> None:
        super().__init__()
        self.front_ends = nn.ModuleDict(dict(front_ends))
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleDict({m: nn.LayerNorm(width) for m in front_ends})
        self.longest, self.gamma_b, self.gamma_e = longest, gamma_b, gamma_e

    def forward(self, features: Mapping[str, Steps], valid: Mapping[str, Tensor]) -> tuple[States, States]:
        """Encode all modalities.

        Args:
            features: per modality sequences of D_m features, exactly 0 in padding, T_m of at least 1.
            valid: per modality `(B, T_m)` bool.

        Returns:
            Per modality the scaled projections of the front ends and the encoded sequences, both `(B, T_m, D)`.
        """
        embedded = {m: front_end(features[m]) for m, front_end in self.front_ends.items()}
        states = {m: state for m, (_, state) in embedded.items()}
        keys = attendable(torch.cat([valid[m] for m in states], dim=1))
        factors = length_factors(
            {m: valid[m] for m in states}, self.longest, gamma_b=self.gamma_b, gamma_e=self.gamma_e
        )
        for layer in self.layers:
            states = layer(states, keys, factors)
        projected = {m: projection for m, (projection, _) in embedded.items()}
        return projected, {m: self.norms[m](state) for m, state in states.items()}
