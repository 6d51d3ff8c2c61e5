"""Pre-norm attention whose queries see a part of the future: the encoders of MulT and, after it, TFR-Net.

Read for facts: order of the norms, masks and dropouts in https://github.com/yaohungt/Multimodal-Transformer (snapshot
a670936), the code of https://aclanthology.org/P19-1656. A position is not added where the first channel of a step is
exactly 0, which that code does as well. One difference: keys and values of a source share one draw of the embedding's
dropout. B batch, T target steps, S source steps, D width.
"""

import torch
from torch import Tensor, nn

from pipeline.nn.attention import AttentionBlock
from pipeline.nn.crossmodal import Encoder


class PreNormBlock(AttentionBlock):
    """x + drop(attention(LN1(x), LN1(source))), then x + drop(FFN(LN2(x))); arguments as in `AttentionBlock`."""

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Update `x (B, T, D)` from itself or from `source (B, S, D)`; `valid` as in `Attention.attend`."""
        attended = self.attention(self.norm1(x), None if source is None else self.norm1(source), valid)
        x = x + self.residual(attended)
        updated: Tensor = x + self.residual(self.feed_forward(self.norm2(x)))
        return updated


class PreNormEncoder(Encoder):
    """An `Encoder` of pre-norm blocks that may hide later keys.

    Args:
        width: D.
        heads: of attention, divide D.
        layers: blocks.
        ffn: hidden width of the FFNs.
        attention_dropout: of the attention weights.
        embed_dropout: of the embedded target and, drawn anew, of the embedded source.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        positions: False adds none.
        skip_zero_positions: no position where the first channel is exactly 0.
        reach: a query at step i sees keys up to step i + reach; None shows all of them.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        ffn: int,
        attention_dropout: float = 0.1,
        embed_dropout: float = 0.25,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.1,
        positions: bool = True,
        skip_zero_positions: bool = True,
        reach: int | None = None,
    ) -> None:
        super().__init__(
            width, heads, 0, ffn, embed_dropout, positions=positions, skip_zero_positions=skip_zero_positions
        )
        self.reach = reach
        self.blocks = nn.ModuleList(
            PreNormBlock(width, heads, ffn, attention_dropout, ffn_dropout, residual_dropout) for _ in range(layers)
        )

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Encode `x (B, T, D)`; arguments as in `Encoder`.

        With a `reach` the first step of every row of `valid` must be True: it is the one key that every query may see.
        """
        if self.reach is not None:
            steps = x.shape[1] if source is None else source.shape[1]
            within = torch.ones(1, x.shape[1], steps, dtype=torch.bool, device=x.device).tril(self.reach)
            valid = within if valid is None else within & valid[:, None]  # (B, T, S)
        return super().forward(x, source, valid)


def last_step(x: Tensor, valid: Tensor) -> Tensor:
    """The last valid step of every row.

    Args:
        x: `(B, T, D)`.
        valid: `(B, T)` bool, the first steps of every row, at least one.

    Returns:
        `(B, D)`.

    >>> last_step(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    return x[torch.arange(len(x), device=x.device), valid.sum(1) - 1]
