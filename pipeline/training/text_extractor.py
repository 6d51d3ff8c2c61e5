"""`text_missing: unk`: the extractor that made a benchmark's text, found again to encode texts that lack words.

What it computes is decided by the store's provenance, which the benchmark carries: extractor, options, hash of the
weights. params.yaml is asked only where the weights are, which is no content. The extractor is loaded by name, so its
file is no dependency of a training: whatever changes its result changes text.h5, which is one.

A training that drops text runs the encoder in every step, and every process keeps a copy of it: with a BERT, many
times the cost of the method itself. `cost` counts the seconds, but neither the encoder's operations nor its parameters.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import registry
from pipeline.data.dataset import Dataset
from pipeline.data.reencoding import Reencoder
from pipeline.data.store import FeatureStore
from pipeline.errors import ContractError, DataError, ParamsError
from pipeline.files import read_json
from pipeline.methods.protocol import Variant
from pipeline.section import options
from pipeline.training.params import MethodParams

_RANDOM = "random"


@dataclass(frozen=True)
class TextExtractor:
    """What a process needs to build the extractor of a benchmark's text.

    Args:
        name: module in pipeline/extractors.
        options: as the store has them, JSON.
        weights: folder or file, `random`, or None.
    """

    name: str
    options: str
    weights: Path | str | None

    def attach(self, data: Dataset) -> Dataset:
        """The dataset, in the extractor's own units, whose dropped text is encoded anew."""
        extractor = _built(self)

        def encode(texts: Sequence[Any]) -> list[Any]:
            return [features.values for features in extractor.extract(texts)]

        own = Reencoder(encode, extractor.unknown_token, tuple(extractor.framing_tokens))
        text = replace(data.columns["text"], reencoder=own)
        return replace(data, columns=data.columns | {"text": text})


def cannot_reencode(folder: Path) -> str | None:
    """Why the text of a benchmark cannot be encoded without some words, or None."""
    made = _provenance(folder)
    has = f"the text is {made['feature_set']} by {made['extractor']}"
    if not made["tokens"]:
        return f"text_missing: unk needs the tokens of the text, {has}, which gives none"
    if made["extractor"] not in registry.names("extractors") or not hasattr(_entry(made["extractor"]), "unknown_token"):
        return f"text_missing: unk needs an extractor that encodes tokens with [UNK] among them, {has}"
    return None


def find_text_extractor(
    folder: Path, rows: Sequence[Variant], locations: Mapping[str, str | None]
) -> TextExtractor | None:
    """The extractor, checked, if any of some rows asks for it.

    Args:
        folder: of the benchmark, which has what `cannot_reencode` looks for.
        rows: of the method.
        locations: `weights` of every feature set of params.yaml.

    Raises:
        DataError: the weights are missing, or are not those that made the text.
        ParamsError: texts were cut after they had been encoded.
    """
    if all(row.params.text_missing == "zero" for row in rows):
        return None
    made = _provenance(folder)
    found = TextExtractor(made["extractor"], json.dumps(made["options"], sort_keys=True), _weights(made, locations))
    _check_whole(folder, made, found)
    return found


def with_missing_text(data: Dataset, params: MethodParams, extractor: TextExtractor | None) -> Dataset:
    """The dataset as a row with these parameters wants it.

    Raises:
        ContractError: it asks for [UNK] and no extractor was found for it.
    """
    if params.text_missing == "zero":
        return data
    if extractor is None:
        raise ContractError("text_missing: unk without an extractor, expected the one of find_text_extractor")
    return extractor.attach(data)


def _weights(made: Mapping[str, Any], locations: Mapping[str, str | None]) -> Path | str | None:
    if made["random_weights"]:
        return _RANDOM
    if made["weights_sha256"] is None:
        return None
    name, checkpoint = made["feature_set"], _entry(made["extractor"]).checkpoint
    where = f"params.yaml: features.{name}.weights"
    if name not in locations:
        raise DataError(f"{where}: no such feature set, but it made the text of this benchmark; run `dvc repro`")
    path: Path = checkpoint.find(locations[name], where)
    digest = checkpoint.sha256(path)
    if digest != made["weights_sha256"]:
        raise DataError(
            f"{where}: those in {path} have {digest}, the text of this benchmark was made with "
            f"{made['weights_sha256']}; put these in place or run `dvc repro`"
        )
    return path


def _check_whole(folder: Path, made: Mapping[str, Any], extractor: TextExtractor) -> None:
    """A text that was cut after encoding knows its end, which cannot be encoded anew."""
    with FeatureStore(folder / "text.h5") as store:
        tokens, lengths = store.whole("tokens"), store.lengths()
    last = tokens[np.cumsum(lengths)[lengths > 0] - 1]
    cut = int((~np.isin(last, _made(extractor).framing_tokens)).sum())
    if cut:
        limit = read_json(folder / "task.json")["max_lengths"]["text"]
        raise ParamsError(
            f"params.yaml: features.{made['feature_set']}.options.{made['extractor']}.max_tokens: {cut} texts were cut "
            f"to the benchmark's max_lengths.text after they had been encoded, expected at most {limit}, so that "
            "text_missing: unk encodes what the benchmark has; set it there"
        )


@lru_cache(maxsize=1)
def _built(wanted: TextExtractor) -> Any:
    """The extractor with its network, one per process."""
    extractor = _made(wanted)
    with torch.random.fork_rng(devices=[]):  # the first pass builds the network; a library may draw weights for that
        extractor.extract([np.array(extractor.framing_tokens, np.int64)])
    return extractor


def _made(wanted: TextExtractor) -> Any:
    module = registry.load("extractors", wanted.name)
    own = options(module.Options, json.loads(wanted.options), wanted.name)
    return _entry(wanted.name)(own, wanted.weights, {})


def _entry(extractor: str) -> Any:
    return registry.entry_class(registry.load("extractors", extractor), "extract")


def _provenance(folder: Path) -> dict[str, Any]:
    """What made the text: the store's provenance and the name of the feature set."""
    made: dict[str, Any] = read_json(folder / "task.json")["features"]["text"]
    return made
