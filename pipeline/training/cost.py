"""What a method costs: parameters and multiply-accumulates (the same everywhere), seconds and memory (not)."""

import resource
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.batch import Batch
from pipeline.data.spec import Spec
from pipeline.data.steps import Features
from pipeline.methods.protocol import Method


def parameters(method: Method) -> int:
    """Trainable parameters; 0 for a method without a network."""
    return sum(p.numel() for p in method.network.parameters() if p.requires_grad) if method.network else 0


def multiply_accumulates(method: Method, spec: Spec) -> int:
    """Multiply-accumulates of predicting one utterance of the greatest length, attention products included.

    Half the floating point operations that torch's FlopCounterMode counts (matrix products and convolutions). Fused
    recurrent kernels count as nothing: the method must be on the CPU, and oneDNN's are turned off meanwhile.
    """
    fused = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            method.predict(_longest(spec))
    finally:
        torch.backends.mkldnn.enabled = fused
    return int(counter.get_total_flops()) // 2


def _longest(spec: Spec) -> Batch:
    lengths = {m: spec.max_lengths[m] if spec.dims[m] else 0 for m in spec.dims}
    everything = {m: torch.ones(1, steps, dtype=torch.bool) for m, steps in lengths.items()}
    features = {m: torch.zeros(1, steps, spec.dims[m]) for m, steps in lengths.items()}
    zero = torch.zeros(1, dtype=torch.int64)
    return Batch(Features.of(features), everything, everything, everything, labels=zero, index=zero)


def peak_memory_mib(device: torch.device) -> float:
    """Greatest memory of this worker so far, earlier trainings included: of a GPU, else resident, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
