"""Small networks of one shape trained as one: their weights lie side by side, every layer is one batched product.

Starting a kernel on a GPU takes longer than a small network computes in it, and S networks as one start as many kernels
as one alone. torch.func (`stack_module_state`, `functional_call` and `vmap`,
https://docs.pytorch.org/tutorials/intermediate/ensembling.html) does it for any layer, but needs twice the processor
time to start a pass: five tiny VAEs, forward and backward, 1.7 ms instead of 0.8.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)


def stack(networks: Sequence[Network]) -> Network:
    """One network that computes what S of them compute, each on a part of its own.

    Layers may be linear, batch normalisations, whatever has no weights, and modules made of these with parameters of
    their own, if they compute along the last two axes. Nothing may be drawn.

    Args:
        networks: equal but for their weights.

    Returns:
        The network itself where there is one. Else a new one, which takes `(S, B, D)` where each takes `(B, D)`; the
        tensors of its state begin with the axis S.
    """
    first = networks[0]
    if len(networks) == 1:
        return first
    if isinstance(first, nn.Linear):
        return cast(Network, _Linear(cast(Sequence[nn.Linear], networks)))
    if isinstance(first, nn.BatchNorm1d):
        return cast(Network, _BatchNorm(cast(Sequence[nn.BatchNorm1d], networks)))
    whole = copy.deepcopy(first)
    for name, _ in first.named_children():
        setattr(whole, name, stack([getattr(network, name) for network in networks]))
    for name, _ in first.named_parameters(recurse=False):
        setattr(whole, name, _parameter(getattr(network, name) for network in networks))
    return whole


def unstack(whole: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Give every one of `networks`, of which `stack` made `whole`, its weights and statistics back."""
    if whole is networks[0]:
        return
    state = whole.state_dict()
    for i, network in enumerate(networks):
        network.load_state_dict({name: x[i] for name, x in state.items()})


class _Linear(nn.Module):
    """S linear layers."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _parameter(layer.weight for layer in layers)  # (S, E, D)
        self.bias = _parameter(layer.bias for layer in layers)  # (S, E)

    def forward(self, x: Tensor) -> Tensor:
        """From `(S, B, D)` to `(S, B, E)`."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class _BatchNorm(nn.Module):
    """S batch normalisations: one of S D columns, since columns know nothing of each other."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d]) -> None:
        super().__init__()
        self._momentum, self._eps = layers[0].momentum or 0.0, layers[0].eps
        self.weight = _parameter(layer.weight for layer in layers)  # (S, D)
        self.bias = _parameter(layer.bias for layer in layers)
        for name, _ in layers[0].named_buffers():
            self.register_buffer(name, torch.stack([getattr(layer, name) for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(S, B, D)`; a training batch of one utterance passes, as in pipeline/nn/heads.py."""
        if self.training:
            if x.shape[1] == 1:
                return x
            self.num_batches_tracked += 1
        columns = x.transpose(0, 1).flatten(1)  # (B, S D)
        mean, variance, weight, bias = (
            own.view(-1) for own in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        found = functional.batch_norm(columns, mean, variance, weight, bias, self.training, self._momentum, self._eps)
        return found.view(x.shape[1], *x.shape[::2]).transpose(0, 1)


def _parameter(tensors: Iterable[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([x.detach() for x in tensors]))
