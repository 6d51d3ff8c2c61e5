"""TFR-Net: every modality attends to itself and to the others; in training, this must also restore the missing steps.

Yuan, Li, Xu and Yu, "Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment Analysis", ACM
Multimedia 2021, https://doi.org/10.1145/3474085.3475585

Follows: `form: adapted`, with which Chen and Zhang, 2023, https://arxiv.org/abs/2312.15848, compare MCT-HFR. Their
released code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37, gives nine encoders of width 128 with four
post-norm layers of four heads, FFNs four times as wide as their sequence, no dropout of attention weights, padding
masked as keys, convolutions of one step, the gated recurrent head, two layers of reconstruction whose embedding axis is
time, and smooth L1 of unit weight per modality from the second epoch; section 5.3 gives the optimiser. Their tables
train it with `regime: one_to_one`, as the paper does.
`form: original` is the network of the paper's own code, https://github.com/Columbine21/TFR-Net, snapshot 1da0157, with
its values for MOSI (dropout rates: those of https://github.com/thuiar/MMSA, snapshot a94e65d): convolutions of 1, 5 and
3 steps of text, audio and vision to width 30, three pre-norm layers of six heads (a modality's own encoder has three at
least), queries at step i that see keys up to i + |T_source - T_target|, no position where a step starts with 0, GRUs of
three layers in the head, three layers of reconstruction with 25 heads, and the weights 5, 2 and 20. Adam with 2e-3,
weight decay 1e-3, batches of 24, a tenth of the rate after 5 epochs without a better validation loss, the end after 6.
Differs: `adapted` from the original in all of the above. From its own code: positions at zero steps too, unless
`pe_skip_zero`. `original` from its code: text features are given, no BERT is tuned; padding is masked as keys; in the
reconstruction the channels of one utterance attend to each other, all to all, where that code has the utterances of a
batch do so; T in the causal mask is `max_lengths`; keys and values of a source share one draw of the embedding's
dropout; 100 epochs at most, where that code has no limit; every step follows the gradient of its own batch, where that
code clears gradients after four; the loss is the task's. In both, padding is masked in the head's maximum over time.
The reconstruction has `max_lengths` for its widths, up to which sequences are continued with zeros; of one step it is a
linear layer. Where nothing is missing there is no reconstruction. A modality that a benchmark lacks is left out.
Handles absence by: zeros that keep their place in time and are attended to (an utterance without a modality has one
such step of it); in training also by reconstructing the missing steps.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.nn.crossmodal import Encoder, PairwiseStreams, TransposedEncoder
from pipeline.nn.distances import missing_step_error
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import BatchNorm, GatedPooling, Head
from pipeline.nn.mrau import States
from pipeline.nn.prenorm import PreNormEncoder
from pipeline.section import Rate, Section
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.loop import fit_network
from pipeline.training.params import AttentionParams, Kernels
from pipeline.training.run import Run


class AttentionDropout(Section):
    """Dropout of attention weights per modality that is attended to, and where a modality attends to itself."""

    text: Rate = 0.2
    audio: Rate = 0.1
    vision: Rate = 0.0
    own: Rate = 0.2


class Units(Section):
    """Units per direction of each modality's GRU, and the width that the head brings it to."""

    text: PositiveInt = 36
    audio: PositiveInt = 20
    vision: PositiveInt = 48


class Weights(Section):
    """Weight of each modality's reconstruction."""

    text: float = Field(1.0, ge=0.0)
    audio: float = Field(1.0, ge=0.0)
    vision: float = Field(1.0, ge=0.0)


class Params(AttentionParams):
    """Parameters of TFR-Net.

    Args:
        form: the network that was adapted to MCT-HFR, or the original; keys that are not given take their values from
            it (width, heads, kernels, layers, transposed_heads, weights, rates of dropout, optimisation, pe_skip_zero).
        layers: of each of the encoders.
        ffn_factor: hidden width of an FFN over the width of its sequence.
        kernels: of the convolutions.
        attention_dropout: of the attention weights; form `original` only.
        pooled: g, width that the head brings each modality to; its GRU has g units per direction; form `adapted` only.
        units: the same per modality; form `original` only.
        hidden: layer of the classifier, which has 2 g in form `adapted`; form `original` only.
        gru_layers: of the head's GRUs.
        reconstruction_layers: of the transposed encoder.
        transposed_heads: at most so many there: the greatest divisor of the longest sequence.
        weights: of the reconstructions in the loss.
        aux_from_epoch: first epoch with the reconstruction loss.
        embed_dropout: of what enters an encoder, and of the text features in form `original`.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pooled_dropout: of what the head brings each modality to.
        classifier_dropout: of the classifier's hidden layer.
        pe_skip_zero: no position where a step that enters an encoder starts with exactly 0.
    """

    form: Literal["adapted", "original"] = "adapted"
    layers: PositiveInt = 4
    ffn_factor: PositiveInt = 4
    kernels: Kernels = Kernels()
    attention_dropout: AttentionDropout = AttentionDropout()
    pooled: PositiveInt = 128
    units: Units = Units()
    hidden: PositiveInt = 128
    gru_layers: PositiveInt = 2
    reconstruction_layers: PositiveInt = 2
    transposed_heads: PositiveInt = 5
    weights: Weights = Weights()
    aux_from_epoch: PositiveInt = 2
    embed_dropout: Rate = 0.25
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pooled_dropout: Rate = 0.25
    classifier_dropout: Rate = 0.1
    pe_skip_zero: bool = False

    def masks_something(self, spec: Spec) -> bool:
        """Whether training on a benchmark hides any step."""
        if self.regime == "moddrop":
            return len(spec.available) > 1
        return not self.trains_on_complete and self.p_miss > 0

    def idle(self) -> set[str]:
        """What belongs to the other form."""
        return super().idle() | ({"pooled"} if self.form == "original" else {"attention_dropout", "units", "hidden"})

    @model_validator(mode="before")
    @classmethod
    def _follow_form(cls, values: Any) -> Any:
        return {**_ORIGINAL, **values} if isinstance(values, dict) and values.get("form") == "original" else values


_ORIGINAL = {
    "width": 30, "heads": 6, "layers": 3, "kernels": {"text": 1, "audio": 5, "vision": 3}, "gru_layers": 3,
    "reconstruction_layers": 3, "transposed_heads": 25, "weights": {"text": 5.0, "audio": 2.0, "vision": 20.0},
    "embed_dropout": 0.2, "ffn_dropout": 0.2, "residual_dropout": 0.2, "pooled_dropout": 0.2, "classifier_dropout": 0.0,
    "pe_skip_zero": True, "optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 1e-3, "batch_size": 24,
    "epochs": 100, "patience": 6, "plateau_patience": 5,
}  # fmt: skip


class _GatedPooling(GatedPooling):
    """Gated pooling whose GRU is as wide as the result, not as the sequence: `hidden` units per direction."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(2 * hidden, hidden, layers, dropout)
        self.gru = nn.GRU(width, hidden, layers, batch_first=True, bidirectional=True)
        self.merge = nn.Linear(width + 2 * hidden, hidden)


class _Reconstruction(nn.Module):
    """From the streams of one modality back to its features: a transposed encoder, then a linear layer."""

    def __init__(self, params: Params, width: int, steps: int, dim: int) -> None:
        super().__init__()
        make = partial(_encoder, params, layers=params.reconstruction_layers, positions=False)
        self.encoder = TransposedEncoder(steps, make, params.transposed_heads)
        self.output = nn.Linear(width, dim)

    def forward(self, streams: Tensor, valid: Tensor) -> Tensor:
        """Features `(B, T, D_m)` of `streams (B, T, D)` with `valid (B, T)`."""
        features: Tensor = self.output(self.encoder(streams, valid))
        return features


class _Network(nn.Module):
    """Streams and head; reconstructions where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        self.streams = PairwiseStreams(
            {m: spec.dims[m] for m in spec.available},
            params.width,
            params.kernels.model_dump(),
            partial(_between, params, spec),
            own=True,
        )
        self.text_dropout = Dropout(params.embed_dropout if params.form == "original" else 0.0)
        width = self.streams.width
        self.head = _head(params, spec, width)
        restored = spec.available if params.masks_something(spec) else ()
        self.reconstructions = nn.ModuleDict(
            {m: _Reconstruction(params, width, spec.max_lengths[m], spec.dims[m]) for m in restored}
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        return self.classify(*self.encode(batch))

    def encode(self, batch: Batch) -> tuple[States, States]:
        """Per modality the streams `(B, T_m, 3 D)` and their valid steps."""
        text = batch.features.steps["text"]
        dropped = replace(text, table=self.text_dropout(text.table))
        streams: tuple[States, States] = self.streams({**batch.features.steps, "text": dropped}, batch.valid)
        return streams

    def classify(self, streams: States, valid: States) -> Tensor:
        """Logits `(B, K)` of what `streams` gives."""
        logits: Tensor = self.head.classify(self.head.embed(streams, valid))
        return logits


def _between(params: Params, spec: Spec, target: str, source: str) -> Encoder:
    """The encoder of a target and a source."""
    own = source == target
    layers = max(params.layers, 3) if own and params.form == "original" else params.layers
    apart = abs(spec.max_lengths[target] - spec.max_lengths[source])
    return _encoder(params, params.width, params.heads, layers, source="own" if own else source, reach=apart)


def _encoder(
    params: Params,
    width: int,
    heads: int,
    layers: int,
    positions: bool = True,
    source: str = "own",
    reach: int | None = None,
) -> Encoder:
    """An encoder of either form; only the original minds what its source is and how far its queries see."""
    size, skip = (width, heads, layers, params.ffn_factor * width), params.pe_skip_zero
    dropout = (params.embed_dropout, params.ffn_dropout, params.residual_dropout)
    if params.form == "adapted":
        return Encoder(*size, *dropout, positions, skip)
    return PreNormEncoder(*size, getattr(params.attention_dropout, source), *dropout, positions, skip, reach)


def _head(params: Params, spec: Spec, width: int) -> Head:
    if params.form == "original":
        units, hidden = {m: getattr(params.units, m) for m in spec.available}, params.hidden
    else:
        units, hidden = dict.fromkeys(spec.available, params.pooled), 2 * params.pooled
    embedding = sum(units.values())
    classify = nn.Sequential(
        BatchNorm(embedding),
        nn.Linear(embedding, hidden),
        nn.LeakyReLU(),
        Dropout(params.classifier_dropout),
        nn.Linear(hidden, spec.task.outputs),
    )
    poolings = {m: _GatedPooling(width, n, params.gru_layers, params.pooled_dropout) for m, n in units.items()}
    return Head(poolings, embedding, classify)


class TFRNet(NetworkClassifier):
    """Transformer-based feature reconstruction network."""

    needs = Needs()
    params: Params
    network: _Network

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train; select on the incomplete view of the validation part."""
        restores = len(self.network.reconstructions) > 0
        return fit_network(
            self.network, self._loss, self.network, train, valid, run, self.params, needs_complete=restores
        )

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        streams, valid = self.network.encode(batch)
        loss = self.task.loss(self.network.classify(streams, valid), batch.labels)
        if epoch >= self.params.aux_from_epoch and len(self.network.reconstructions):
            loss = loss + self._reconstruction_error(batch, streams, valid)
        return loss

    def _reconstruction_error(self, batch: Batch, streams: States, valid: States) -> Tensor:
        """Weighted sum over modalities of the error where a step was there and has been masked out."""
        assert batch.complete is not None
        total = torch.zeros((), device=batch.labels.device)
        for m, reconstruction in self.network.reconstructions.items():
            missing = batch.present[m] & ~batch.observed[m]
            restored = reconstruction(streams[m], valid[m])[:, : missing.shape[1]]  # streams have at least one step
            error = missing_step_error(restored, batch.complete[m], missing)
            total = total + getattr(self.params.weights, m) * error
        return total
