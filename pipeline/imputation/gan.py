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

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.imputation.conditional import ConditionalFiller, Trained, epochs_of
from pipeline.imputation.params import FillerParams, GanParams
from pipeline.nn.heads import BatchNorm

_GENERATOR = (128, 256, 512, 1024)
_DISCRIMINATOR = (512, 256)
_SLOPE, _EPSILON = 0.2, 0.8


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
            self._params.latent,
            self._params.output == "linear",
            lambda joint, condition: generator(joint, condition, self._params),
            self._learn,
        )

    def _learn(self, joint: Tensor, condition: Tensor, chance: torch.Generator) -> Trained:
        params, widths = self._params, (joint.shape[1], condition.shape[1])
        maker = generator(*widths, params).to(joint.device).train()
        judge = discriminator(*widths).to(joint.device)
        makers, judges = (
            torch.optim.Adam(network.parameters(), lr=params.learning_rate, betas=params.betas, fused=True)
            for network in (maker, judge)
        )
        losses: dict[str, list[float]] = {"generator": [], "discriminator": []}
        for steps in epochs_of(joint, condition, params.latent, params.batch_size, params.epochs, chance):
            sums = torch.zeros(2, device=joint.device)
            for x, c, z in steps:
                judge.requires_grad_(False)  # its gradients would be thrown away
                made = maker(torch.cat([z, c], dim=1))
                verdict = judge(torch.cat([made, c], dim=1))
                fooled = binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))
                makers.zero_grad(set_to_none=True)
                fooled.backward()  # type: ignore[no-untyped-call]
                makers.step()
                judge.requires_grad_(True)
                both = torch.cat([torch.cat([x, made.detach()]), torch.cat([c, c])], dim=1)  # real, then made
                truth = torch.cat([torch.ones_like(verdict), torch.zeros_like(verdict)])
                told = binary_cross_entropy_with_logits(judge(both), truth)  # equal halves: their losses averaged
                judges.zero_grad(set_to_none=True)
                told.backward()  # type: ignore[no-untyped-call]
                judges.step()
                sums += len(x) * torch.stack([fooled.detach(), told.detach()])
            for loss, value in zip(losses.values(), (sums / len(joint)).tolist(), strict=True):
                loss.append(value)
        return maker, sum(p.numel() for network in (maker, judge) for p in network.parameters()), losses
