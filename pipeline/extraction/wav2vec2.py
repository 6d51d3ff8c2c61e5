"""The network of wav2vec 2.0: its convolutions with lengths, channels last, and transformers' own transformer.

Convolutions are matrix products over strided views of `(B, L, C)`: that is as fast as `Conv1d` or faster, and the norms
over channels need no transposition. The base model normalises its first layer over time, each channel by itself; here
mean and variance are those of an input's own frames, so padding changes nothing, and since that layer is linear in the
samples they follow from the moments of its windows (in float64) and are folded into its weights.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import DataError

Config = Mapping[str, Any]

_PREFIX = "wav2vec2."
_RENAMED = {
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}
_PARTS = ("feature_extractor.", "feature_projection.", "encoder.")


class ConvLayer(nn.Module):
    """One strided convolution, its norm if it has one, and GELU.

    Args:
        before: channels that come in; 1 where the norm is over time.
        after: channels that go out.
        kernel: samples of a window, `stride` or more.
        stride: samples from window to window.
        bias: whether the convolution has one.
        norm: over `time` (the frames of an input, channel by channel), over `channels`, or None.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, bias: bool, norm: str | None) -> None:
        """Make the weights; names and shapes are those of the checkpoints."""
        super().__init__()
        self.kernel, self.stride, self.norm = kernel, stride, norm
        self.conv = nn.Conv1d(before, after, kernel, stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        if norm:
            self.layer_norm = nn.GroupNorm(after, after) if norm == "time" else nn.LayerNorm(after)

    def frames(self, samples: Any) -> Any:
        """How many steps so many give, a number or a tensor of them."""
        return (samples - self.kernel) // self.stride + 1

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """From `(B, L, C)`, of which `lengths` `(B,)` are an input's own, to `(B, L', C')`."""
        if self.norm == "time":
            return functional.gelu(self._normalised_over_time(x, lengths))
        y = self._convolve(x)
        return functional.gelu(self.layer_norm(y) if self.norm else y)

    def _convolve(self, x: Tensor) -> Tensor:
        taps = self.conv.weight.permute(2, 1, 0)  # (k, C, C')
        steps = self.frames(x.shape[1])
        # The first `stride` taps meet every sample once: one product of a view, and one for each tap that is left.
        y = x[:, : steps * self.stride].reshape(len(x), steps, -1) @ taps[: self.stride].flatten(0, 1)
        for tap in range(self.stride, self.kernel):
            y += x[:, tap :: self.stride][:, :steps] @ taps[tap]
        if self.conv.bias is not None:
            y += self.conv.bias
        return y  # (B, L', C')

    def _normalised_over_time(self, x: Tensor, lengths: Tensor) -> Tensor:
        windows = x[..., 0].unfold(1, self.kernel, self.stride)  # (B, L', k)
        own = self.frames(lengths)[:, None]
        exact = windows.double() * (torch.arange(windows.shape[1], device=x.device) < own)[..., None]
        mean = exact.sum(1) / own  # (B, k)
        covariance = exact.mT @ exact / own[..., None] - mean[..., None] * mean[:, None]  # (B, k, k)
        taps = self.conv.weight[:, 0].mT.double()  # (k, C')
        variance = (taps * (covariance @ taps)).sum(1).clamp(min=0)  # (B, C')
        scale = self.layer_norm.weight / (variance + self.layer_norm.eps).sqrt()
        shift = self.layer_norm.bias - (mean @ taps) * scale  # a bias of the convolution would cancel here
        return torch.baddbmm(shift[:, None].float(), windows, (taps * scale[:, None]).float())  # (B, L', C')


class Convolutions(nn.Module):
    """From samples to what transformers calls `extract_features`: 512 channels, after their LayerNorm.

    Args:
        config: entries of config.json.
    """

    def __init__(self, config: Config) -> None:
        """Make the layers; names are those of the checkpoints."""
        super().__init__()
        widths, norm = [1, *config["conv_dim"]], config["feat_extract_norm"]
        norms = ["channels" if norm == "layer" else None if layer else "time" for layer in range(len(widths) - 1)]
        shapes = zip(widths[:-1], widths[1:], config["conv_kernel"], config["conv_stride"], strict=True)
        layers = [ConvLayer(*shape, config["conv_bias"], norm) for shape, norm in zip(shapes, norms, strict=True)]
        self.feature_extractor = nn.ModuleDict({"conv_layers": nn.ModuleList(layers)})
        self.feature_projection = nn.ModuleDict({"layer_norm": nn.LayerNorm(widths[-1], config["layer_norm_eps"])})

    @property
    def layers(self) -> list[ConvLayer]:
        """The convolutions, first to last."""
        return list(cast(Any, self.feature_extractor["conv_layers"]))

    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """From `(B, L)` float32, of which `lengths` `(B,)` are an input's own, to `(B, T, 512)`."""
        return self.convolved(samples, lengths)[0]

    def convolved(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The features `(B, T, 512)`, and how many of their steps are an input's own, `(B,)`."""
        x = samples[..., None]
        for layer in self.layers:
            x, lengths = layer(x, lengths), layer.frames(lengths)
        return self.feature_projection["layer_norm"](x), lengths

    def settle(self) -> None:
        """Lay the weights out in memory as they are read."""
        for layer in self.layers:
            layer.conv.weight.data = layer.conv.weight.data.permute(2, 1, 0).contiguous().permute(2, 1, 0)


class Transformer(Convolutions):
    """The convolutions and the transformer on top of them: the mean of its last layers.

    Args:
        config: entries of config.json.
        layers: how many of the last layers are averaged.
    """

    def __init__(self, config: Config, layers: int) -> None:
        """Make the modules; names are those of the checkpoints."""
        from transformers import AutoModel, Wav2Vec2Config

        super().__init__(config)
        model = AutoModel.from_config(Wav2Vec2Config.from_dict(dict(config)), attn_implementation="sdpa")
        self.feature_projection["projection"] = model.feature_projection.projection
        self.encoder = model.encoder
        self._norm_first = bool(config["do_stable_layer_norm"])
        self._averaged = layers

    def forward(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """From `(B, L)` float32, of which `lengths` `(B,)` are an input's own, to `(B, T, hidden_size)`."""
        x, own = self.convolved(samples, lengths)
        inside = torch.arange(x.shape[1], device=x.device) < own[:, None]  # (B, T)
        x = self.feature_projection["projection"](x) * inside[..., None]
        x = x + self.encoder.pos_conv_embed(x)
        if not self._norm_first:
            x = self.encoder.layer_norm(x)
        mask = inside[:, None, None] if len(x) > 1 else None  # (B, 1, 1, T): heads and queries share it
        states: list[Tensor] = []
        for layer in self.encoder.layers:
            x = layer(x, attention_mask=mask)
            states = [*states, x][-self._averaged :]
        return torch.stack(states).mean(0) if len(states) > 1 else x

    def settle(self) -> None:
        """Lay the weights out in memory as they are read, and multiply out the weight norm."""
        super().settle()
        nn.utils.parametrize.remove_parametrizations(self.encoder.pos_conv_embed.conv, "weight")


def untrained(config: Config, layers: int | None) -> Convolutions:
    """The network with random weights.

    Args:
        config: entries of config.json.
        layers: of the transformer, to be averaged; None for the convolutions alone.
    """
    network = _made(config, layers)
    network.settle()
    return network


def trained(config: Config, layers: int | None, folder: Path) -> Convolutions:
    """The network with the weights of a folder; without the transformer, its weights are not read.

    Raises:
        DataError: the file is damaged, or its weights are not those that config.json says.
    """
    with torch.device("meta"):
        network = _made(config, layers)
    wanted = network.state_dict()
    path = next(folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file())
    found = _read(path, set(wanted))
    fix = f"expected what {folder / 'config.json'} says; put both files of one model there"
    for name, tensor in wanted.items():
        if name not in found:
            raise DataError(f"{path}: no weights '{name}', {fix}")
        if found[name].shape != tensor.shape:
            raise DataError(f"{path}: '{name}' is {tuple(found[name].shape)}, not {tuple(tensor.shape)}, {fix}")
    if layers is not None and (more := sorted(set(found) - set(wanted))):
        raise DataError(f"{path}: weights '{more[0]}' that the model has no place for, {fix}")
    network.load_state_dict({name: found[name].float() for name in wanted}, assign=True)
    network.settle()
    return network


def _made(config: Config, layers: int | None) -> Convolutions:
    return Convolutions(config) if layers is None else Transformer(config, layers)


def _read(path: Path, wanted: set[str]) -> dict[str, Tensor]:
    """The tensors of a file that are parts of the model, by today's names; of those not in `wanted` only the names."""
    import safetensors

    found = {}
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    name = _today(key)
                    found[name] = file.get_tensor(key) if name in wanted else torch.empty(0)
        else:
            tensors = torch.load(path, weights_only=True, map_location="cpu", mmap=zipfile.is_zipfile(path))
            found = {_today(key): tensor for key, tensor in tensors.items()}
    except Exception as error:  # both parsers meet damage with whatever exception comes first
        raise DataError(
            f"{path}: damaged or no weights ({error!r:.100}), expected a checkpoint; copy it again"
        ) from error
    return {name: tensor for name, tensor in found.items() if name.startswith(_PARTS)}


def _today(key: str) -> str:
    name = key.removeprefix(_PREFIX)
    return _RENAMED.get(name, name)
