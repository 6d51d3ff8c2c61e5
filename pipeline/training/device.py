"""Where networks compute: the environment's choice, never a parameter."""

import os

import torch

from pipeline.errors import ParamsError


def compute_device() -> torch.device:
    """`LACUNA_DEVICE` (cpu, cuda, cuda:1 ...), by default a GPU where there is one.

    Raises:
        ParamsError: the device is not there.
    """
    wanted = os.environ.get("LACUNA_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if wanted != "cpu" and not (wanted.startswith("cuda") and torch.cuda.is_available()):
        raise ParamsError(f"LACUNA_DEVICE: '{wanted}' is not here, expected cpu or a CUDA device that torch can see")
    return torch.device(wanted)
