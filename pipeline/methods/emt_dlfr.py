"""EMT-DLFR: modalities exchange through one token each; in training, views attract and missing steps are rebuilt.

Sun, Lian, Liu and Tao, "Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal
Sentiment Analysis", IEEE Transactions on Affective Computing, 2023, https://arxiv.org/abs/2208.07589

Follows: the form that the authors of MCT-HFR gave their baseline (Chen and Zhang 2023, https://arxiv.org/abs/2312.15848,
section 5.4; https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37): a hub of one token per modality, its masked mean;
six unshared promotion units per layer, each attention to the source and then of the result to itself, without skips;
the hub learns from the modalities as they have just become, and the sum of what comes back is the new hub; SimSiam
attraction of the hub and of the first fused step of every modality; linear reconstruction; the gated recurrent head;
both terms with weight 1 from epoch 2 on.
Differs: from the original, whose utterance vectors come from BERT and LSTMs, whose units are shared and pre-norm, and
which regresses from the hub. From that code: gates and attention over hubs, which it never runs, are not built; the
number of missing values is guarded by 1e-4, as for MCT-HFR; a modality without a valid step gives a zero token, and
attention to it counts as 0; padding is masked everywhere, also in the head's maximum over time; missing steps have
positions, unless `pe_skip_zero`. A training on complete data has one view and nothing to restore: attraction,
reconstruction and the last update of the hub, which nothing else reads, are then not built: 6,303,175 parameters at
the widths of that paper instead of 7,722,823. Prediction never runs them. A modality that a benchmark lacks is left
out.
Handles absence by: zeros that keep their place in time; in training also by pulling the representations of the
incomplete view towards those of the complete one, and by reconstructing the missing steps.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.methods.protocol import AttentionParams, Needs, Spec
from pipeline.nn.distances import missing_step_error, negative_cosine
from pipeline.nn.heads import BatchNorm, gated_head
from pipeline.nn.hub import HubExchange, HubUnit, States, Steps, masked_mean
from pipeline.nn.mrau import FrontEnd, at_least_one_step
from pipeline.schema import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.loop import fit_network
from pipeline.training.run import Run


class Params(AttentionParams):
    """Parameters of EMT-DLFR.

    Args:
        layers: of promotion.
        ffn: hidden width of the FFNs.
        embed_dropout: after the positions.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what an FFN adds.
        pe_skip_zero: no position where a projected step starts with exactly 0.
        attraction: weight of the complete view's loss and of the attraction; 0 builds neither.
        reconstruction: weight of the reconstruction of missing steps; 0 builds none.
        aux_from_epoch: first epoch with attraction and reconstruction.
    """

    layers: PositiveInt = 4
    ffn: PositiveInt = 512
    embed_dropout: Rate = 0.25
    attention_dropout: Rate = 0.1
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False
    attraction: float = Field(1.0, ge=0.0)
    reconstruction: float = Field(1.0, ge=0.0)
    aux_from_epoch: PositiveInt = 2


class _PromotionUnit(HubUnit):
    """Attention to the source, then attention of the result to itself."""

    def mix(self, target: Tensor, source: Tensor, own: Steps, other: Steps) -> Tensor:
        """One attention after the other."""
        return self.attend_to_itself(self.attend_to_source(target, source, other), own)


class _Attraction(nn.Module):
    """SimSiam: the prediction from one view's projection should point where the other view's projection points."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width // 2
        self.project = nn.Sequential(nn.Linear(width, width), BatchNorm(width, affine=False))
        self.predict = nn.Sequential(
            nn.Linear(width, hidden, bias=False), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )

    def forward(self, incomplete: Tensor, complete: Tensor) -> Tensor:
        """Loss in [-1, 1] of two views `(B, E)`; each is its own batch for the normalisation."""
        x, y = self.project(incomplete), self.project(complete)
        forward, backward = negative_cosine(self.predict(x), y.detach()), negative_cosine(self.predict(y), x.detach())
        return 0.5 * (forward + backward)


class _Network(nn.Module):
    """Front ends, layers of promotion, head; attraction and decoders where the training uses them."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        present, width = list(spec.available), params.width
        restores = not params.trains_on_complete
        attracts, rebuilds = restores and params.attraction > 0, restores and params.reconstruction > 0
        rates = params.attention_dropout, params.ffn_dropout, params.residual_dropout
        self.front_ends = nn.ModuleDict(
            {m: FrontEnd(spec.dims[m], width, 1, params.embed_dropout, params.pe_skip_zero) for m in present}
        )
        unit = partial(_PromotionUnit, width, params.heads, params.ffn, *rates)
        self.exchange = HubExchange(present, params.layers, unit, keeps_hub=attracts)
        self.head = gated_head(present, width, spec.task.outputs, hidden=width // 2)
        widths = {"hub": width * len(present), **dict.fromkeys(present, width)}
        self.attractions = nn.ModuleDict({name: _Attraction(w) for name, w in widths.items()} if attracts else {})
        self.decoders = nn.ModuleDict({m: nn.Linear(width, spec.dims[m]) for m in present} if rebuilds else {})

    def encode(
        self, features: Mapping[str, Tensor], valid: Mapping[str, Tensor], *, reads_hub: bool
    ) -> tuple[States, Tensor]:
        """Fuse `(B, T_m, D_m)`, T_m of at least 1, to `(B, T_m, D)` and a hub `(B, M, D)`."""
        states = {m: embed(features[m])[1] for m, embed in self.front_ends.items()}
        hub = torch.stack([masked_mean(x, valid[m]) for m, x in states.items()], dim=1)  # (B, M, D)
        everything = torch.ones(hub.shape[:2], dtype=torch.bool, device=hub.device)
        exchanged: tuple[States, Tensor] = self.exchange(states, hub, valid, everything, reads_hub=reads_hub)
        return exchanged

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        features = {m: at_least_one_step(x) for m, x in batch.features.items()}
        valid = {m: at_least_one_step(v) for m, v in batch.valid.items()}
        states, _ = self.encode(features, valid, reads_hub=False)
        logits: Tensor = self.head.classify(self.head.embed(states, valid))
        return logits


class EMTDLFR(NetworkClassifier):
    """Efficient multimodal transformer with dual-level feature restoration."""

    needs = Needs(modalities=2)
    params: Params
    network: _Network

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)

    def fit(self, train: Dataset, valid: Dataset | None, run: Run) -> dict[str, Any]:
        """Train; select on the incomplete view of the validation part."""
        restores = len(self.network.attractions) > 0 or len(self.network.decoders) > 0
        return fit_network(
            self.network, self._loss, self.network, train, valid, run, self.params, needs_complete=restores
        )

    def _loss(self, batch: Batch, epoch: int) -> Tensor:
        """Cross-entropy and the weighted terms. Both views pass the encoder as one batch of 2 B, the head apart."""
        network, params = self.network, self.params
        auxiliary = epoch >= params.aux_from_epoch
        attracts = auxiliary and len(network.attractions) > 0
        views = [batch, batch.unmasked()] if attracts else [batch]
        features = {m: at_least_one_step(torch.cat([view.features[m] for view in views])) for m in batch.features}
        valid = {m: at_least_one_step(v.repeat(len(views), 1)) for m, v in batch.valid.items()}
        states, hub = network.encode(features, valid, reads_hub=attracts)
        incomplete, *complete = network.head.embed(states, valid).chunk(len(views))  # (B, E)
        loss = self.task.loss(network.head.classify(incomplete), batch.labels)
        for embedding in complete:
            task = self.task.loss(network.head.classify(embedding), batch.labels)
            loss = loss + params.attraction * (task + self._attraction(states, hub, valid))
        if auxiliary and len(network.decoders):
            loss = loss + params.reconstruction * self._reconstruction_error(batch, states)
        return loss

    def _attraction(self, states: States, hub: Tensor, valid: Mapping[str, Tensor]) -> Tensor:
        """Sum over the hub and the first step of every modality; incomplete view first, then the complete one."""
        vectors = {m: x[:, 0].masked_fill(~valid[m][:, :1], 0.0) for m, x in states.items()}
        vectors["hub"] = hub.flatten(1)  # (2 B, M D)
        terms = [attract(*vectors[name].chunk(2)) for name, attract in self.network.attractions.items()]
        return torch.stack(terms).sum()

    def _reconstruction_error(self, batch: Batch, states: States) -> Tensor:
        """Error where a step was there and has been masked out, summed over modalities."""
        assert batch.complete is not None
        total = torch.zeros((), device=batch.labels.device)
        for m, decoder in self.network.decoders.items():
            steps = batch.valid[m].shape[1]
            rebuilt = decoder(states[m][: len(batch), :steps])  # (B, T_m, D_m)
            total = total + missing_step_error(rebuilt, batch.complete[m], batch.present[m] & ~batch.observed[m])
        return total
