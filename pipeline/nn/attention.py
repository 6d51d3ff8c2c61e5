"""Multi-head attention over padded sequences, and the post-norm block built on it (self: SAU, cross: CAU).

B batch, T target steps, S source steps, D width, h heads.
"""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.dropout import Dropout, DroppedReLU, drawn_here
from pipeline.nn.dropped_attention import attention_with_dropout


def attendable(valid: Tensor) -> Tensor:
    """Which keys may be attended to: the valid ones, or all of them in a row that has none.

    A row without any key has no softmax. Such a row attends to its padding instead, which is finite; who reads the
    result masks it, so that nothing of it is seen.

    Args:
        valid: `(B, S)` bool.

    Returns:
        `(B, S)` bool with at least one True in every row, if S > 0.
    """
    return valid | ~valid.any(dim=1, keepdim=True)


class Attention(nn.Module):
    """Multi-head attention with one fused projection and an output projection, Xavier-uniform, zero biases.

    Args:
        width: D, a multiple of `heads`.
        heads: h.
        dropout: of the attention weights.
        bias: False projects to queries, keys and values without one; the output projection always has one.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, *, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.projection = nn.Linear(width, 3 * width, bias=bias)
        self.output = nn.Linear(width, width)
        for linear in (self.projection, self.output):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `(B, h, T, D / h)` of `x (B, T, D)`."""
        query, key, value = map(self._split, self.projection(x).chunk(3, dim=-1))
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mix values and project the result.

        Args:
            query: `(B, h, T, D / h)`.
            key: `(B, h, S, D / h)`.
            value: `(B, h, S, D / h)`.
            valid: `(B, S)` bool, keys that may be attended to; every row needs one (`attendable`). `(B, T, S)` says it
                for every query.

        Returns:
            `(B, T, D)`.
        """
        mask = _mask(valid)
        rate = self.dropout if self.training else 0.0
        if rate and drawn_here(query.device, rate):
            mixed = attention_with_dropout(query, key, value, mask, rate)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
        projected: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return projected

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Attend from `x (B, T, D)` to itself or to `source (B, S, D)` with `valid` as in `attend`."""
        if source is None:
            return self.attend(*self.project(x), valid)
        width = x.shape[-1]
        weight, bias = self.projection.weight, self.projection.bias
        query_bias, source_bias = (None, None) if bias is None else (bias[:width], bias[width:])
        query = functional.linear(x, weight[:width], query_bias)
        key, value = functional.linear(source, weight[width:], source_bias).chunk(2, dim=-1)
        return self.attend(self._split(query), self._split(key), self._split(value), valid)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)


def _mask(valid: Tensor | None) -> Tensor | None:
    """`valid` with an axis for heads, or None where it hides nothing; a GPU is not asked, which would have to wait."""
    if valid is None or (valid.device.type == "cpu" and bool(valid.all())):
        return None
    return valid[:, None] if valid.dim() == 3 else valid[:, None, None]


class AttentionBlock(nn.Module):
    """x = LN1(x + drop(attention(x, source))); LN2(x + drop(FFN(x))), where FFN(x) = W2 drop(relu(W1 x)).

    Args:
        width: D.
        heads: h.
        ffn: width of the hidden layer of the FFN.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFN.
        residual_dropout: of what is added to the skips.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ffn: int,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, attention_dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        first, second = nn.Linear(width, ffn), nn.Linear(ffn, width)
        for linear in (first, second):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.feed_forward = nn.Sequential(first, DroppedReLU(ffn_dropout), second)
        self.residual = Dropout(residual_dropout)

    def forward(self, x: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Update `x (B, T, D)` from itself or from `source (B, S, D)`; `valid (B, S)` as in `Attention`."""
        x = self.norm1(x + self.residual(self.attention(x, source, valid)))
        updated: Tensor = self.norm2(x + self.residual(self.feed_forward(x)))
        return updated
