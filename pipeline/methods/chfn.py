"""CHFN: the words are shifted, layer by layer, by what they attend to in one sequence of all nonverbal steps.

Guo, Tang, Dai, Ding and Kong, "Dynamically Adjust Word Representations Using Unaligned Multimodal Information", ACM
Multimedia 2022, https://doi.org/10.1145/3503161.3548137

Follows: the form in which Chen and Zhang adapted it as a baseline of MCT-HFR (2023, https://arxiv.org/abs/2312.15848);
from their code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37, read for facts: text is the only target, its
source is audio and vision one after the other in time, encoded once for all layers; a token moves by gamma H, where
gamma = min(beta |x| / |H|, 1) has a gradient; a final layer norm and the gated recurrent head; optimisation, too.
Differs: no code of the original could be had and its text was not read. Of the two values of beta in the code (0.5 and
1.0) the default takes that of the tree which has all of CHFN. A step of zeros keeps its position; `pe_skip_zero` takes
it away as the code does, and then gamma is 0 at a missing token, which nothing can move any more. Sequences are padded
to the longest of a batch, and the positions of vision start where the longest audio that the benchmark admits would
end, which gives the same as padding to it. The maximum over time of the head leaves out padding. A nonverbal modality
that a benchmark lacks is left out.
Handles absence by: zeros that keep their place in time. An utterance without a step of text is read as one empty (zero)
token, so that audio and vision still reach the prediction; one without a nonverbal step as if it had one empty step.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.spec import Spec
from pipeline.data.steps import at_least_one_step
from pipeline.methods.protocol import Needs
from pipeline.nn.attention import AttentionBlock
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import gated_head
from pipeline.nn.positions import sinusoidal
from pipeline.section import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.params import AttentionParams


class Params(AttentionParams):
    """Parameters of CHFN.

    Args:
        layers: cross attentions, each with its shift.
        ffn: hidden width of the FFNs.
        beta: a shift is at most so many times as long as the token that it moves, and never longer than itself.
        embed_dropout: after the positions.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pe_skip_zero: no position where a projected step starts with exactly 0.
    """

    width: PositiveInt = Field(128, multiple_of=2)
    layers: PositiveInt = 4
    ffn: PositiveInt = 512
    beta: PositiveFloat = 1.0
    embed_dropout: Rate = 0.25
    attention_dropout: Rate = 0.0
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False


@dataclass(frozen=True)
class _NeedsText(Needs):
    """Text cannot be replaced by another modality: it is what is shifted and classified."""

    def unmet(self, spec: Spec) -> str | None:
        """Why a benchmark will not do, or None."""
        if "text" not in spec.available:
            return f"needs text, the benchmark has {', '.join(spec.available) or 'none'}"
        return super().unmet(spec)


class _Network(nn.Module):
    """Projections, layers that shift the text, gated head."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        width = params.width
        # a convolution of kernel 1 is a linear layer of every step
        self.projections = nn.ModuleDict({m: nn.Linear(spec.dims[m], width, bias=False) for m in spec.available})
        self.nonverbal = [m for m in spec.available if m != "text"]
        lengths = [spec.max_lengths[m] for m in self.nonverbal]
        self.starts = {"text": 0, **dict(zip(self.nonverbal, accumulate([0, *lengths[:-1]]), strict=True))}
        self.dropout = Dropout(params.embed_dropout)
        rates = (params.attention_dropout, params.ffn_dropout, params.residual_dropout)
        self.layers = nn.ModuleList(
            AttentionBlock(width, params.heads, params.ffn, *rates) for _ in range(params.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = gated_head(("text",), width, spec.task.outputs, hidden=width // 2)
        self.scale, self.beta, self.pe_skip_zero = math.sqrt(width), params.beta, params.pe_skip_zero

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        valid = {m: at_least_one_step(batch.valid[m]) for m in self.projections}
        x, text = self._embed(batch, "text"), _never_empty(valid["text"])  # (B, T, D), (B, T)
        source = torch.cat([self._embed(batch, m) for m in self.nonverbal], dim=1)  # (B, S, D)
        keys = _never_empty(torch.cat([valid[m] for m in self.nonverbal], dim=1))  # (B, S)
        for layer in self.layers:
            x = x + shift(x, layer(x, source, keys), self.beta)
        logits: Tensor = self.head.classify(self.head.embed({"text": self.norm(x)}, {"text": text}))
        return logits

    def _embed(self, batch: Batch, modality: str) -> Tensor:
        projected = self.scale * self.projections[modality](at_least_one_step(batch.features[modality]))
        start, steps = self.starts[modality], projected.shape[1]
        positions = sinusoidal(start + steps, projected.shape[2], projected.device)[start:]
        if self.pe_skip_zero:
            positions = positions * (projected[..., :1] != 0)
        embedded: Tensor = self.dropout(projected + positions)
        return embedded


def shift(x: Tensor, update: Tensor, beta: float) -> Tensor:
    """Scale `update (B, T, D)` per token to at most `beta` times the length of `x (B, T, D)`, and never up.

    >>> shift(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 10.0]]]), 1.0)
    tensor([[[0.0000, 5.0000]]])
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    other: Tensor = torch.linalg.vector_norm(update, dim=-1, keepdim=True)
    gamma = (beta * length / (other + 1e-6)).clamp(max=1.0)  # (B, T, 1)
    return gamma * update


def _never_empty(valid: Tensor) -> Tensor:
    """`valid (B, T)`, with the first step of a row that has none: padding, so an empty step."""
    empty = ~valid.any(dim=1, keepdim=True)
    return torch.cat([valid[:, :1] | empty, valid[:, 1:]], dim=1)


class CHFN(NetworkClassifier):
    """Cross hyper-modality fusion network."""

    needs = _NeedsText(modalities=2)

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)
