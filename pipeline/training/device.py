"""Where networks compute: the environment's choice, never a parameter."""

import os
import re

import torch

from pipeline.errors import ParamsError
from pipeline.execution.jobs import one_thread


def compute_device() -> torch.device:
    """`LACUNA_DEVICE` (cpu, cuda, cuda:1 ...), by default a GPU where there is one.

    Raises:
        ParamsError: the device is not there.
    """
    wanted = os.environ.get("LACUNA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    named = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    here = torch.cuda.device_count() if named and torch.cuda.is_available() else 0
    if wanted != "cpu" and not (named and int(named[1] or 0) < here):
        raise ParamsError(f"LACUNA_DEVICE: '{wanted}' is not here, expected cpu or a CUDA device that torch can see")
    return torch.device(wanted)


def start_computing() -> torch.device:
    """Choose the device and pin whatever would change the last bits: one thread, deterministic kernels, no TF32."""
    one_thread()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's matrix library starts
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which imports torch's compiler
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return compute_device()


def jobs_at_once() -> int | None:
    """How many jobs may share the device unless `LACUNA_JOBS` says so: one on a GPU, on CPUs one per processor."""
    return None if compute_device().type == "cpu" else 1
