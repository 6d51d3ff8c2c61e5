"""Stacked networks compute and learn what each of them does alone."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.nn.heads import BatchNorm
from pipeline.nn.stacked import stack, unstack


class Scaled(nn.Module):
    """Layers of every kind that can be stacked, one within another, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(4, 6), BatchNorm(6, 0.8), nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(inner, nn.Linear(6, 3), nn.Tanh())
        self.scale = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x).square().sum((-2, -1)) * self.scale
        return found


def networks(n: int) -> list[Scaled]:
    torch.manual_seed(0)
    return [Scaled() for _ in range(n)]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_members_of_a_stack_learn_what_they_learn_alone(size: int) -> None:
    alone, members = networks(3), networks(3)
    whole = stack(members)
    batches = torch.randn(5, 3, size, 4)
    optimizers = [torch.optim.SGD(network.parameters(), 0.05) for network in (*alone, whole)]
    for x in batches:
        losses = [network(x[i]) for i, network in enumerate(alone)] + [whole(x)]
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        torch.testing.assert_close(losses[-1], torch.stack(losses[:-1]))
    unstack(whole, members)
    for network, member, first in zip(alone, members, networks(3), strict=True):
        for name, x in network.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], x)
        assert not torch.equal(member.layers[1].weight, first.layers[1].weight)
        assert int(member.layers[0][1].num_batches_tracked) == (5 if size > 1 else 0)
    x = batches[0]
    torch.testing.assert_close(whole.eval()(x), torch.stack([own.eval()(x[i]) for i, own in enumerate(members)]))


def test_a_stack_of_one_is_the_network_itself() -> None:
    (member,) = networks(1)
    assert stack([member]) is member
    before = {name: x.clone() for name, x in member.state_dict().items()}
    unstack(member, [member])
    assert all(torch.equal(x, before[name]) for name, x in member.state_dict().items())


def test_making_a_stack_leaves_its_members_and_chance_alone() -> None:
    members, chance = networks(2), torch.random.get_rng_state()
    whole = stack(members)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter += 1
    assert torch.equal(chance, torch.random.get_rng_state())
    for member, other in zip(members, networks(2), strict=True):
        assert all(torch.equal(x, other.state_dict()[name]) for name, x in member.state_dict().items())
