"""EMT-DLFR: modalities exchange through one token each; in training, views attract and missing steps are rebuilt.

Sun, Lian, Liu and Tao, "Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal
Sentiment Analysis", IEEE Transactions on Affective Computing, 2023, https://arxiv.org/abs/2208.07589

Follows: `form: adapted`: the form that the authors of MCT-HFR gave their baseline (Chen and Zhang 2023,
https://arxiv.org/abs/2312.15848, section 5.4; https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37): a hub of one
token per modality, its masked mean; six unshared promotion units per layer, each attention to the source and then of
the result to itself, without skips; the hub learns from the modalities as they have just become, and the sum of what
comes back is the new hub; SimSiam attraction of the hub and of the first fused step of every modality; linear
reconstruction; the gated recurrent head; both terms with weight 1 from epoch 2 on. `form: original`: EMT-DLFR's own
code, https://github.com/sunlicai/EMT-DLFR, snapshot e9f0960, read for facts, as configured for MOSI: audio and vision
through an LSTM and a linear layer; a hub of the projected utterance vectors; one pre-norm promotion unit for all
modalities, layers and directions; hub and modalities learn from each other as they were; attention pooling of the
hubs; SimSiam attraction of the hub and of the utterance vectors before the fusion, which the head reads; both terms
from the first epoch on.
Differs: the adapted form from that code: gates and attention over hubs, which it never runs, are not built. In both
forms: the number of missing values is guarded by 1e-4, as for MCT-HFR; a modality without a valid step gives a zero
token, and attention to it counts as 0; padding is masked everywhere, also in the head's maximum over time; missing
steps have positions, unless `pe_skip_zero`. A training on complete data has one view and nothing to restore:
attraction, reconstruction and the last update of the hub (original form: of the modalities), which nothing else reads,
are then not built: adapted, 6,303,175 parameters at the widths of that paper instead of 7,722,823. Prediction never
runs them. A modality that a benchmark lacks is left out. The original form takes the text features as they are given,
where EMT-DLFR fine-tunes BERT: all steps are the sequence, and their mean stands for [CLS]. It has one learning rate
and weight decay, those of the fusion, where that code has 1e-4 for the LSTM of vision and 0.01 for that of audio;
batches of 128, where it adds up the gradients of four of 32 for a step; and selects the epoch by the task's loss of
the incomplete view, as that code does on MOSEI.
Handles absence by: zeros that keep their place in time; in training also by pulling the representations of the
incomplete view towards those of the complete one, and by reconstructing the missing steps.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from pipeline.data.batch import Batch, side_by_side
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.data.steps import Steps
from pipeline.methods.protocol import Needs
from pipeline.nn.distances import missing_step_error, negative_cosine
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import BatchNorm, gated_head
from pipeline.nn.hub import Attendable, HubExchange, HubUnit, States, masked_mean
from pipeline.nn.mrau import FrontEnd
from pipeline.nn.positions import interleaved
from pipeline.nn.promotion import Promotion
from pipeline.nn.recurrent import packed_lstm
from pipeline.section import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.loop import fit_network
from pipeline.training.params import AttentionParams
from pipeline.training.run import Run


class Params(AttentionParams):
    """Parameters of EMT-DLFR.

    Args:
        form: the baseline of MCT-HFR's authors, or EMT-DLFR as its own authors released it; it decides on the network
            and on the values of the keys that are not given (layers, embed_dropout, attention_dropout, aux_from_epoch,
            optimizer, learning_rate, weight_decay, batch_size, clip_value).
        layers: of promotion.
        ffn: hidden width of the FFNs.
        share: original form: one promotion unit and one pooling for everything, or each its own.
        embed_dropout: after the positions.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFNs; in the original form of what an FFN adds.
        residual_dropout: adapted form: of what an FFN adds.
        head_dropout: original form: of what the head reads.
        pe_skip_zero: adapted form: no position where a projected step starts with exactly 0.
        attraction: weight of the complete view's loss and of the attraction; 0 builds neither.
        reconstruction: weight of the reconstruction of missing steps; 0 builds none.
        aux_from_epoch: first epoch with attraction and reconstruction.
    """

    form: Literal["adapted", "original"] = "adapted"
    layers: PositiveInt = 4
    ffn: PositiveInt = 512
    share: Literal["all", "none"] = "all"
    embed_dropout: Rate = 0.25
    attention_dropout: Rate = 0.1
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    head_dropout: Rate = 0.3
    pe_skip_zero: bool = False
    attraction: float = Field(1.0, ge=0.0)
    reconstruction: float = Field(1.0, ge=0.0)
    aux_from_epoch: PositiveInt = 2

    @property
    def restores(self) -> tuple[bool, bool]:
        """Whether views are attracted to each other in training, and whether missing steps are reconstructed."""
        masks = not self.trains_on_complete
        return masks and self.attraction > 0, masks and self.reconstruction > 0

    @model_validator(mode="before")
    @classmethod
    def _follow_form(cls, values: Any) -> Any:
        return {**_ORIGINAL, **values} if isinstance(values, dict) and values.get("form") == "original" else values


_ORIGINAL = {
    "layers": 3,
    "embed_dropout": 0.0,
    "attention_dropout": 0.3,
    "aux_from_epoch": 1,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
    "batch_size": 128,
    "clip_value": None,
}


class _PromotionUnit(HubUnit):
    """Attention to the source, then attention of the result to itself."""

    def mix(self, target: Tensor, source: Tensor, own: Attendable, other: Attendable) -> Tensor:
        """One attention after the other."""
        return self.attend_to_itself(self.attend_to_source(target, source, other), own)


class _Attraction(nn.Module):
    """SimSiam: the prediction from one view's projection should point where the other view's projection points."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), BatchNorm(width, affine=False))
        self.predict = nn.Sequential(
            nn.Linear(width, hidden, bias=False), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )

    def forward(self, incomplete: Tensor, complete: Tensor) -> Tensor:
        """Loss in [-1, 1] of two views `(B, E)`; each is its own batch for the normalisation."""
        x, y = self.project(incomplete), self.project(complete)
        forward, backward = negative_cosine(self.predict(x), y.detach()), negative_cosine(self.predict(y), x.detach())
        return 0.5 * (forward + backward)


class _Adapted(nn.Module):
    """Front ends, layers of promotion, head; attraction and decoders where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        present, width = list(spec.available), params.width
        attracts, rebuilds = params.restores
        rates = params.attention_dropout, params.ffn_dropout, params.residual_dropout
        self.front_ends = nn.ModuleDict(
            {m: FrontEnd(spec.dims[m], width, 1, params.embed_dropout, params.pe_skip_zero) for m in present}
        )
        unit = partial(_PromotionUnit, width, params.heads, params.ffn, *rates)
        self.exchange = HubExchange(present, params.layers, unit, keeps_hub=attracts)
        self.head = gated_head(present, width, spec.task.outputs, hidden=width // 2)
        widths = {"hub": width * len(present), **dict.fromkeys(present, width)}
        self.attractions = nn.ModuleDict({k: _Attraction(w, w // 2) for k, w in widths.items()} if attracts else {})
        self.decoders = nn.ModuleDict({m: nn.Linear(width, spec.dims[m]) for m in present} if rebuilds else {})

    def encode(
        self, features: Mapping[str, Steps], valid: Mapping[str, Tensor], *, reads_hub: bool
    ) -> tuple[States, Tensor]:
        """Fuse sequences of D_m features, T_m of at least 1, to `(B, T_m, D)` and a hub `(B, M, D)`."""
        states = {m: embed(features[m])[1] for m, embed in self.front_ends.items()}
        hub = torch.stack([masked_mean(x, valid[m]) for m, x in states.items()], dim=1)  # (B, M, D)
        everything = torch.ones(hub.shape[:2], dtype=torch.bool, device=hub.device)
        exchanged: tuple[States, Tensor] = self.exchange(states, hub, valid, everything, reads_hub=reads_hub)
        return exchanged

    def represent(
        self, features: Mapping[str, Steps], valid: Mapping[str, Tensor], *, restores: bool
    ) -> tuple[States, Tensor, States]:
        """Fused sequences `(B, T_m, D)`, what the head reads `(B, E)`, and the vectors `(B, ...)` that attract."""
        states, hub = self.encode(features, valid, reads_hub=restores)
        embedding = self.head.embed(states, valid)
        vectors = {m: x[:, 0].masked_fill(~valid[m][:, :1], 0.0) for m, x in states.items()}
        return states, embedding, {**vectors, "hub": hub.flatten(1)}

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits `(B, K)` of `(B, E)`."""
        logits: Tensor = self.head.classify(embedding)
        return logits

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        return self.classify(_read(self, [batch], restores=False)[1])


class _Recurrent(nn.Module):
    """Audio or vision of the original form: an LSTM whose outputs and final state pass one linear layer."""

    def __init__(self, dim: int, hidden: int, encoded: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.output = nn.Linear(hidden, encoded)

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Sequence `(B, T, E_m)` and utterance vector `(B, E_m)`, 0 where no step is valid."""
        outputs, states = packed_lstm(self.lstm, x, valid)
        return self.output(outputs), self.output(states[-1]).masked_fill(~valid.any(dim=1, keepdim=True), 0.0)


_RECURRENT = {"audio": (32, 16), "vision": (64, 32)}  # original form: units of the LSTM, E_m after the linear layer


class _Original(nn.Module):
    """Encoders, promotion, head; attraction and decoders where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        present, width = list(spec.available), params.width
        attracts, rebuilds = params.restores
        sizes = {m: spec.dims[m] if m == "text" else _RECURRENT[m][1] for m in present}
        self.encoders = nn.ModuleDict({m: _Recurrent(spec.dims[m], *_RECURRENT[m]) for m in present if m != "text"})
        self.projections = nn.ModuleDict({m: nn.Linear(size, width, bias=False) for m, size in sizes.items()})
        self.dropout = Dropout(params.embed_dropout)
        numbers = params.layers, width, params.heads, params.ffn, params.attention_dropout, params.ffn_dropout
        self.promotion = Promotion(present, *numbers, params.share, keeps_states=rebuilds)
        hub, hidden = width * len(present), 2 * width
        self.classify = nn.Sequential(
            Dropout(params.head_dropout),
            nn.Linear(sum(sizes.values()) + hub, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, spec.task.outputs),
        )
        parts = {"text": 3, "hub": 3, "audio": 2, "vision": 2}  # 256 of 768, 128 of 384, 8 of 16 and 16 of 32 there
        groups = {**sizes, "hub": hub} if attracts else {}
        self.attractions = nn.ModuleDict({k: _Attraction(w, max(w // parts[k], 1)) for k, w in groups.items()})
        self.decoders = nn.ModuleDict({m: nn.Linear(width, spec.dims[m]) for m in present} if rebuilds else {})

    def represent(
        self, features: Mapping[str, Steps], valid: Mapping[str, Tensor], *, restores: bool
    ) -> tuple[States, Tensor, States]:
        """As that of the adapted form; text is its own sequence, and its mean its vector."""
        states, vectors = {}, {}
        for m, project in self.projections.items():
            x = features[m].dense()
            x, vectors[m] = self.encoders[m](x, valid[m]) if m in self.encoders else (x, masked_mean(x, valid[m]))
            x = project(x)  # (B, T_m, D)
            states[m] = self.dropout(x + interleaved(x.shape[1], x.shape[2], x.device))
        hub = torch.stack([self.projections[m](vector) for m, vector in vectors.items()], dim=1)  # (B, M, D)
        states, hub = self.promotion(states, hub, valid, reads_states=restores and len(self.decoders) > 0)
        vectors["hub"] = hub.flatten(1)
        return states, torch.cat(list(vectors.values()), dim=-1), vectors

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        logits: Tensor = self.classify(_read(self, [batch], restores=False)[1])
        return logits


def _read(network: "_Adapted | _Original", views: list[Batch], *, restores: bool) -> tuple[States, Tensor, States]:
    """What a network makes of all views as one batch."""
    features, valid = side_by_side(views)
    return network.represent(features, valid, restores=restores)


class EMTDLFR(NetworkClassifier):
    """Efficient multimodal transformer with dual-level feature restoration."""

    needs = Needs(modalities=2)
    params: Params
    network: _Adapted | _Original

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__((_Adapted if params.form == "adapted" else _Original)(params, spec), spec.task, params)

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train; select on the incomplete view of the validation part."""
        network, params = self.network, self.params
        return fit_network(network, self._loss, network, train, valid, run, params, needs_complete=any(params.restores))

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        """The task's loss and the weighted terms. Both views pass the encoder as one batch of 2 B, the head apart."""
        network, params = self.network, self.params
        auxiliary = epoch >= params.aux_from_epoch
        attracts, rebuilds = (auxiliary and term for term in params.restores)
        views = [batch, batch.unmasked()] if attracts else [batch]
        states, embeddings, vectors = _read(network, views, restores=auxiliary)
        incomplete, *complete = embeddings.chunk(len(views))  # (B, E)
        loss = self.task.loss(network.classify(incomplete), batch.labels)
        for embedding in complete:
            task = self.task.loss(network.classify(embedding), batch.labels)
            attraction = [attract(*vectors[name].chunk(2)) for name, attract in network.attractions.items()]
            loss = loss + params.attraction * (task + torch.stack(attraction).sum())
        if rebuilds:
            loss = loss + params.reconstruction * self._reconstruction_error(batch, states)
        return loss

    def _reconstruction_error(self, batch: Batch, states: States) -> Tensor:
        """Error where a step was there and has been masked out, summed over modalities."""
        assert batch.complete is not None
        total = torch.zeros((), device=batch.labels.device)
        for m, decoder in self.network.decoders.items():
            steps = batch.valid[m].shape[1]
            rebuilt = decoder(states[m][: len(batch), :steps])  # (B, T_m, D_m)
            total = total + missing_step_error(rebuilt, batch.complete[m], batch.present[m] & ~batch.observed[m])
        return total
