"""GAN: conditional generative adversarial networks of the joint vector.

Jhamb, UC Berkeley Technical Report EECS-2022-85, 2022, section 3.3 and figure 3.3: noise of 100, condition beside
noise and beside sample, binary cross-entropy, Adam 2e-4, 200 epochs. These are the defaults of a widely copied
reference, https://github.com/eriklindernoren/PyTorch-GAN (implementations/gan), from which we take, as facts, what the
report does not say: layers 128-256-512-1024 and 512-256, LeakyReLU 0.2, batch normalisation with an epsilon of 0.8 on
the last three hidden layers of the generator, betas (0.5, 0.999), batches of 64, one update of the generator before
one of the discriminator, whose two losses are averaged. Differs: the loss takes logits, which is the same and does not
overflow; `output: linear` with z-scores by default, since features are unbounded; `tanh` on raw features is the
reference's.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.imputation.conditional import ConditionalFiller, Member, Trained, epochs_of
from pipeline.imputation.params import FillerParams, GanParams
from pipeline.nn.heads import BatchNorm
from pipeline.nn.stacked import stack, unstack

_GENERATOR = (128, 256, 512, 1024)
_DISCRIMINATOR = (512, 256)
_SLOPE, _EPSILON = 0.2, 0.8
_LOSSES = "generator", "discriminator"


def generator(joint: int, condition: int, params: GanParams) -> nn.Module:
    """From `[z; condition]` to joint vectors.

    Args:
        joint: width J.
        condition: width C, or 0.
        params: latent width and output.
    """
    layers: list[nn.Module] = [nn.Linear(params.latent + condition, _GENERATOR[0]), nn.LeakyReLU(_SLOPE)]
    for width, following in pairwise(_GENERATOR):
        layers += [nn.Linear(width, following), BatchNorm(following, _EPSILON), nn.LeakyReLU(_SLOPE)]
    layers.append(nn.Linear(_GENERATOR[-1], joint))
    return nn.Sequential(*layers, nn.Tanh()) if params.output == "tanh" else nn.Sequential(*layers)


def discriminator(joint: int, condition: int) -> nn.Module:
    """From `[joint vector; condition]` to the logit of being real."""
    first, second = _DISCRIMINATOR
    return nn.Sequential(
        nn.Linear(joint + condition, first),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(first, second),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(second, 1),
    )


class GanFiller(ConditionalFiller):
    """Draws from the generator of the set that is missing."""

    def __init__(self, params: FillerParams) -> None:
        """Keep the section."""
        self._params = params.gan
        super().__init__(
            "gan",
            self._params,
            self._params.latent,
            self._params.output == "linear",
            lambda joint, condition: generator(joint, condition, self._params),
            self._learn,
        )

    def _learn(self, members: Sequence[Member]) -> list[Trained]:
        params, device, n = self._params, members[0].joint.device, len(members[0].joint)

        def pair(joint: int, condition: int) -> tuple[nn.Module, nn.Module]:
            return generator(joint, condition, params), discriminator(joint, condition)

        pairs = [member.initial(pair) for member in members]
        maker, judge = (stack(networks).to(device).train() for networks in zip(*pairs, strict=True))
        makers, judges = (
            torch.optim.Adam(network.parameters(), lr=params.learning_rate, betas=params.betas, fused=True)
            for network in (maker, judge)
        )
        losses: list[list[list[float]]] = []  # per epoch, loss and member
        for steps in epochs_of(members, params.latent, params.batch_size, params.epochs):
            sums = torch.zeros(2, len(members), device=device)
            for x, c, z in steps:
                judge.requires_grad_(False)  # its gradients would be thrown away
                made = maker(torch.cat([z, c], dim=-1))
                verdict = judge(torch.cat([made, c], dim=-1))
                fooled = _entropy(verdict, torch.ones_like(verdict))
                makers.zero_grad(set_to_none=True)
                fooled.backward(torch.ones_like(fooled))  # type: ignore[no-untyped-call]
                makers.step()
                judge.requires_grad_(True)
                both = torch.cat([torch.cat([x, made.detach()], dim=-2), torch.cat([c, c], dim=-2)], dim=-1)
                truth = torch.cat([torch.ones_like(verdict), torch.zeros_like(verdict)], dim=-2)  # real, then made
                told = _entropy(judge(both), truth)  # equal halves: their losses averaged
                judges.zero_grad(set_to_none=True)
                told.backward(torch.ones_like(told))  # type: ignore[no-untyped-call]
                judges.step()
                sums += x.shape[-2] * torch.stack([fooled.detach(), told.detach()]).reshape(2, -1)
            losses.append((sums / n).tolist())
        unstack(maker, [own for own, _ in pairs])
        count = sum(p.numel() for network in pairs[0] for p in network.parameters())
        return [
            (own, count, {loss: [epoch[j][i] for epoch in losses] for j, loss in enumerate(_LOSSES)})
            for i, (own, _) in enumerate(pairs)
        ]


def _entropy(verdict: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy `()` of logits `(B, 1)`, their mean; `(S,)` of those of stacked networks."""
    if verdict.dim() == 2:
        return binary_cross_entropy_with_logits(verdict, truth)  # the other's gradient rounds otherwise
    return binary_cross_entropy_with_logits(verdict, truth, reduction="none").mean((-2, -1))
