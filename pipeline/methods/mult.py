"""MulT: every modality attends to each of the others; what it found there is encoded once more and averaged over time.

Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, "Multimodal Transformer for Unaligned Multimodal Language
Sequences", ACL 2019, https://aclanthology.org/P19-1656

Follows: the adapted form that Chen and Zhang, 2023, https://arxiv.org/abs/2312.15848, compare MCT-HFR with. Their
released code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37, gives width 128, four post-norm layers of four
heads, FFNs four times as wide as their sequence, no dropout of attention weights, padding masked as keys,
convolutions of one step, attention to itself over the two streams of a modality side by side, a mean over time, a
residual block and the cross-entropy; section 5.3 gives the optimiser. `aggregator: transposed` with kernels of 3 steps
for audio and vision is the network that the parameters and operations of their table 4 belong to: channels attend to
each other, and one linear layer follows the mean.
Differs: from the original paper in all of the above (there: width 30, pre-norm, a causal mask, no padding mask, the
last step in place of the mean). From the released code: positions at zero steps too, unless `pe_skip_zero`; test
features are masked like those of any other method. A transposed aggregator has `max_lengths` for its widths, up to
which sequences are continued with zeros; its last layer norm is over time, so that before training the mean over time
of every utterance of the greatest length is 0, and what sets these apart is learned slowly. A modality that a benchmark
lacks is left out; one modality alone has nothing to attend to.
Handles absence by: zeros that keep their place in time and are attended to; an utterance without a modality has one
such step of it.
"""

from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.methods.protocol import AttentionParams, Needs, Spec
from pipeline.nn.crossmodal import Encoder, PairwiseStreams, TransposedEncoder
from pipeline.schema import Rate
from pipeline.training.classifier import NetworkClassifier


class Kernels(BaseModel):
    """Steps that each modality's convolution sees."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: PositiveInt = 1
    audio: PositiveInt = 1
    vision: PositiveInt = 1


class Params(AttentionParams):
    """Parameters of MulT.

    Args:
        layers: of each of the encoders between two modalities.
        ffn_factor: hidden width of an FFN over the width of its sequence.
        kernels: of the convolutions.
        aggregator: what follows on the streams of a modality: attention of its steps to each other (`width256`, twice
            as wide as a stream), or of its channels to each other (`transposed`).
        aggregator_layers: of the aggregator.
        transposed_heads: at most so many in a transposed aggregator: the greatest divisor of the longest sequence.
        embed_dropout: of what enters an encoder.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pe_skip_zero: no position where a step that enters an encoder starts with exactly 0.
    """

    layers: PositiveInt = 4
    ffn_factor: PositiveInt = 4
    kernels: Kernels = Kernels()
    aggregator: Literal["width256", "transposed"] = "width256"
    aggregator_layers: PositiveInt = 2
    transposed_heads: PositiveInt = 5
    embed_dropout: Rate = 0.25
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False


class _Residual(nn.Module):
    """x + W2 relu(W1 x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        updated: Tensor = x + self.layers(x)
        return updated


class _Network(nn.Module):
    """Streams, an aggregator per modality, classifier."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        self.streams = PairwiseStreams(
            {m: spec.dims[m] for m in spec.available},
            params.width,
            params.kernels.model_dump(),
            lambda: _encoder(params, params.width, params.heads, params.layers),
            own=False,
        )
        width = self.streams.width
        pooled = width * len(spec.available)
        if params.aggregator == "transposed":
            make = partial(_encoder, params, layers=params.aggregator_layers, positions=False)
            aggregators: dict[str, nn.Module] = {
                m: TransposedEncoder(spec.max_lengths[m], make, params.transposed_heads) for m in spec.available
            }
            self.classifier = nn.Sequential(nn.Linear(pooled, spec.task.outputs))
        else:
            aggregators = {m: _encoder(params, width, params.heads, params.aggregator_layers) for m in spec.available}
            self.classifier = nn.Sequential(_Residual(pooled), nn.Linear(pooled, spec.task.outputs))
        self.aggregators = nn.ModuleDict(aggregators)

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        streams, valid = self.streams(batch.features, batch.valid)
        means = [
            _mean_over_time(aggregator(streams[m], valid=valid[m]), valid[m])
            for m, aggregator in self.aggregators.items()
        ]
        logits: Tensor = self.classifier(torch.cat(means, dim=-1))
        return logits


def _encoder(params: Params, width: int, heads: int, layers: int, positions: bool = True) -> Encoder:
    dropout = (params.embed_dropout, params.ffn_dropout, params.residual_dropout)
    ffn = params.ffn_factor * width
    return Encoder(width, heads, layers, ffn, *dropout, positions=positions, skip_zero_positions=params.pe_skip_zero)


def _mean_over_time(x: Tensor, valid: Tensor) -> Tensor:
    """Mean over the `valid (B, T)` steps of `x (B, T, D)`, at least one per row: `(B, D)`."""
    return x.masked_fill(~valid.unsqueeze(-1), 0.0).sum(1) / valid.sum(1, keepdim=True)


class MulT(NetworkClassifier):
    """Multimodal transformer with directional attention between all pairs of modalities."""

    needs = Needs(modalities=2)

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)
