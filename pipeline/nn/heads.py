"""Heads: from the sequences of all modalities to one embedding, and from it to logits.

The gated recurrent one is that of MCT-HFR's released code, whose authors put it on their adapted baselines as well;
https://github.com/zxpoqas123/MCT-HFR (snapshot ac90c37), read for facts: layers, widths, order.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.nn.dropout import Dropout
from pipeline.nn.recurrent import packed_gru


class AttentionPooling(nn.Module):
    """One learned vector u scores the steps: sum over t of softmax(u . x_t) x_t; 0 where no step is valid.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scorer = nn.Parameter(torch.empty(width))
        nn.init.uniform_(self.scorer, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Pool `x (B, T, D)` over its `valid (B, T)` steps to `(B, D)`."""
        scores = (x @ self.scorer).masked_fill(~valid, torch.finfo(x.dtype).min)
        weights = torch.softmax(scores, dim=1) * valid  # (B, T)
        return torch.einsum("bt,btd->bd", weights, x)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of `(B, D)` that lets a training batch of one utterance pass: it has no deviation."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(B, D)`."""
        return input if self.training and len(input) == 1 else super().forward(input)


class GatedPooling(nn.Module):
    """One modality: a gated bidirectional GRU beside the sequence itself, maximum over valid time.

    Args:
        width: D of the sequence.
        hidden: width of the result; the GRU has D / 2 units per direction.
        layers: of the GRU.
        dropout: of the result.
    """

    def __init__(self, width: int, hidden: int, layers: int = 2, dropout: float = 0.25) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width // 2, layers, batch_first=True, bidirectional=True)
        self.gate = nn.Conv1d(width, 1, kernel_size=3, padding=1)
        self.merge = nn.Linear(2 * width, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Pool `x (B, T, D)` over its `valid (B, T)` steps to `(B, hidden)`; 0 where no step is valid."""
        context = packed_gru(self.gru, x, valid)  # (B, T, D)
        gate = torch.sigmoid(self.gate(context.transpose(1, 2))).transpose(1, 2)  # (B, T, 1)
        merged = torch.tanh(self.merge(torch.cat([x, torch.tanh(context) * gate], dim=-1)))  # (B, T, hidden)
        highest = merged.masked_fill(~valid.unsqueeze(-1), -torch.inf).amax(dim=1)
        pooled: Tensor = self.dropout(highest.masked_fill(~valid.any(dim=1, keepdim=True), 0.0))
        return pooled


class Head(nn.Module):
    """One pooling per modality, concatenation to an embedding, a classifier.

    Args:
        poolings: per modality from `(B, T_m, D)` and `(B, T_m)` bool to a vector; their order is that of the embedding.
        width: E of the embedding.
        classify: from `(B, E)` to logits `(B, K)`.
    """

    def __init__(self, poolings: Mapping[str, nn.Module], width: int, classify: nn.Module) -> None:
        super().__init__()
        self.poolings = nn.ModuleDict(dict(poolings))
        self.width, self.classify = width, classify

    def embed(self, states: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Embedding `(B, E)` of sequences `(B, T_m, D)` with valid steps `(B, T_m)`."""
        return torch.cat([pool(states[m], valid[m]) for m, pool in self.poolings.items()], dim=-1)


def attention_head(modalities: Sequence[str], width: int, outputs: int) -> Head:
    """Attention pooling and one linear layer, E = M D."""
    embedding = len(modalities) * width
    return Head({m: AttentionPooling(width) for m in modalities}, embedding, nn.Linear(embedding, outputs))


def gated_head(modalities: Sequence[str], width: int, outputs: int, hidden: int, dropout: float = 0.1) -> Head:
    """Gated pooling to `hidden` per modality, then batch normalisation and one hidden layer of D, E = M hidden."""
    embedding = len(modalities) * hidden
    classify = nn.Sequential(
        BatchNorm(embedding),
        nn.Linear(embedding, width),
        nn.LeakyReLU(),
        Dropout(dropout),
        nn.Linear(width, outputs),
    )
    return Head({m: GatedPooling(width, hidden) for m in modalities}, embedding, classify)
