"""Run: the circumstances of one training, apart from its data and its parameters."""

from dataclasses import dataclass

import torch

from pipeline.seeding import stream_seed

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """One training of one method on one fold with one seed.

    Args:
        words: what names it; every random stream of the training derives from them. In tests any words will do:
            `Run(("test",))`.
        device: where it computes.
    """

    words: tuple[str | int, ...]
    device: torch.device = CPU

    def generator(self, *purpose: str | int) -> torch.Generator:
        """A generator of its own for a purpose; on the CPU, so that order and masks are the same on every device."""
        return torch.Generator().manual_seed(stream_seed(*self.words, *purpose))

    def seed_weights(self) -> None:
        """Seed the chance that torch has no other way to pass: initial weights and dropout."""
        torch.manual_seed(stream_seed(*self.words, "weights"))
