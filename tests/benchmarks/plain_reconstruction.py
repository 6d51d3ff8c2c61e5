"""The straightforward loop of the reconstruction study: mini-batches by a DataLoader, Adam as it comes, one seed after
another, and Algorithm 1 as it is written: one utterance at a time, twenty forward passes for each.

The networks are ours, since the numbers of parameters are the specification's; what differs is how they are driven.
Torch has all processors, as it would by default.
"""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pipeline.imputation.gan import discriminator, generator
from pipeline.imputation.params import GanParams, VaeParams
from pipeline.imputation.vae import Autoencoder

WIDTHS = {"vision": 35, "audio": 259}
VOTES = 20
MISSING = (("vision",), ("audio",), ("vision", "audio"))


def classify(train: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """The MLP of the study, trained."""
    joint, classes = train.shape[1], int(labels.max()) + 1
    hidden = (nn.Linear(joint, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, classes))
    network = nn.Sequential(nn.BatchNorm1d(joint), *hidden)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-5)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y in DataLoader(TensorDataset(train, labels), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            criterion(network(x), y).backward()
            optimizer.step()
    return network.eval()


def condition_of(x: Tensor, missing: tuple[str, ...]) -> Tensor:
    """The columns of what is there."""
    parts = dict(zip(WIDTHS, x.split(list(WIDTHS.values()), dim=1), strict=True))
    return torch.cat([part if m not in missing else part[:, :0] for m, part in parts.items()], dim=1)


def learn_gan(train: Tensor, missing: tuple[str, ...], epochs: int) -> nn.Module:
    """A generator for one set of missing modalities."""
    condition, params = condition_of(train, missing), GanParams()
    maker = generator(train.shape[1], condition.shape[1], params)
    judge = nn.Sequential(discriminator(train.shape[1], condition.shape[1]), nn.Sigmoid())
    criterion = nn.BCELoss()
    makers = torch.optim.Adam(maker.parameters(), lr=params.learning_rate, betas=params.betas)
    judges = torch.optim.Adam(judge.parameters(), lr=params.learning_rate, betas=params.betas)
    for _ in range(epochs):
        for x, c in DataLoader(TensorDataset(train, condition), batch_size=64, shuffle=True):
            real, fake = torch.ones(len(x), 1), torch.zeros(len(x), 1)
            makers.zero_grad()
            made = maker(torch.cat([torch.randn(len(x), params.latent), c], dim=1))
            criterion(judge(torch.cat([made, c], dim=1)), real).backward()
            makers.step()
            judges.zero_grad()
            told = criterion(judge(torch.cat([x, c], dim=1)), real)
            told = (told + criterion(judge(torch.cat([made.detach(), c], dim=1)), fake)) / 2
            told.backward()
            judges.step()
    return maker.eval()


def learn_vae(train: Tensor, missing: tuple[str, ...], epochs: int) -> nn.Module:
    """A decoder for one set of missing modalities."""
    condition, params = condition_of(train, missing), VaeParams()
    network = Autoencoder(train.shape[1], condition.shape[1], params)
    optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
    for _ in range(epochs):
        for x, c in DataLoader(TensorDataset(train, condition), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            network(x, c, torch.randn(len(x), params.latent)).backward()
            optimizer.step()
    return network.decoder.eval()


@torch.no_grad()
def algorithm_1(network: nn.Module, models: dict[tuple[str, ...], nn.Module], latent: int, test: Tensor) -> list[int]:
    """The class of most votes for every utterance, a different set of modalities missing in turn."""
    decided = []
    for i, x in enumerate(test):
        missing = MISSING[i % len(MISSING)]
        votes = []
        for _ in range(VOTES):
            drawn = models[missing](torch.cat([torch.randn(1, latent), condition_of(x[None], missing)], dim=1))
            start = 0
            for m, width in WIDTHS.items():
                if m not in missing:
                    drawn[:, start : start + width] = x[start : start + width]
                start += width
            votes.append(int(network(drawn).argmax()))
        decided.append(max(sorted(set(votes)), key=votes.count))
    return decided


def study(train: Tensor, labels: Tensor, test: Tensor, seeds: int, epochs: dict[str, int]) -> list[list[int]]:
    """All seeds, one after another."""
    decided = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = classify(train, labels, epochs["mlp"])
        gans = {missing: learn_gan(train, missing, epochs["gan"]) for missing in MISSING}
        vaes = {missing: learn_vae(train, missing, epochs["vae"]) for missing in MISSING}
        decided.append(algorithm_1(network, gans, GanParams().latent, test))
        decided.append(algorithm_1(network, vaes, VaeParams().latent, test))
    return decided
