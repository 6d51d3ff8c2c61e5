"""Pairwise cross-modal attention: one encoder per target and source, and an encoder that looks along channels.

The parts that MulT and TFR-Net share, in the sizes that https://github.com/zxpoqas123/MCT-HFR (snapshot ac90c37) gives
its baselines; see pipeline/methods/mult.py and pipeline/methods/tfr_net.py for the papers.
B batch, T_m steps of modality m, D width, M modalities.
"""

import math
from collections.abc import Callable, Mapping
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.steps import Steps, at_least_one_step
from pipeline.nn.attention import AttentionBlock
from pipeline.nn.convolution import StepConvolution
from pipeline.nn.dropout import Dropout
from pipeline.nn.mrau import States
from pipeline.nn.positions import sinusoidal


class Encoder(nn.Module):
    """sqrt(D) x plus positions, dropout; attention blocks from target to source or to itself; a final layer norm.

    The source is embedded like the target, once, and is the same in all blocks.

    Args:
        width: D.
        heads: of attention, divide D.
        layers: blocks.
        ffn: hidden width of the FFNs.
        embed_dropout: of the embedded target and, drawn anew, of the embedded source.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        positions: False adds none.
        skip_zero_positions: no position where the first channel is exactly 0.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        ffn: int,
        embed_dropout: float = 0.25,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.1,
        positions: bool = True,
        skip_zero_positions: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.positions, self.skip_zero_positions = width, positions, skip_zero_positions
        self.dropout = Dropout(embed_dropout)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, heads, ffn, 0.0, ffn_dropout, residual_dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Encode `x (B, T, D)`.

        Args:
            x: the target.
            source: `(B, S, D)`, or None: the target attends to itself.
            valid: `(B, S)` bool, steps that may be attended to, at least one per row; None means all.

        Returns:
            `(B, T, D)`.
        """
        x = self._embed(x)
        source = None if source is None else self._embed(source)
        for block in self.blocks:
            x = block(x, source, valid)
        encoded: Tensor = self.norm(x)
        return encoded

    def _embed(self, x: Tensor) -> Tensor:
        x = math.sqrt(self.width) * x
        if self.positions:
            positions = sinusoidal(x.shape[1], self.width, x.device)
            x = x + (positions * (x[..., :1] != 0) if self.skip_zero_positions else positions)
        embedded: Tensor = self.dropout(x)
        return embedded


class TransposedEncoder(nn.Module):
    """An encoder whose tokens are the channels and whose embedding axis is time: `steps` wide, without positions.

    The number of steps is that of the weights, so that a sequence is continued with zeros up to it. With a single step
    there is no time to mix: the sequence passes as it is.

    Args:
        steps: longest sequence that a benchmark admits.
        encoder: makes the encoder, which has no positions, from its width and number of heads.
        heads: at most so many; the greatest divisor of `steps` is taken.
    """

    def __init__(self, steps: int, encoder: Callable[[int, int], Encoder], heads: int) -> None:
        super().__init__()
        self.steps = steps
        self.encoder = encoder(steps, greatest_divisor(steps, heads)) if steps > 1 else nn.Identity()

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Encode `x (B, T, D)` with `valid (B, T)`; what is not valid counts as 0. Returns `(B, T, D)`.

        Steps beyond `steps` must be padding; they are 0 in the result.
        """
        tokens = x.masked_fill(~valid.unsqueeze(-1), 0.0).transpose(1, 2)  # (B, D, T)
        missing = self.steps - x.shape[1]
        encoded: Tensor = self.encoder(functional.pad(tokens, (0, missing)))  # (B, D, steps)
        return functional.pad(encoded, (0, -missing)).transpose(1, 2)


class PairwiseStreams(nn.Module):
    """Convolutions to width D, then for every modality one encoder per source; its streams side by side.

    An utterance without a modality counts as having one missing step of it, a zero vector like any other missing step.
    So every target and every source has a step, and the result does not depend on how much padding there is.

    Args:
        dims: features per step D_m of every modality; at least two modalities unless `own`.
        width: D.
        kernels: steps that each modality's convolution sees; zeros continue a sequence at both ends.
        encoder: makes the encoder of width D of a target and a source, named in this order.
        own: every modality also attends to itself; this stream comes first.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        width: int,
        kernels: Mapping[str, int],
        encoder: Callable[[str, str], Encoder],
        own: bool,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict({m: StepConvolution(dim, width, kernels[m]) for m, dim in dims.items()})
        pairs = [(target, source) for target, source in product(dims, dims) if own or target != source]
        self.pairs = sorted(pairs, key=lambda pair: pair[0] != pair[1])  # stable: own streams first
        self.encoders = nn.ModuleDict(
            {f"{target}_from_{source}": encoder(target, source) for target, source in self.pairs}
        )
        self.width = width * (len(dims) - (not own))

    def forward(self, features: Mapping[str, Steps], valid: Mapping[str, Tensor]) -> tuple[States, States]:
        """Encode all modalities.

        Args:
            features: per modality sequences of D_m features, exactly 0 in padding; T_m may be 0.
            valid: per modality `(B, T_m)` bool, the first steps of every row.

        Returns:
            Per modality the streams `(B, max(T_m, 1), width)` and their valid steps, at least one per row.
        """
        steps = {m: first_step_valid(at_least_one_step(valid[m])) for m in self.convolutions}
        projected = {
            m: convolution(at_least_one_step(features[m]))  # (B, T_m, D)
            for m, convolution in self.convolutions.items()
        }
        streams: dict[str, list[Tensor]] = {m: [] for m in projected}
        for (target, source), encoder in zip(self.pairs, self.encoders.values(), strict=True):
            attended = None if source == target else projected[source]
            streams[target].append(encoder(projected[target], attended, steps[source]))
        return {m: torch.cat(parts, dim=-1) for m, parts in streams.items()}, steps


def first_step_valid(valid: Tensor) -> Tensor:
    """Declare the first step of a row without any valid one: `(B, T)` bool to the same, T of at least 1."""
    return torch.cat([valid[:, :1] | ~valid.any(dim=1, keepdim=True), valid[:, 1:]], dim=1)


def greatest_divisor(number: int, at_most: int) -> int:
    """The greatest divisor of `number` that is `at_most` or less.

    >>> [greatest_divisor(number, 5) for number in (400, 24, 7)]
    [5, 4, 1]
    """
    return next(divisor for divisor in range(at_most, 0, -1) if number % divisor == 0)
