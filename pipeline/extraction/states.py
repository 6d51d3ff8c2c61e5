"""Weights of torch networks from files: tensors only, every name and shape checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError

if TYPE_CHECKING:
    import torch

_NESTED = ("model_state", "state_dict")
_SHOWN = 3


def load_weights(network: "torch.nn.Module", path: Path, model: str, how: str, unused: tuple[str, ...] = ()) -> None:
    """Fill a network from a file of safetensors or of torch; what the file calls counters of batches is left out.

    Args:
        network: gets the weights, in place.
        path: the file.
        model: what it must be, for messages.
        how: to get it, for messages.
        unused: beginnings of names that may be in the file and are not in the network.

    Raises:
        DataError: no such file, or the weights of something else.
    """
    expected = {name: tensor.shape for name, tensor in network.state_dict().items() if _counts(name)}
    found = _read(path, model, how)
    state = {name: tensor for name, tensor in found.items() if _counts(name) and not name.startswith(unused)}
    wrong = {
        "without": [name for name in expected if name not in state],
        "with unknown": [name for name in state if name not in expected],
        "with another shape of": [name for name in state if state[name].shape != expected.get(name)],
    }
    for problem, names in wrong.items():
        if names:
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            raise DataError(f"{path}: weights {problem} {shown}, expected {model}; {how}")
    network.load_state_dict(state, strict=False)


def _counts(name: str) -> bool:
    """Whether a tensor changes what the network computes."""
    return not name.endswith("num_batches_tracked")


def _read(path: Path, model: str, how: str) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors.torch import load_file

    try:
        found: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # both parsers meet damage with whatever exception comes first
        reason = str(error).partition("\n")[0][:120]
        raise DataError(
            f"{path}: neither safetensors nor tensors that torch reads without running code ({reason}), expected "
            f"{model}; {how}"
        ) from None
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not (isinstance(found, Mapping) and found and all(isinstance(value, torch.Tensor) for value in found.values())):
        raise DataError(f"{path}: a {type(found).__name__} that is not names and tensors, expected {model}; {how}")
    return dict(found)
