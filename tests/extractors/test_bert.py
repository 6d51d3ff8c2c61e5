"""BERT: its size, its tokens, re-encoding with words left out."""

from importlib import metadata

import numpy as np
import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.extractors.bert import Bert, Options

SENTENCE = "I am so happy to see you!"
PIECES = [101, 1045, 2572, 2061, 3407, 2000, 2156, 2017, 999, 102]
UNKNOWN = 100


@pytest.fixture(scope="module")
def bert() -> Bert:
    return Bert(Options(precision="float32"), "random", {})


def test_parameters_are_those_of_bert_base_uncased(bert):
    parameters = sum(parameter.numel() for parameter in bert.network.module.parameters())
    pooler = 768 * 768 + 768
    assert parameters == 108_891_648
    assert parameters + pooler == 109_482_240


def test_steps_are_word_pieces_with_their_tokens_marks_included(bert):
    features = bert.extract([bert.prepare("u", SENTENCE)])[0]
    assert features.values.shape == (10, bert.dim) == (10, 768)
    assert features.values.dtype == np.float32
    assert features.tokens.dtype == np.int32
    assert features.tokens.tolist() == PIECES
    assert features.present is None


def test_steps_are_means_of_the_last_layers(bert):
    single = [Bert(Options(layers=n, precision="float32"), "random", {}) for n in (1, 2)]
    for other in single:
        other.network.__dict__["module"] = bert.network.module
    last, last_two = (other.extract([np.array(PIECES)])[0].values for other in single)
    states = bert.network.module(torch.tensor([PIECES]), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(last, states[-1][0].numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(last_two, (states[-1] + states[-2])[0].numpy() / 2, rtol=0, atol=1e-5)


def test_changed_ids_are_encoded_anew_and_change_their_neighbours_too(bert):
    ids = bert.prepare("u", SENTENCE)
    assert ids.dtype == np.int64
    masked = ids.copy()
    masked[4] = UNKNOWN
    whole, without = bert.extract([ids, masked])
    assert without.tokens.tolist() == [*PIECES[:4], UNKNOWN, *PIECES[5:]]
    assert (np.abs(without.values - whole.values).max(1) > 1e-3).all()
    assert bert.prepare("u", "I am so [UNK] to see you!").tolist() == masked.tolist()


def test_it_says_which_id_stands_for_any_word_and_which_frame_a_text(bert):
    assert bert.unknown_token == UNKNOWN
    assert bert.framing_tokens == (PIECES[0], PIECES[-1])


def test_a_batch_of_one_gives_the_same_numbers(bert):
    texts = [SENTENCE, "a", "That was not what we had in mind.", "never " * 30, " \n "]
    prepared = [bert.prepare("u", text) for text in texts]
    for ids, together in zip(prepared, bert.extract(prepared), strict=True):
        alone = bert.extract([ids])[0]
        np.testing.assert_allclose(
            together.values, alone.values, rtol=0, atol=1e-5 * np.abs(alone.values).max(initial=1.0)
        )


def test_numbers_are_those_measured_before(bert):
    """Measured on 2026-11-21 with transformers 5.23.0 and torch 2.13.0."""
    values = bert.extract([bert.prepare("u", SENTENCE)])[0].values
    np.testing.assert_allclose(values.mean(0)[[0, 1, 5]], [0.8191884, 0.6523461, 0.58183324], rtol=2e-3)


def test_text_of_marks_only_is_present_and_white_space_is_not(bert):
    dots, nothing = bert.extract([bert.prepare("u", "..."), bert.prepare("u", "\n ")])
    assert dots.values.shape == (5, 768)
    assert nothing.values.shape == (0, 768)
    assert nothing.tokens.shape == (0,)


def test_more_layers_than_the_model_has_are_refused():
    with pytest.raises(
        ParamsError, match=r"options\.bert\.layers: found 13, expected at most 12, the layers of bert-b"
    ):
        Bert(Options(layers=13), "random", {})


def test_version_names_the_packages_and_the_module(bert):
    assert bert.version.endswith(", bert 1")
    assert metadata.version("transformers") in bert.version
