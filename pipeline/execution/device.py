"""Where networks compute: the environment's choice, never a parameter."""

import os
import re

import torch

from pipeline.errors import ParamsError
from pipeline.execution.jobs import device_elsewhere, engine
from pipeline.execution.memory import keep_freed_memory
from pipeline.execution.threads import one_thread

_CUDA = re.compile(r"cuda(?::(\d+))?")


def compute_device() -> torch.device:
    """`LACUNA_DEVICE` (cpu, cuda, cuda:1 ...), by default a GPU where there is one.

    With `cuda`, local workers take the GPUs of this machine in turn. When jobs run on another engine, it is their
    device, which this machine need not have.

    Raises:
        ParamsError: the device is not there.
    """
    if engine() != "local":
        wanted = device_elsewhere()
        if wanted != "cpu" and not _CUDA.fullmatch(wanted):
            raise ParamsError(f"LACUNA_DEVICE: found '{wanted}', expected cpu, cuda or cuda:<number>")
        return torch.device(wanted)
    wanted = os.environ.get("LACUNA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    named = _CUDA.fullmatch(wanted)
    here = torch.cuda.device_count() if named and torch.cuda.is_available() else 0
    if wanted != "cpu" and not (named and int(named[1] or 0) < here):
        raise ParamsError(f"LACUNA_DEVICE: '{wanted}' is not here, expected cpu or a CUDA device that torch can see")
    worker = os.environ.get("LACUNA_WORKER")
    if worker and wanted == "cuda" and here > 1:
        return torch.device("cuda", int(worker) % here)
    return torch.device(wanted)


def start_computing() -> torch.device:
    """Choose the device and pin whatever would change the last bits: one thread, deterministic kernels, no TF32."""
    one_thread()
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's matrix library starts
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which imports torch's compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # spares a pass per tensor
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = compute_device()
    if device.index is not None:
        torch.cuda.set_device(device)  # or whatever names no device would go to the first
    return device


def jobs_at_once() -> int | None:
    """How many jobs may share the devices here unless `LACUNA_JOBS` says so: one per GPU, or one per processor.

    None where the number of processors decides, or another engine.
    """
    if engine() != "local" or compute_device().type == "cpu":
        return None
    return torch.cuda.device_count() if compute_device().index is None else 1


def fits_are_stacked() -> bool:
    """Whether fits that are alike are done in one go: on a GPU, which idles with one; processors take one each."""
    return engine() == "local" and compute_device().type == "cuda"
