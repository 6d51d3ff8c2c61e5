"""Chance: random numbers that belong to a seed, an utterance, a draw and a coordinate, and to nothing else.

A generator that is used up in order would make a prediction depend on the other utterances of its batch. Here every
number is computed from its place: output i of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014, https://doi.org/10.1145/2660193.2660195; constants of https://prng.di.unimi.it/splitmix64.c),
started from a mixture of seed, purpose and utterance. The same bits on every device; normals up to rounding.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.seeding import stream_seed


def _signed(value: int) -> int:
    """The 64 bits of `value` as torch keeps them."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)))
_DRAW = 1 << 32
"""Coordinates of one draw; the next draw's begin here."""


@dataclass(frozen=True)
class Chance:
    """Numbers for B utterances.

    Args:
        seed: in [0, 2**63).
        keys: `(B,)` int64, what names an utterance.
    """

    seed: int
    keys: Tensor

    def of(self, rows: Tensor) -> "Chance":
        """The same for some of the utterances, `rows` an index or bool."""
        return replace(self, keys=self.keys[rows])

    def uniforms(self, purpose: str, n: int, width: int) -> Tensor:
        """Uniform numbers in [0, 1) `(n, B, width)` float64.

        Args:
            purpose: numbers of another purpose are others.
            n: draws.
            width: coordinates of a draw.
        """
        device = self.keys.device
        start = mix(mix(self.keys) ^ stream_seed(self.seed, purpose))  # (B,)
        coordinates = torch.arange(1, width + 1, device=device)
        counter = torch.arange(n, device=device)[:, None] * _DRAW + coordinates  # (n, width)
        bits = mix(start[:, None] + (counter * _GAMMA)[:, None])  # (n, B, width)
        return _shifted(bits, 11).double() * 2.0**-53

    def normals(self, purpose: str, n: int, width: int) -> Tensor:
        """Standard normal numbers `(n, B, width)` float32, by Box and Muller from twice as many uniform ones."""
        half = -(-width // 2)
        radius, angle = torch.split(self.uniforms(purpose, n, 2 * half), half, dim=-1)
        radius, angle = torch.sqrt(-2.0 * torch.log1p(-radius)), 2 * math.pi * angle
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)[..., :width].float()


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser of int64 bits; a bijection.

    >>> [int(mix(1234567 + torch.tensor(i) * _GAMMA)) for i in (1, 2)]
    [6457827717110365317, 3203168211198807973]
    """
    for shift, multiplier in _MULTIPLIERS:
        x = (x ^ _shifted(x, shift)) * multiplier
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in: torch's own shift of int64 keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
