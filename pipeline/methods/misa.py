"""MISA: every modality is seen in a space of its own and in one shared by all; a transformer fuses the views.

Hazarika, Zimmermann and Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
Analysis", ACM Multimedia 2020, https://arxiv.org/abs/2005.03545

Follows: https://github.com/declare-lab/MISA, snapshot ec42fad, read for facts, for the spaces, the fusion and the
losses. `form: adapted`: for the encoders of unaligned sequences, the rates, the weights of the losses and the
optimisation the form in which Chen and Zhang adapted it as a baseline of MCT-HFR (2023,
https://arxiv.org/abs/2312.15848), from their code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37: text and
audio are normalised and mapped step by step, then averaged over time; vision goes through an LSTM. `form: original`:
these, too, from MISA's own code: text is the mean of its features over time; audio and vision are each the four final
states of two bidirectional LSTMs as wide as the features, the second over the layer-normalised outputs of the first,
with orthogonal recurrent weights.
Differs: the average is over valid steps alone; the adapted code also adds up its padding, which biases make non-zero.
Three layer norms that the adapted code builds and never uses are not built. In a training batch of one utterance, which
has no moments, the similarity loss is 0, and so is the difference loss, which centres. A modality that a benchmark
lacks is left out of spaces, fusion (twice as many vectors as modalities) and losses; one modality alone has nothing to
share. A reconstruction without weight has no decoders. The original form takes the text features as they are given
where MISA fine-tunes BERT, and sequences of any lengths where MISA has them aligned to words; it has no discriminator
of spaces, whose weight is 0 there. MISA's own loss of a regression is the squared error, the one here is the task's.
Handles absence by: zeros in place of missing steps, which count in the average and which the LSTMs read; the vector of
a modality without steps is 0, and goes through the spaces and the losses like any other.
"""

from itertools import combinations
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.spec import Spec
from pipeline.data.steps import at_least_one_step
from pipeline.methods.protocol import Needs
from pipeline.nn.attention import AttentionBlock
from pipeline.nn.distances import central_moment_discrepancy
from pipeline.nn.dropout import Dropout
from pipeline.nn.hub import masked_mean
from pipeline.nn.recurrent import packed_lstm
from pipeline.section import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.params import AttentionParams

Vectors = dict[str, Tensor]


class Params(AttentionParams):
    """Parameters of MISA.

    Args:
        form: the baseline of MCT-HFR's authors, or MISA as its own authors released it; it decides on the encoders and
            on the values of the keys that are not given (dropout, similarity_weight, reconstruction_weight, optimizer,
            learning_rate, weight_decay, batch_size, patience, clip_value).
        encoded: E of the vector that a modality is encoded to, before the spaces; null = as many as its features D_m.
            The original form has no such choice.
        width: D of the spaces.
        lstm_layers: of vision; the original form has two LSTMs of its own.
        heads: of the fusion's attention; divide `width`.
        ffn: hidden width of the fusion's FFN.
        dropout: in the classifier; in the adapted form also between the layers of the LSTM and of its last state.
        fusion_dropout: of the fusion's attention weights, FFN and skips.
        difference_weight: of the loss that makes spaces orthogonal; it is the stronger the narrower they are, and lets
            all views collapse to constants where spaces are narrow and `learning_rate` is large.
        similarity_weight: of the loss that makes the modalities alike in the shared space.
        reconstruction_weight: of the loss that keeps what both spaces need to restore a modality's vector.
        cmd_order: highest central moment of the similarity loss.
    """

    form: Literal["adapted", "original"] = "adapted"
    encoded: PositiveInt | None = None
    lstm_layers: PositiveInt = 4
    heads: PositiveInt = Field(2, validate_default=True)
    ffn: PositiveInt = 2048
    dropout: Rate = 0.25
    fusion_dropout: Rate = 0.1
    difference_weight: float = Field(0.3, ge=0.0)
    similarity_weight: float = Field(0.8, ge=0.0)
    reconstruction_weight: float = Field(0.8, ge=0.0)
    cmd_order: PositiveInt = 5

    @model_validator(mode="before")
    @classmethod
    def _follow_form(cls, values: Any) -> Any:
        return {**_ORIGINAL, **values} if isinstance(values, dict) and values.get("form") == "original" else values


_ORIGINAL = {
    "dropout": 0.5,
    "similarity_weight": 1.0,
    "reconstruction_weight": 1.0,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "batch_size": 64,
    "patience": 7,  # the released loop counts from 6 down to -1
    "clip_value": 1.0,
}


class _Averaged(nn.Module):
    """Text or audio as one vector: layer norm and a linear layer per step, mean over time."""

    def __init__(self, dim: int, encoded: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, encoded))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Average `x (B, T, D_m)` over its `valid (B, T)` steps to `(B, E)`; 0 where no step is valid."""
        mapped = self.steps(x).masked_fill(~valid.unsqueeze(-1), 0.0)
        mean: Tensor = mapped.sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        return mean


class _Recurrent(nn.Module):
    """Vision as one vector: the last state of an LSTM, and a linear layer."""

    def __init__(self, dim: int, encoded: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, encoded, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.output = nn.Sequential(Dropout(dropout), nn.Linear(encoded, encoded))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Read the `valid (B, T)` steps of `x (B, T, D_m)` to `(B, E)`; 0 where no step is valid."""
        _, states = packed_lstm(self.lstm, x, valid)
        vector: Tensor = self.output(states[-1])
        return vector.masked_fill(~valid.any(dim=1, keepdim=True), 0.0)


class _Mean(nn.Module):
    """Text of the original form as one vector: the mean of its features over time."""

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Average `x (B, T, D_m)` over its `valid (B, T)` steps to `(B, D_m)`; 0 where no step is valid."""
        return masked_mean(x, valid)


class _Stacked(nn.Module):
    """Audio or vision of the original form: two bidirectional LSTMs, a layer norm between; all final states."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * dim)
        self.second = nn.LSTM(2 * dim, dim, batch_first=True, bidirectional=True)
        for name, weight in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(weight)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Read the `valid (B, T)` steps of `x (B, T, D_m)` to `(B, 4 D_m)`; 0 where no step is valid."""
        outputs, below = packed_lstm(self.first, x, valid)
        _, above = packed_lstm(self.second, self.norm(outputs), valid)
        return torch.cat([*below, *above], dim=-1)


def _encoder(modality: str, params: Params, dim: int) -> tuple[nn.Module, int]:
    """The encoder of a modality with D_m = `dim` features, and E of its vectors."""
    if params.form == "original":
        return (_Mean(), dim) if modality == "text" else (_Stacked(dim), 4 * dim)
    encoded = params.encoded or dim
    if modality == "vision":
        return _Recurrent(dim, encoded, params.lstm_layers, params.dropout), encoded
    return _Averaged(dim, encoded), encoded


class _Network(nn.Module):
    """Encoders, spaces, fusion; decoders where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        width, present = params.width, list(spec.available)
        encoders = {m: _encoder(m, params, spec.dims[m]) for m in present}
        self.encoders = nn.ModuleDict({m: encoder for m, (encoder, _) in encoders.items()})
        self.projections = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.LayerNorm(width))
                for m, (_, size) in encoders.items()
            }
        )
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(width, width), nn.Sigmoid()) for m in present})
        self.shared = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        decoded = present if params.reconstruction_weight > 0 else []
        self.decoders = nn.ModuleDict({m: nn.Linear(width, width) for m in decoded})
        self.fusion = AttentionBlock(width, params.heads, params.ffn, *[params.fusion_dropout] * 3)
        hidden = len(present) * width
        self.classifier = nn.Sequential(
            nn.Linear(2 * hidden, hidden), Dropout(params.dropout), nn.ReLU(), nn.Linear(hidden, spec.task.outputs)
        )

    def views(self, batch: Batch) -> tuple[Vectors, Vectors, Vectors]:
        """Per modality its projected vector, its private and its shared view, each `(B, D)`."""
        projected = {}
        for m, encoder in self.encoders.items():
            vector = encoder(at_least_one_step(batch.features[m]), at_least_one_step(batch.valid[m]))  # (B, E)
            projected[m] = self.projections[m](vector)
        private = {m: self.private[m](x) for m, x in projected.items()}
        return projected, private, {m: self.shared(x) for m, x in projected.items()}

    def classify(self, private: Vectors, shared: Vectors) -> Tensor:
        """Logits `(B, K)` of the views."""
        fused = self.fusion(torch.stack([*private.values(), *shared.values()], dim=1))  # (B, 2 M, D)
        logits: Tensor = self.classifier(fused.flatten(1))
        return logits

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        _, private, shared = self.views(batch)
        return self.classify(private, shared)


def difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared product of the columns of `x (B, D)` and `y (B, D)`, centred, with rows of length 1; 0 if B = 1.

    The lengths have no gradient.
    """
    centred = [v - v.mean(0, keepdim=True) for v in (x, y)]
    first, second = (v / (torch.linalg.vector_norm(v.detach(), dim=1, keepdim=True) + 1e-6) for v in centred)
    mean: Tensor = (first.T @ second).square().mean()
    return mean


class MISA(NetworkClassifier):
    """Modality-invariant and -specific representations."""

    needs = Needs(modalities=2)
    params: Params
    network: _Network

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        params = self.params
        projected, private, shared = self.network.views(batch)
        loss = self.task.loss(self.network.classify(private, shared), batch.labels)
        loss = loss + params.difference_weight * self._difference(private, shared)
        loss = loss + params.similarity_weight * self._similarity(shared)
        if params.reconstruction_weight > 0:
            loss = loss + params.reconstruction_weight * self._reconstruction(projected, private, shared)
        return loss

    def _difference(self, private: Vectors, shared: Vectors) -> Tensor:
        """Sum over modalities of private against shared, and over pairs of modalities of their private views."""
        pairs = [(private[m], shared[m]) for m in private] + list(combinations(private.values(), 2))
        return torch.stack([difference(x, y) for x, y in pairs]).sum()

    def _similarity(self, shared: Vectors) -> Tensor:
        """Mean over pairs of the central moment discrepancy, whose range is 1 behind a sigmoid; 0 with one utterance.

        A single utterance has no moments.
        """
        pairs = list(combinations(shared.values(), 2))
        if len(pairs[0][0]) == 1:
            return pairs[0][0].new_zeros(())
        return torch.stack([central_moment_discrepancy(x, y, self.params.cmd_order) for x, y in pairs]).mean()

    def _reconstruction(self, projected: Vectors, private: Vectors, shared: Vectors) -> Tensor:
        """Mean squared error of the decoders, mean over modalities; the target has a gradient, too."""
        decoders = self.network.decoders.items()
        errors = [functional.mse_loss(decode(private[m] + shared[m]), projected[m]) for m, decode in decoders]
        return torch.stack(errors).mean()
