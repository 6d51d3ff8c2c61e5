"""TFR-Net: every modality attends to itself and to the others; in training, this must also restore the missing steps.

Yuan, Li, Xu and Yu, "Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment Analysis", ACM
Multimedia 2021, https://doi.org/10.1145/3474085.3475585

Follows: the adapted form that Chen and Zhang, 2023, https://arxiv.org/abs/2312.15848, compare MCT-HFR with. Their
released code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37, gives nine encoders of width 128 with four
post-norm layers of four heads, FFNs four times as wide as their sequence, no dropout of attention weights, padding
masked as keys, convolutions of one step, the gated recurrent head, two layers of reconstruction whose embedding axis is
time, and smooth L1 of unit weight per modality from the second epoch; section 5.3 gives the optimiser. Their tables
train it with `regime: one_to_one`.
Differs: from the original paper in all of the above (there: width 30, pre-norm, a causal mask, weights of the
reconstruction per data set, and a reconstruction in which the utterances of a batch attend to each other: here the
channels of one utterance do). From the released code: positions at zero steps too, unless `pe_skip_zero`; padding
masked in the head's maximum over time. The reconstruction has `max_lengths` for its widths, up to which sequences are
continued with zeros; of one step it is a linear layer. A training in which nothing is missing has no reconstruction. A
modality that a benchmark lacks is left out.
Handles absence by: zeros that keep their place in time and are attended to (an utterance without a modality has one
such step of it); in training also by reconstructing the missing steps.
"""

from functools import partial
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.methods.protocol import AttentionParams, Needs, Spec
from pipeline.nn.crossmodal import Encoder, PairwiseStreams, TransposedEncoder
from pipeline.nn.distances import missing_step_error
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import BatchNorm, GatedPooling, Head
from pipeline.nn.mrau import States
from pipeline.schema import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.loop import fit_network
from pipeline.training.run import Run


class Kernels(BaseModel):
    """Steps that each modality's convolution sees."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: PositiveInt = 1
    audio: PositiveInt = 1
    vision: PositiveInt = 1


class Params(AttentionParams):
    """Parameters of TFR-Net.

    Args:
        layers: of each of the encoders.
        ffn_factor: hidden width of an FFN over the width of its sequence.
        kernels: of the convolutions.
        pooled: g, width that the head brings each modality to; its GRU has g units per direction.
        reconstruction_layers: of the transposed encoder.
        transposed_heads: at most so many there: the greatest divisor of the longest sequence.
        aux_from_epoch: first epoch with the reconstruction loss.
        embed_dropout: of what enters an encoder.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pe_skip_zero: no position where a step that enters an encoder starts with exactly 0.
    """

    layers: PositiveInt = 4
    ffn_factor: PositiveInt = 4
    kernels: Kernels = Kernels()
    pooled: PositiveInt = 128
    reconstruction_layers: PositiveInt = 2
    transposed_heads: PositiveInt = 5
    aux_from_epoch: PositiveInt = 2
    embed_dropout: Rate = 0.25
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False

    def masks_something(self, spec: Spec) -> bool:
        """Whether training on a benchmark hides any step."""
        if self.regime == "moddrop":
            return len(spec.available) > 1
        return not self.trains_on_complete and self.p_miss > 0


class _GatedPooling(GatedPooling):
    """Gated pooling whose GRU is as wide as the result, not as the sequence: `hidden` units per direction."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(2 * hidden, hidden)
        self.gru = nn.GRU(width, hidden, self.gru.num_layers, batch_first=True, bidirectional=True)
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
            lambda target, source: _encoder(params, params.width, params.heads, params.layers),
            own=True,
        )
        width = self.streams.width
        self.head = _head(spec, width, params.pooled)
        restored = spec.available if params.masks_something(spec) else ()
        self.reconstructions = nn.ModuleDict(
            {m: _Reconstruction(params, width, spec.max_lengths[m], spec.dims[m]) for m in restored}
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        return self.classify(*self.streams(batch.features, batch.valid))

    def classify(self, streams: States, valid: States) -> Tensor:
        """Logits `(B, K)` of what `streams` gives."""
        logits: Tensor = self.head.classify(self.head.embed(streams, valid))
        return logits


def _encoder(params: Params, width: int, heads: int, layers: int, positions: bool = True) -> Encoder:
    dropout = (params.embed_dropout, params.ffn_dropout, params.residual_dropout)
    ffn = params.ffn_factor * width
    return Encoder(width, heads, layers, ffn, *dropout, positions=positions, skip_zero_positions=params.pe_skip_zero)


def _head(spec: Spec, width: int, pooled: int) -> Head:
    embedding = len(spec.available) * pooled
    classify = nn.Sequential(
        BatchNorm(embedding),
        nn.Linear(embedding, 2 * pooled),
        nn.LeakyReLU(),
        Dropout(0.1),
        nn.Linear(2 * pooled, spec.task.outputs),
    )
    return Head({m: _GatedPooling(width, pooled) for m in spec.available}, embedding, classify)


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
        streams, valid = self.network.streams(batch.features, batch.valid)
        loss = self.task.loss(self.network.classify(streams, valid), batch.labels)
        if epoch >= self.params.aux_from_epoch and len(self.network.reconstructions):
            loss = loss + self._reconstruction_error(batch, streams, valid)
        return loss

    def _reconstruction_error(self, batch: Batch, streams: States, valid: States) -> Tensor:
        """Error where a step was there and has been masked out, summed over modalities."""
        assert batch.complete is not None
        total = torch.zeros((), device=batch.labels.device)
        for m, reconstruction in self.network.reconstructions.items():
            missing = batch.present[m] & ~batch.observed[m]
            restored = reconstruction(streams[m], valid[m])[:, : missing.shape[1]]  # streams have at least one step
            total = total + missing_step_error(restored, batch.complete[m], missing)
        return total
