"""Run a network over many inputs of different lengths: sorted by length, padded, in batches, on the compute device."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.errors import ParamsError

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Built = TypeVar("Built")

GPU_BATCHES = 16
"""How many times more goes into a batch on a GPU than on a processor, unless `LACUNA_BATCH` says otherwise."""

_SEED = 20_000


class Network:
    """A network that is built and moved to the compute device when it is first needed, and runs in batches.

    Args:
        build: makes the network, with its weights, on the processor.
        precision: `float32`, or `bfloat16` for autocast; never `auto`, which the runner replaces.
        budget: padded steps of a batch on a processor (the longest input counts for each).
        memory_format: of the network's weights, where another than the usual is faster.
    """

    def __init__(
        self, build: Callable[[], "torch.nn.Module"], precision: str, budget: int, memory_format: str = ""
    ) -> None:
        """Take note; nothing is imported or built yet."""
        self.precision = precision
        self._build = build
        self._budget = budget
        self._memory_format = memory_format

    @cached_property
    def device(self) -> "torch.device":
        """The compute device of this process."""
        from pipeline.execution.device import start_computing

        return start_computing()

    @cached_property
    def module(self) -> "torch.nn.Module":
        """The network, in inference mode."""
        import torch

        device = self.device
        module = self._build().eval().requires_grad_(False).to(device)
        if self._memory_format:
            module.to(memory_format=getattr(torch, self._memory_format))  # type: ignore[call-overload]
        return module

    @cached_property
    def budget(self) -> int:
        """Padded steps of a batch on this device."""
        from pipeline.execution.device import compute_device

        return max(1, round(self._budget * batch_factor(compute_device().type)))

    def run(
        self,
        inputs: Sequence[Array],
        forward: Callable[["torch.nn.Module", "torch.Tensor", "torch.Tensor"], "torch.Tensor"],
        steps: Callable[[int], int] = lambda length: length,
    ) -> list[npt.NDArray[np.float32]]:
        """Features of every input, in the order given.

        Args:
            inputs: arrays `(L, ...)` of one type, L >= 1; zeros are appended up to the longest of a batch.
            forward: from the network, a batch `(B, L, ...)` on the device and its lengths `(B,)` int64 on the device,
                to `(B, T, D)`; what is beyond an input's own steps is cut off.
            steps: T of an input of length L.

        Returns:
            Arrays `(T, D)` float32.
        """
        import torch

        found: dict[int, npt.NDArray[np.float32]] = {}
        on_the_way: Callable[[], None] | None = None
        for batch in self._batches([len(array) for array in inputs]):
            lengths = [len(inputs[index]) for index in batch]
            padded = np.zeros((len(batch), max(lengths), *inputs[batch[0]].shape[1:]), inputs[batch[0]].dtype)
            for row, index in enumerate(batch):
                padded[row, : lengths[row]] = inputs[index]
            module = self.module
            with torch.inference_mode(), self._autocast():
                tensor = self._sent(torch.from_numpy(padded))
                output = forward(module, tensor, self._sent(torch.tensor(lengths))).float()
                collect = self._fetch(output, batch, [steps(length) for length in lengths], found)
            if on_the_way:  # a GPU computes this batch while the last one is copied and the next one padded
                on_the_way()
            on_the_way = collect
        if on_the_way:
            on_the_way()
        return [found[index] for index in range(len(inputs))]

    def _sent(self, tensor: "torch.Tensor") -> "torch.Tensor":
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _fetch(
        self,
        output: "torch.Tensor",
        batch: Sequence[int],
        steps: Sequence[int],
        found: dict[int, npt.NDArray[np.float32]],
    ) -> Callable[[], None]:
        """Start copying a batch `(B, T, D)` to the processor; what comes back waits for it and cuts it into inputs."""
        import torch

        host = output.to("cpu", non_blocking=True)
        arrived = None
        if self.device.type != "cpu":
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()

        def collect() -> None:
            if arrived:
                arrived.synchronize()
            for row, index in enumerate(batch):
                found[index] = host[row, : steps[row]].numpy().copy()

        return collect

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Positions of the inputs, sorted by length and cut where a batch would exceed the budget."""
        batches: list[list[int]] = []
        for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
            if batches and (len(batches[-1]) + 1) * lengths[index] <= self.budget:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches

    def _autocast(self) -> AbstractContextManager[None]:
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def natural_precision() -> str:
    """What `precision: auto` stands for on the compute device."""
    from pipeline.execution.device import compute_device

    return "float32" if compute_device().type == "cpu" else "bfloat16"


def seeded(build: Callable[[], Built]) -> Built:
    """Build a network with random weights that are the same every time; the global generators are left as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return build()


def batch_factor(device: str) -> float:
    """`LACUNA_BATCH`, or what suits the device.

    Raises:
        ParamsError: `LACUNA_BATCH` is not a positive number.
    """
    wanted = os.environ.get("LACUNA_BATCH")
    if wanted is None:
        return 1.0 if device == "cpu" else GPU_BATCHES
    try:
        factor = float(wanted)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < float("inf"):
        raise ParamsError(f"LACUNA_BATCH: found '{wanted}', expected a positive number such as 0.5 or 4")
    return factor
