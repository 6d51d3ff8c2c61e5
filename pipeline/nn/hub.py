"""A hub between modalities: in every layer each modality learns from the hub, then the hub from the new modalities.

PMR and EMT in the form that the authors of MCT-HFR give them, https://github.com/zxpoqas123/MCT-HFR (snapshot ac90c37),
read for facts: order of the exchange, layers, widths. The hub is any sequence; what a unit does with its target and its
source, and how the hubs that come back from the modalities are merged, is the method's.
B batch, T_m steps of modality m, H steps of the hub, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.nn.attention import Attention, AttentionBlock, attendable

States = dict[str, Tensor]


@dataclass(frozen=True)
class Attendable:
    """Which steps of a sequence there are.

    Args:
        keys: `(B, T)` bool, steps that may be attended to, at least one per row.
        some: `(B, 1, 1)` bool, whether a row has a valid step.
    """

    keys: Tensor
    some: Tensor

    @classmethod
    def of(cls, valid: Tensor) -> "Attendable":
        """The steps `valid (B, T)`, T of at least 1."""
        return cls(attendable(valid), valid.any(dim=1)[:, None, None])


class HubUnit(nn.Module, ABC):
    """A target learns from a source: x = LN1(mix(target, source)); LN2(x + drop(FFN(x))). No skip leads past the mix.

    Args:
        width: D.
        heads: h.
        ffn: hidden width of the FFN.
        attention_dropout: of the attention weights.
        ffn_dropout: inside the FFN.
        residual_dropout: of what the FFN adds.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ffn: int,
        attention_dropout: float = 0.1,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.block = AttentionBlock(width, heads, ffn, attention_dropout, ffn_dropout, residual_dropout)
        self.cross = Attention(width, heads, attention_dropout)

    def forward(self, target: Tensor, source: Tensor, own: Attendable, other: Attendable) -> Tensor:
        """Update `target (B, T, D)` with steps `own` from `source (B, S, D)` with steps `other`."""
        x = self.block.norm1(self.mix(target, source, own, other))
        updated: Tensor = self.block.norm2(x + self.block.residual(self.block.feed_forward(x)))
        return updated

    @abstractmethod
    def mix(self, target: Tensor, source: Tensor, own: Attendable, other: Attendable) -> Tensor:
        """Bring both attentions together, `(B, T, D)`; arguments as in `forward`."""

    def attend_to_itself(self, target: Tensor, own: Attendable) -> Tensor:
        """Attention of `target (B, T, D)` to itself."""
        attended: Tensor = self.block.attention(target, valid=own.keys)
        return attended

    def attend_to_source(self, target: Tensor, source: Tensor, other: Attendable) -> Tensor:
        """Attention of `target (B, T, D)` to `source (B, S, D)`; 0 where the source has no valid step."""
        attended: Tensor = self.cross(target, source, other.keys)
        return attended.masked_fill(~other.some, 0.0)


class HubSum(nn.Module):
    """The sum of the hubs that come back from the modalities."""

    def forward(self, hubs: Sequence[Tensor], valid: Tensor) -> Tensor:
        """Merge `hubs`, each `(B, H, D)`."""
        return torch.stack(list(hubs)).sum(0)


class HubExchange(nn.Module):
    """Layers of exchange: every modality from the hub, then the hub from every modality as it has just become.

    Args:
        modalities: their names.
        layers: how many.
        unit: makes one unit; two per modality and layer, nothing is shared.
        merge: makes what merges the hubs of a layer, one `(B, H, D)` per modality and their `(B, H)` bool.
        keeps_hub: False leaves the last update of the hub out, for a method that does not read it.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        layers: int,
        unit: Callable[[], HubUnit],
        merge: Callable[[], nn.Module] = HubSum,
        *,
        keeps_hub: bool,
    ) -> None:
        super().__init__()
        updates = layers if keeps_hub else layers - 1
        self.from_hub = nn.ModuleList(nn.ModuleDict({m: unit() for m in modalities}) for _ in range(layers))
        self.to_hub = nn.ModuleList(nn.ModuleDict({m: unit() for m in modalities}) for _ in range(updates))
        self.merges = nn.ModuleList(merge() for _ in range(updates))

    def forward(
        self,
        states: Mapping[str, Tensor],
        hub: Tensor,
        valid: Mapping[str, Tensor],
        hub_valid: Tensor,
        *,
        reads_hub: bool = True,
    ) -> tuple[States, Tensor]:
        """Exchange.

        Args:
            states: per modality `(B, T_m, D)`, T_m of at least 1.
            hub: `(B, H, D)`.
            valid: per modality `(B, T_m)` bool.
            hub_valid: `(B, H)` bool.
            reads_hub: False spares the update of the hub after the last layer.

        Returns:
            The modalities `(B, T_m, D)` and the hub `(B, H, D)`. What they have in padding means nothing.
        """
        states = dict(states)
        steps, hub_steps = {m: Attendable.of(valid[m]) for m in states}, Attendable.of(hub_valid)
        updates = len(self.to_hub) if reads_hub else len(self.from_hub) - 1
        for layer, units in enumerate(self.from_hub):
            receivers = cast("Mapping[str, HubUnit]", units)
            states = {m: receivers[m](x, hub, steps[m], hub_steps) for m, x in states.items()}
            if layer < updates:
                senders = cast("Mapping[str, HubUnit]", self.to_hub[layer])
                hubs = [senders[m](hub, x, hub_steps, steps[m]) for m, x in states.items()]
                hub = self.merges[layer](hubs, hub_valid)
        return states, hub


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Mean of `x (B, T, D)` over its `valid (B, T)` steps, `(B, D)`; 0 where there is none.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    total = x.masked_fill(~valid.unsqueeze(-1), 0.0).sum(1)
    return total / valid.sum(1, keepdim=True).clamp(min=1)
