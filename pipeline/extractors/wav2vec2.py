"""wav2vec 2.0: its convolutional features at 50 Hz, or hidden layers of its transformer.

Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations", NeurIPS 2020,
https://arxiv.org/abs/2006.11477. Weights: https://huggingface.co/facebook/wav2vec2-base-960h (94.4 M parameters, 12
layers of 768) or https://huggingface.co/jonatasgrosman/wav2vec2-large-xlsr-53-english (315.4 M, 24 layers of 1024;
Conneau et al., "Unsupervised Cross-Lingual Representation Learning for Speech Recognition", Interspeech 2021,
https://arxiv.org/abs/2006.13979).

A recording is scaled to zero mean and unit variance, as its feature extractor does, before anything is padded. A step
is a window of 400 samples, every 320: L <- floor((L - k) / s) + 1 over (k, s) = (10, 5), four times (3, 2), twice
(2, 2). A recording of less than 400 samples is followed by zeros up to that, so it has one step.

`conv_ln` (512) is what transformers calls `extract_features`, the convolutions' output after the LayerNorm of the
feature projection; the transformer is neither loaded nor run. `hidden` is the mean of the last `layers` of
`hidden_states`; in the XLSR model, whose norms come first, those are taken before the transformer's final LayerNorm.

A batch gives the numbers of a batch of one within 1e-5 of their scale in float32: see pipeline/extraction/wav2vec2.py.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from pipeline.data.streams import AUDIO_RATE
from pipeline.errors import DataError, ParamsError
from pipeline.extraction.network import Network, seeded
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import Features, NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

_BASE = {
    "model_type": "wav2vec2",
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "do_stable_layer_norm": False,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
"""Entries of config.json that decide the network; those that a file lacks have these values."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "base_960h": _BASE,
    "xlsr_53_english": _BASE
    | {
        "conv_bias": True,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}

_SAMPLES = 4 * AUDIO_RATE
_TINY = 1e-7
_REPOSITORIES = ("facebook/wav2vec2-base-960h", "jonatasgrosman/wav2vec2-large-xlsr-53-english")


class Options(NetworkOptions):
    """Options of `wav2vec2`.

    Args:
        output: `conv_ln`, convolutional features, or `hidden`, layers of the transformer.
        layers: how many of the last layers are averaged, for `hidden`.
        pool: `sequence`, a step every 20 ms, or `mean`, one step: their mean over time.
        architecture: what the weights must be, and what is built where they are `random`; null for whatever the
            folder's config.json says.
    """

    output: Literal["conv_ln", "hidden"] = "conv_ln"
    layers: int = Field(default=1, ge=1)
    pool: Literal["sequence", "mean"] = "sequence"
    architecture: Literal["base_960h", "xlsr_53_english"] | None = "base_960h"

    @model_validator(mode="after")
    def _layers_of_the_transformer(self) -> Self:
        if self.layers != 1 and self.output != "hidden":
            raise ValueError(f"layers is {self.layers} and output {self.output}, expected output hidden for layers")
        return self


class Wav2Vec2:
    """512 features (`conv_ln`), or the transformer's 768 or 1024, at 50 Hz or once."""

    stream: Literal["audio"] = "audio"
    checkpoint = Checkpoint(
        model=f"wav2vec 2.0, {' or '.join(_REPOSITORIES)}",
        url=" or ".join(f"https://huggingface.co/{name}" for name in _REPOSITORIES),
        files=("config.json", "preprocessor_config.json", "model.safetensors|pytorch_model.bin"),
    )
    shard = 64
    has_tokens = False

    def __init__(self, options: Options, weights: Weights, attrs: Mapping[str, Any]) -> None:
        """Read the configuration in the folder `weights`.

        Raises:
            DataError: a configuration of another kind of model.
            ParamsError: options that do not fit it.
        """
        self._folder = weights if isinstance(weights, Path) else None
        self._config = _described(self._folder, options) if self._folder else _built(options)
        if options.layers > self._config["num_hidden_layers"]:
            raise ParamsError(
                f"params.yaml: options.wav2vec2.layers: found {options.layers}, expected at most "
                f"{self._config['num_hidden_layers']}, the layers of the model"
            )
        self._normalise = self._folder is None or _normalised(self._folder)
        self.dim = int(self._config["hidden_size"] if options.output == "hidden" else self._config["conv_dim"][-1])
        self.hop = prod(self._config["conv_stride"]) / AUDIO_RATE if options.pool == "sequence" else None
        hidden = f"transformers {version('transformers')}, " if options.output == "hidden" else ""
        self.version = f"{hidden}torch {version('torch').partition('+')[0]}, wav2vec2 1"
        self._options = options
        self.network = Network(self._build, options.precision, _SAMPLES)

    def prepare(self, utt_id: str, content: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Normalised samples `(L,)` float32, L >= 400."""
        signal = content.astype(np.float32) / 32768
        if self._normalise:
            signal = (signal - signal.mean()) / np.sqrt(signal.var() + _TINY)
        return np.pad(signal, (0, max(0, self._shortest - len(signal))))

    def extract(self, prepared: Sequence[npt.NDArray[np.float32]]) -> list[Features]:
        """Values `(T, dim)` float32 for every recording; T = 1 with `pool: mean`."""
        found = self.network.run(prepared, lambda network, batch, lengths: network(batch, lengths), self._steps)
        if self._options.pool == "mean":
            found = [np.asarray(values.mean(0, np.float64, keepdims=True), np.float32) for values in found]
        return [Features(values) for values in found]

    def _steps(self, samples: int) -> int:
        for kernel, stride in zip(self._config["conv_kernel"], self._config["conv_stride"], strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    @cached_property
    def _shortest(self) -> int:
        """Samples of one step."""
        samples = 1
        for kernel, stride in zip(self._config["conv_kernel"][::-1], self._config["conv_stride"][::-1], strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def _build(self) -> "torch.nn.Module":
        from pipeline.extraction.wav2vec2 import trained, untrained

        layers = self._options.layers if self._options.output == "hidden" else None
        if self._folder:
            return trained(self._config, layers, self._folder)
        return seeded(lambda: untrained(self._config, layers))


def _built(options: Options) -> dict[str, Any]:
    """The configuration for random weights."""
    if options.architecture is None:
        raise ParamsError(
            "params.yaml: options.wav2vec2.architecture: found null with random weights, expected one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[options.architecture]


def _described(folder: Path, options: Options) -> dict[str, Any]:
    """The configuration in a folder, where this module can run it and `architecture` agrees."""
    path = folder / "config.json"
    config = _BASE | _entries(path)
    for key, known in {
        "model_type": ["wav2vec2"],
        "feat_extract_activation": ["gelu"],
        "feat_extract_norm": ["group", "layer"],
    }.items():
        if config[key] not in known:
            expected = f"expected {' or '.join(known)}; get a wav2vec 2.0 model from {Wav2Vec2.checkpoint.url}"
            raise DataError(f"{path}: {key}: found '{config[key]}', {expected}")
    wanted = ARCHITECTURES[options.architecture] if options.architecture else {}
    for key, value in wanted.items():
        if config[key] != value:
            raise ParamsError(
                f"params.yaml: options.wav2vec2.architecture: found {options.architecture}, where {key} is {value}; "
                f"{path} says {config[key]}; name the right architecture, or null for whatever is there"
            )
    return config


def _normalised(folder: Path) -> bool:
    """Whether the model wants samples of zero mean and unit variance."""
    path = folder / "preprocessor_config.json"
    entries = _entries(path)
    rate = entries.get("sampling_rate", AUDIO_RATE)
    if rate != AUDIO_RATE:
        raise DataError(f"{path}: sampling_rate: found {rate}, expected {AUDIO_RATE}; take a model of 16 kHz speech")
    return bool(entries.get("do_normalize", True))


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({error}), expected the model's own file; copy it again") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path}: found {type(entries).__name__}, expected entries; copy the model's own file again")
    return entries
