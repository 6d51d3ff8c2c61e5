"""MulT: every modality attends to each of the others; what it found there is encoded once more and averaged over time.

Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, "Multimodal Transformer for Unaligned Multimodal Language
Sequences", ACL 2019, https://aclanthology.org/P19-1656

Follows: `form: adapted`, with which Chen and Zhang, 2023, https://arxiv.org/abs/2312.15848, compare MCT-HFR. Their
released code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37, gives width 128, four post-norm layers of four
heads, FFNs four times as wide as their sequence, no dropout of attention weights, padding masked as keys,
convolutions of one step, attention to itself over the two streams of a modality side by side, a mean over time, a
residual block and the cross-entropy; section 5.3 gives the optimiser. `aggregator: transposed` with kernels of 3 steps
for audio and vision is the network that the parameters and operations of their table 4 belong to: channels attend to
each other, and one linear layer follows the mean.
`form: original` is the network of the paper's own code, https://github.com/yaohungt/Multimodal-Transformer, snapshot
a670936: width 30, five pre-norm layers of five heads, queries at step i that see keys up to i + |T_source - T_target|
(`causal`), dropout of the text features, no position where a step starts with 0, attention of width 60 to itself over
the streams (there at least three layers, here `aggregator_layers`), the last step, a residual block. Adam with 1e-3,
batches of 24, 40 epochs, the norm of the gradient clipped at 0.8, the rate cut to a tenth after 20 epochs without a
better validation loss.
Differs: `adapted` from the original in all of the above. From its own code: positions at zero steps too, unless
`pe_skip_zero`; test features are masked like those of any other method. A transposed aggregator has `max_lengths` for
its widths, up to which sequences are continued with zeros; its last layer norm is over time, so that before training
the mean over time of every utterance of the greatest length is 0, and what sets these apart is learned slowly.
`original` from its code: padding is masked as keys and the last valid step is read, where that code masks no padding
and reads the last step, padded or not, so that a prediction would depend on the padding. T in the causal mask is
`max_lengths`, to which that code pads. Keys and values of a source share one draw of the embedding's dropout; a
modality of 30 features has a convolution like any other; the loss is the task's.
In both a modality that a benchmark lacks is left out; one modality alone has nothing to attend to.
Handles absence by: zeros that keep their place in time and are attended to; an utterance without a modality has one
such step of it.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import PositiveInt, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.nn.crossmodal import Encoder, PairwiseStreams, TransposedEncoder
from pipeline.nn.dropout import Dropout
from pipeline.nn.prenorm import PreNormEncoder, last_step
from pipeline.section import Rate, Section
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.params import AttentionParams, Kernels


class AttentionDropout(Section):
    """Dropout of attention weights per modality that is attended to, and where one's own streams are."""

    text: Rate = 0.1
    audio: Rate = 0.0
    vision: Rate = 0.0
    own: Rate = 0.1


class Params(AttentionParams):
    """Parameters of MulT.

    Args:
        form: the network that was adapted to MCT-HFR, or the original; keys that are not given take their values from
            it (width, heads, layers, aggregator_layers, causal, pe_skip_zero and the optimisation).
        layers: of each of the encoders between two modalities.
        ffn_factor: hidden width of an FFN over the width of its sequence.
        kernels: of the convolutions.
        aggregator: what follows on the streams of a modality: attention of its steps to each other (`width256`, twice
            as wide as a stream), or of its channels to each other (`transposed`).
        aggregator_layers: of the aggregator.
        transposed_heads: at most so many in a transposed aggregator: the greatest divisor of the longest sequence.
        causal: hide later keys; form `original` only.
        attention_dropout: of the attention weights; form `original` only.
        embed_dropout: of what enters an encoder, and of the text features in form `original`.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pe_skip_zero: no position where a step that enters an encoder starts with exactly 0.
    """

    form: Literal["adapted", "original"] = "adapted"
    layers: PositiveInt = 4
    ffn_factor: PositiveInt = 4
    kernels: Kernels = Kernels()
    aggregator: Literal["width256", "transposed"] = "width256"
    aggregator_layers: PositiveInt = 2
    transposed_heads: PositiveInt = 5
    causal: bool = False
    attention_dropout: AttentionDropout = AttentionDropout()
    embed_dropout: Rate = 0.25
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False

    def idle(self) -> set[str]:
        """What belongs to the other form or aggregator."""
        original = set() if self.form == "original" else {"attention_dropout"}
        return super().idle() | original | (set() if self.aggregator == "transposed" else {"transposed_heads"})

    @model_validator(mode="before")
    @classmethod
    def _follow_form(cls, values: Any) -> Any:
        return {**_ORIGINAL, **values} if isinstance(values, dict) and values.get("form") == "original" else values

    @field_validator("aggregator")
    @classmethod
    def _aggregate_steps(cls, aggregator: str, info: ValidationInfo) -> str:
        if aggregator == "transposed" and info.data.get("form") == "original":
            raise ValueError("found 'transposed' with form original, expected 'width256' or form adapted")
        return aggregator

    @field_validator("causal")
    @classmethod
    def _hide_in_the_original(cls, causal: bool, info: ValidationInfo) -> bool:
        if causal and info.data.get("form") == "adapted":
            raise ValueError("found true with form adapted, expected false or form original")
        return causal


_ORIGINAL = {
    "width": 30,
    "heads": 5,
    "layers": 5,
    "aggregator_layers": 5,
    "causal": True,
    "pe_skip_zero": True,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch_size": 24,
    "epochs": 40,
    "patience": 40,  # longer than the training: the best epoch is kept, none is spared
    "clip_value": None,
    "clip_norm": 0.8,
    "plateau_patience": 20,
}


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
            lambda target, source: _encoder(params, params.width, params.heads, params.layers),
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
        streams, valid = self.streams(batch.features.steps, batch.valid)
        means = [
            _mean_over_time(aggregator(streams[m], valid=valid[m]), valid[m])
            for m, aggregator in self.aggregators.items()
        ]
        logits: Tensor = self.classifier(torch.cat(means, dim=-1))
        return logits


class _OriginalNetwork(nn.Module):
    """Streams, an aggregator per modality, its last step, classifier."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        rates = params.attention_dropout

        def between(target: str, source: str) -> Encoder:
            apart = abs(spec.max_lengths[target] - spec.max_lengths[source])
            return _pre_norm(params, params.width, params.layers, getattr(rates, source), apart)

        self.text_dropout = Dropout(params.embed_dropout)
        self.streams = PairwiseStreams(
            {m: spec.dims[m] for m in spec.available}, params.width, params.kernels.model_dump(), between, own=False
        )
        width = self.streams.width
        self.aggregators = nn.ModuleDict(
            {m: _pre_norm(params, width, params.aggregator_layers, rates.own, apart=0) for m in spec.available}
        )
        pooled = width * len(spec.available)
        self.classifier = nn.Sequential(_Residual(pooled), nn.Linear(pooled, spec.task.outputs))

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        text = batch.features.steps["text"]
        dropped = replace(text, table=self.text_dropout(text.table))
        streams, valid = self.streams({**batch.features.steps, "text": dropped}, batch.valid)
        read = [
            last_step(aggregator(streams[m], valid=valid[m]), valid[m]) for m, aggregator in self.aggregators.items()
        ]
        logits: Tensor = self.classifier(torch.cat(read, dim=-1))
        return logits


def _pre_norm(params: Params, width: int, layers: int, attention_dropout: float, apart: int) -> PreNormEncoder:
    """An encoder of the original; `apart` is the difference of the longest sequences of its target and its source."""
    dropout = (attention_dropout, params.embed_dropout, params.ffn_dropout, params.residual_dropout)
    return PreNormEncoder(
        width,
        params.heads,
        layers,
        params.ffn_factor * width,
        *dropout,
        skip_zero_positions=params.pe_skip_zero,
        reach=apart if params.causal else None,
    )


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
        network = _OriginalNetwork if params.form == "original" else _Network
        super().__init__(network(params, spec), spec.task, params)
