"""PMR: every modality is reinforced by a common message, layer by layer, and the message by every modality.

Lv, Chen, Huang, Duan and Lin, "Progressive Modality Reinforcement for Human Multimodal Emotion Recognition from
Unaligned Multimodal Sequences", CVPR 2021,
https://openaccess.thecvf.com/content/CVPR2021/html/Lv_Progressive_Modality_Reinforcement_for_Human_Multimodal_Emotion_Recognition_From_Unaligned_CVPR_2021_paper.html

Follows: the form that the authors of MCT-HFR gave their baseline (Chen and Zhang 2023, https://arxiv.org/abs/2312.15848,
sections 2.1 and 5.4; https://github.com/zxpoqas123/MCT-HFR, snapshot ac90c37): six reinforcement units per layer, the
common message is the concatenation of the modalities in time, no skip around the gated sum of the two attentions, the
sum of the three messages is the new one, the gated recurrent head reads the modalities alone.
`head: linear` with kernels of 3 steps for audio and vision is what the parameters of their table 4 belong to: means
over valid time and one linear layer; that table counts the unread last update of the message as well.
Differs: PMR's own code is not public. The last update of the message, which nobody reads, is left out (21 units in 4
layers); gates start Xavier-uniform, where that code leaves them uninitialised; attention to a modality without a valid
step counts as 0. `hub_update: attention` weights the three messages as PMR does, w . tanh(W z + b) under a softmax, but
scores the mean of each over valid time, since the weights of a flattened message would depend on its length; one layer
norm and FFN with a skip follow. Padding is masked everywhere, also in the head's maximum over time. Missing steps have
positions, unless `pe_skip_zero`. A modality that a benchmark lacks is left out.
Handles absence by: zeros in place of the features, which keep their place in time.
"""

from functools import partial
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from pipeline.data.batch import Batch, side_by_side
from pipeline.data.spec import Spec
from pipeline.methods.protocol import Needs
from pipeline.nn.dropout import Dropout
from pipeline.nn.heads import Head, gated_head
from pipeline.nn.hub import Attendable, HubExchange, HubSum, HubUnit, masked_mean
from pipeline.nn.mrau import FrontEnd
from pipeline.section import Rate
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.params import AttentionParams, Kernels


class Params(AttentionParams):
    """Parameters of PMR.

    Args:
        layers: of reinforcement.
        ffn: hidden width of the FFNs.
        kernels: of the convolutions.
        head: the gated recurrent one, or means over time and one linear layer.
        hub_update: the new common message is the sum of the three, or their mean under attention weights.
        embed_dropout: after the positions.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFNs.
        residual_dropout: of what an FFN adds.
        pe_skip_zero: no position where a projected step starts with exactly 0.
    """

    layers: PositiveInt = 4
    ffn: PositiveInt = 512
    kernels: Kernels = Kernels()
    head: Literal["gated", "linear"] = "gated"
    hub_update: Literal["sum", "attention"] = "sum"
    embed_dropout: Rate = 0.25
    attention_dropout: Rate = 0.1
    ffn_dropout: Rate = 0.1
    residual_dropout: Rate = 0.1
    pe_skip_zero: bool = False


class _ReinforcementUnit(HubUnit):
    """A gate per step and channel chooses between attention to the source and attention to itself."""

    def __init__(self, width: int, heads: int, ffn: int, *rates: float) -> None:
        super().__init__(width, heads, ffn, *rates)
        self.gate = nn.Linear(2 * width, width)
        nn.init.xavier_uniform_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def mix(self, target: Tensor, source: Tensor, own: Attendable, other: Attendable) -> Tensor:
        """Gated sum."""
        itself, cross = self.attend_to_itself(target, own), self.attend_to_source(target, source, other)
        gate = torch.sigmoid(self.gate(torch.cat([itself, cross], dim=-1)))  # (B, T, D)
        return torch.lerp(itself, cross, gate)


class _HubAttention(nn.Module):
    """A weight per message from its mean over time; z + drop(FFN(LN(z))) of the weighted sum z."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        width = params.width
        self.scorer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.update = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, params.ffn),
            nn.ReLU(),
            Dropout(params.ffn_dropout),
            nn.Linear(params.ffn, width),
            Dropout(params.residual_dropout),
        )

    def forward(self, hubs: list[Tensor], valid: Tensor) -> Tensor:
        """Merge messages `(B, H, D)` with valid steps `(B, H)`."""
        means = torch.stack([masked_mean(hub, valid) for hub in hubs], dim=1)  # (B, M, D)
        weights = torch.softmax(self.scorer(means), dim=1)  # (B, M, 1)
        merged = torch.einsum("bm,bmtd->btd", weights[..., 0], torch.stack(hubs, dim=1))
        updated: Tensor = merged + self.update(merged)
        return updated


class _Mean(nn.Module):
    """Mean over valid time, 0 where there is none."""

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Pool `x (B, T, D)` over its `valid (B, T)` steps to `(B, D)`."""
        return masked_mean(x, valid)


class _Network(nn.Module):
    """Front ends, layers of reinforcement, head."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        present, width = list(spec.available), params.width
        rates = params.attention_dropout, params.ffn_dropout, params.residual_dropout
        kernels = params.kernels.model_dump()
        self.front_ends = nn.ModuleDict(
            {m: FrontEnd(spec.dims[m], width, kernels[m], params.embed_dropout, params.pe_skip_zero) for m in present}
        )
        self.exchange = HubExchange(
            present,
            params.layers,
            partial(_ReinforcementUnit, width, params.heads, params.ffn, *rates),
            HubSum if params.hub_update == "sum" else partial(_HubAttention, params),
            keeps_hub=False,
        )
        if params.head == "linear":
            embedding = width * len(present)
            self.head = Head({m: _Mean() for m in present}, embedding, nn.Linear(embedding, spec.task.outputs))
        else:
            self.head = gated_head(present, width, spec.task.outputs, hidden=width // 2)

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        features, valid = side_by_side([batch])
        states = {m: embed(features[m])[1] for m, embed in self.front_ends.items()}
        hub = torch.cat(list(states.values()), dim=1)  # (B, sum of T_m, D)
        states, _ = self.exchange(states, hub, valid, torch.cat([valid[m] for m in states], dim=1))
        logits: Tensor = self.head.classify(self.head.embed(states, valid))
        return logits


class PMR(NetworkClassifier):
    """Progressive modality reinforcement."""

    needs = Needs(modalities=2)

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        super().__init__(_Network(params, spec), spec.task, params)
