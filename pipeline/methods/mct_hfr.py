"""MCT-HFR: every modality attends to all of them at once; in training, missing steps are imagined and views aligned.

Chen and Zhang, "Modality-Collaborative Transformer with Hybrid Feature Reconstruction for Robust Emotion Recognition",
2023, https://arxiv.org/abs/2312.15848

Follows: sections 4.1 to 4.4, equations 5 to 18, and section 5.3 (preset `paper`); preset `code` follows the network,
losses and selection of the released code, https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37.
From that code, in both presets: the factor sqrt(width) on the convolution's output, a final layer norm per modality,
dropout rates, decoders of two levels, the normalisation of the reconstruction loss, gradient values clipped at 0.8.
Differs: missing text steps are zero vectors like those of the other modalities, unless `text_missing: unk` encodes the
text anew with [UNK] in their place, as in section 5.2.1.
Sequences are padded to the longest of a batch, and the denominator of gamma_e is the benchmark's `max_lengths`, which
gives the same as padding to them. `code` masks padding in its maximum over time. A training on complete data has no
restoration terms, since nothing is missing. A modality that a benchmark lacks is left out.
Handles absence by: zeros (or [UNK]) that keep their place in time (their number stays visible to the attention); in
training also by reconstructing the missing steps (LFI) and by pulling the embedding of the incomplete view towards that
of the complete one (GFA). `lfi` and `gfa` off = MCT.
"""

from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import Batch, side_by_side
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.nn import distances
from pipeline.nn.attention import AttentionBlock, attendable
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import BatchNorm, attention_head, gated_head
from pipeline.nn.mrau import MRAU, FrontEnd, MRAUEncoder, States
from pipeline.section import Rate, Section
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.loop import fit_network
from pipeline.training.params import AttentionParams, Regime
from pipeline.training.run import Run


class Kernels(Section):
    """Steps that each modality's convolution sees."""

    text: PositiveInt = 1
    audio: PositiveInt = 3
    vision: PositiveInt = 3


class AttentionDropout(Section):
    """Dropout of the attention weights of each modality's queries."""

    text: Rate = 0.1
    audio: Rate = 0.1
    vision: Rate = 0.0


class Params(AttentionParams):
    """Parameters of MCT-HFR.

    Args:
        preset: where the keys that are not given take their values from: the paper's text, or the released code
            (kernels, pe_skip_zero, ffn_skip, outer_skip, head, gfa_symmetric, gfa_predictor, ramp_epochs,
            aux_from_epoch, monitor, patience).
        layers: MRAU layers.
        ffn: hidden width of the FFNs.
        kernels: of the convolutions.
        embed_dropout: after the positions, and of the decoders' inputs.
        attention_dropout: per modality, of the encoder.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what is added to a skip.
        pe_skip_zero: no position where a projected step starts with exactly 0.
        ffn_skip: the skip around the FFN.
        outer_skip: a skip around each layer.
        gamma_b: balance the modalities' keys by their lengths.
        gamma_e: extrapolate to other lengths.
        head: attention pooling and one linear layer, or the gated recurrent head.
        lfi: local feature imagination.
        lfi_depth: levels of its decoders.
        gfa: global feature alignment.
        gfa_distance: between the embeddings of the two views.
        gfa_symmetric: align in both directions, each with the other side fixed.
        gfa_predictor: one linear layer, or a bottleneck with batch normalisation.
        cmd_order: highest central moment of `cmd`.
        alpha: weight of GFA.
        beta: weight of LFI.
        aux_from_epoch: first epoch with LFI and GFA.
    """

    regime: Regime = "dynamic"
    preset: Literal["paper", "code"] = "paper"
    layers: PositiveInt = 4
    ffn: PositiveInt = 512
    kernels: Kernels = Kernels()
    embed_dropout: Rate = 0.25
    attention_dropout: AttentionDropout = AttentionDropout()
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False
    ffn_skip: bool = True
    outer_skip: bool = False
    gamma_b: bool = True
    gamma_e: bool = True
    head: Literal["attention", "gated"] = "attention"
    lfi: bool = True
    lfi_depth: PositiveInt = 2
    gfa: bool = True
    gfa_distance: Literal["cmd", "smooth_l1", "cosine", "jsd"] = "cmd"
    gfa_symmetric: bool = False
    gfa_predictor: Literal["linear", "bottleneck"] = "linear"
    cmd_order: PositiveInt = 5
    alpha: float = Field(0.4, ge=0.0)
    beta: float = Field(0.6, ge=0.0)
    aux_from_epoch: PositiveInt = 1

    @property
    def restores(self) -> bool:
        """Whether anything is missing in training, so that there is something to restore."""
        return self.regime == "moddrop" or (not self.trains_on_complete and self.p_miss > 0)

    def idle(self) -> set[str]:
        """Without something to restore, all of LFI and GFA; else the part that is off."""
        imagination, alignment = {"beta", "lfi_depth"}, _ALIGNMENT
        if not self.restores:
            return super().idle() | imagination | alignment | {"lfi", "gfa", "aux_from_epoch"}
        return super().idle() | (set() if self.lfi else imagination) | (set() if self.gfa else alignment)

    @model_validator(mode="before")
    @classmethod
    def _follow_preset(cls, values: Any) -> Any:
        return {**_CODE, **values} if isinstance(values, dict) and values.get("preset") == "code" else values


_ALIGNMENT = {"gfa_distance", "gfa_symmetric", "gfa_predictor", "cmd_order", "alpha"}

_CODE = {
    "kernels": {"text": 1, "audio": 1, "vision": 1},
    "pe_skip_zero": True,
    "ffn_skip": False,
    "outer_skip": True,
    "head": "gated",
    "gfa_symmetric": True,
    "gfa_predictor": "bottleneck",
    "ramp_epochs": 1,
    "aux_from_epoch": 2,
    "monitor": "uar",
    "patience": 7,
}


class _Decoder(nn.Module):
    """Equation 13: the incomplete sequence attends to itself, then to the encoded one; then back to D_m features."""

    def __init__(self, params: Params, dim: int) -> None:
        super().__init__()
        width = params.width
        numbers = (width, params.heads, params.ffn, 0.0, params.ffn_dropout, params.residual_dropout)
        self.to_itself = nn.ModuleList(AttentionBlock(*numbers) for _ in range(params.lfi_depth))
        self.to_encoded = nn.ModuleList(AttentionBlock(*numbers) for _ in range(params.lfi_depth))
        self.scale = width**0.5
        self.dropout = Dropout(params.embed_dropout)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, dim, bias=False)

    def forward(self, projected: Tensor, encoded: Tensor, keys: Tensor, steps: Tensor) -> Tensor:
        """Reconstruct some steps: the last level, where a step sees others as keys only, runs for these alone.

        Args:
            projected: scaled projection `(B, T, D)`.
            encoded: encoded sequence `(B, T, D)`.
            keys: `(B, T)` bool, steps that may be attended to.
            steps: `(B, Q)` int64, which steps are wanted.

        Returns:
            `(B, Q, D_m)`.
        """
        x, source = self.dropout(projected), self.dropout(self.scale * encoded)
        for to_itself, to_encoded in zip(self.to_itself[:-1], self.to_encoded[:-1], strict=True):
            x = to_encoded(to_itself(x, valid=keys), source, keys)
        wanted = self.to_itself[-1](_at(x, steps), x, keys)
        reconstructed: Tensor = self.output(self.norm(self.to_encoded[-1](wanted, source, keys)))
        return reconstructed


class _Network(nn.Module):
    """Encoder and head; decoders and predictor where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        present = list(spec.available)
        width = params.width
        front_ends = {
            m: FrontEnd(spec.dims[m], width, getattr(params.kernels, m), params.embed_dropout, params.pe_skip_zero)
            for m in present
        }
        dropout = {m: getattr(params.attention_dropout, m) for m in present}
        rates, skips = (dropout, params.ffn_dropout, params.residual_dropout), (params.ffn_skip, params.outer_skip)
        self.encoder = MRAUEncoder(
            front_ends,
            [MRAU(width, params.heads, params.ffn, *rates, *skips) for _ in range(params.layers)],
            width,
            sum(spec.max_lengths[m] for m in present),
            gamma_b=params.gamma_b,
            gamma_e=params.gamma_e,
        )
        self.head = (
            attention_head(present, width, spec.task.outputs)
            if params.head == "attention"
            else gated_head(present, width, spec.task.outputs, hidden=width // 2)
        )
        decoded = present if params.lfi and params.restores else []
        self.decoders = nn.ModuleDict({m: _Decoder(params, spec.dims[m]) for m in decoded})
        self.predictor = _predictor(params, self.head.width) if params.gfa and params.restores else None

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        features, valid = side_by_side([batch])
        _, states = self.encoder(features, valid)
        logits: Tensor = self.head.classify(self.head.embed(states, valid))
        return logits


def _predictor(params: Params, width: int) -> nn.Module:
    if params.gfa_predictor == "linear":
        return nn.Linear(width, width)
    hidden = width // 2
    return nn.Sequential(nn.Linear(width, hidden, bias=False), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, width))


class MCTHFR(NetworkClassifier):
    """Modality-collaborative transformer with hybrid feature reconstruction; prediction runs no decoder."""

    needs = Needs()
    network: _Network
    params: Params

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)
        choices: dict[str, distances.Distance] = {
            "cmd": partial(distances.central_moment_discrepancy, order=params.cmd_order),
            "smooth_l1": functional.smooth_l1_loss,
            "cosine": distances.negative_cosine,
            "jsd": distances.jensen_shannon,
        }
        self._distance = choices[params.gfa_distance]

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train; select on the incomplete view of the validation part."""
        restores = self.network.predictor is not None or len(self.network.decoders) > 0
        return fit_network(
            self.network, self._loss, self.network, train, valid, run, self.params, needs_complete=restores
        )

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        """Equation 18. With GFA both views pass the encoder as one batch of 2 B; each has its own classifier pass."""
        network, params = self.network, self.params
        auxiliary = epoch >= params.aux_from_epoch
        align = auxiliary and network.predictor is not None
        views = [batch, batch.unmasked()] if align else [batch]
        features, valid = side_by_side(views)
        projected, states = network.encoder(features, valid)
        incomplete, *complete = network.head.embed(states, valid).chunk(len(views))  # (B, E)
        loss = self.task.loss(network.head.classify(incomplete), batch.labels)
        for embedding in complete:
            task = self.task.loss(network.head.classify(embedding), batch.labels)
            loss = loss + params.alpha * (task + self._misalignment(incomplete, embedding))
        if auxiliary and len(network.decoders):
            loss = loss + params.beta * self._imagination_error(batch, projected, states)
        return loss

    def _misalignment(self, incomplete: Tensor, complete: Tensor) -> Tensor:
        """Second term of L_GFA, equation 16 and what may replace it, of two embeddings `(B, E)`."""
        predictor = self.network.predictor
        assert predictor is not None
        if not self.params.gfa_symmetric:
            return self._distance(predictor(incomplete), complete)
        backward = self._distance(predictor(complete), incomplete.detach())
        return 0.5 * (backward + self._distance(predictor(incomplete), complete.detach()))

    def _imagination_error(self, batch: Batch, projected: States, states: States) -> Tensor:
        """L_LFI, equations 14 and 15: error where a step was there and has been masked out, summed over modalities."""
        assert batch.complete is not None
        first = slice(0, len(batch))  # the incomplete view comes first
        total = torch.zeros((), device=batch.labels.device)
        for m, decoder in self.network.decoders.items():
            missing, steps = (batch.present[m] & ~batch.observed[m]).sort(dim=1, descending=True, stable=True)
            most = int(missing.sum(1).amax())
            if most:
                missing, steps = missing[:, :most], steps[:, :most]  # (B, Q)
                reconstructed = decoder(projected[m][first], states[m][first], attendable(batch.valid[m]), steps)
                complete = batch.complete.steps[m].at(steps).dense()
                total = total + distances.missing_step_error(reconstructed, complete, missing)
        return total


def _at(x: Tensor, steps: Tensor) -> Tensor:
    """Steps `(B, Q)` of `x (B, T, D)`: `(B, Q, D)`."""
    return x.gather(1, steps.unsqueeze(-1).expand(-1, -1, x.shape[2]))
