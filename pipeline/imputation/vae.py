"""VAE: variational autoencoders of the joint vector whose decoder is given a condition.

Jhamb, UC Berkeley Technical Report EECS-2022-85, 2022, section 3.3 and figure 3.4: latent width 256, the condition
enters the decoder alone, Gaussian likelihood plus KL divergence (Kingma and Welling, "Auto-Encoding Variational
Bayes", ICLR 2014, https://arxiv.org/abs/1312.6114), Adam 1e-4, 2000 epochs; samples are the decoder's mean for noise
from the prior. What the report does not say is chosen as in copies of a tutorial that has the same three numbers: one
learned log scale for all coordinates, from 0, and the divergence estimated with the single z that was drawn. Our
choice: one hidden layer of 512 on each side, batches of 64, log variance kept within [-10, 10] and log scale within
[-5, 5].
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.imputation.conditional import ConditionalFiller, Member, Trained, epochs_of
from pipeline.imputation.params import FillerParams, VaeParams
from pipeline.nn.stacked import stack, unstack

_LOG_VARIANCE, _LOG_SCALE = 10.0, 5.0


def decoder(joint: int, condition: int, params: VaeParams) -> nn.Module:
    """From `[z; condition]` to the mean of joint vectors.

    Args:
        joint: width J.
        condition: width C, or 0.
        params: widths.
    """
    return nn.Sequential(
        nn.Linear(params.latent + condition, params.hidden), nn.ReLU(), nn.Linear(params.hidden, joint)
    )


class Autoencoder(nn.Module):
    """Encoder, decoder and scale.

    Args:
        joint: width J.
        condition: width C, or 0.
        params: widths.
    """

    def __init__(self, joint: int, condition: int, params: VaeParams) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(joint, params.hidden), nn.ReLU(), nn.Linear(params.hidden, 2 * params.latent)
        )  # mean and log variance are two heads in one
        self.decoder = decoder(joint, condition, params)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, condition: Tensor, noise: Tensor) -> Tensor:
        """Negative evidence bound, a mean over the batch: `()`, or of stacked networks `(S,)`.

        Args:
            x: joint vectors `(B, J)`; where networks are stacked `(S, B, J)`, and so on.
            condition: `(B, C)`.
            noise: standard normal `(B, latent)`.
        """
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        log_variance = log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)
        z = mean + torch.exp(0.5 * log_variance) * noise
        surprise = z.square() - noise.square() - log_variance
        divergence = 0.5 * surprise.sum((-2, -1))  # log q(z|x) - log p(z), their 2 pi cancel
        scale = self.log_scale.clamp(-_LOG_SCALE, _LOG_SCALE)
        error = (x - self.decoder(torch.cat([z, condition], dim=-1))).square().sum((-2, -1))
        bound: Tensor = (0.5 * torch.exp(-2 * scale) * error + divergence) / x.shape[-2]
        return bound + x.shape[-1] * (scale + 0.5 * math.log(2 * math.pi))


class VaeFiller(ConditionalFiller):
    """Decodes noise from the prior, given what is there."""

    def __init__(self, params: FillerParams) -> None:
        """Keep the section."""
        self._params = params.vae
        super().__init__(
            "vae",
            self._params,
            self._params.latent,
            self._params.standardize,
            lambda joint, condition: decoder(joint, condition, self._params),
            self._learn,
        )

    def _learn(self, members: Sequence[Member]) -> list[Trained]:
        params, device, n = self._params, members[0].joint.device, len(members[0].joint)
        networks = [
            member.initial(lambda joint, condition: Autoencoder(joint, condition, params)) for member in members
        ]
        network = stack(networks).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate, fused=True)
        losses: list[list[float]] = []  # per epoch and member
        for steps in epochs_of(members, params.latent, params.batch_size, params.epochs):
            total = torch.zeros(len(members), device=device)
            for x, c, noise in steps:
                loss = network(x, c, noise)  # () or (S,)
                optimizer.zero_grad(set_to_none=True)
                loss.backward(torch.ones_like(loss))
                optimizer.step()
                total += x.shape[-2] * loss.detach()
            losses.append([own / n for own in total.tolist()])
        unstack(network, networks)
        count = sum(p.numel() for p in networks[0].parameters())
        return [(own.decoder, count, {"bound": [epoch[i] for epoch in losses]}) for i, own in enumerate(networks)]
