from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.methods.chfn import CHFN, Params, shift
from pipeline.methods.protocol import variants
from pipeline.nn.positions import sinusoidal
from pipeline.training.cost import multiply_accumulates, parameters
from tests.networks import STUDY_TRAINING, assert_finite_gradients, assert_learns_by_heart, keep_only, paper_spec

TINY = {"width": 8, "heads": 2, "layers": 2, "ffn": 16}
NO_DROPOUT = {"embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0}


def untrained(data, **block):
    torch.manual_seed(0)
    return CHFN(Params.model_validate({**TINY, **block}), Spec.of(data))


def test_parameters_are_as_many_as_published():
    assert parameters(CHFN(Params(), paper_spec())) == 1_197_509


def test_multiply_accumulates_are_those_of_the_layers():
    width, ffn, text, nonverbal = 128, 512, 50, 440
    projections = text * 768 * width + nonverbal * 512 * width
    attention = 2 * text * width**2 + 2 * nonverbal * width**2 + 2 * text * nonverbal * width
    gru = 2 * 2 * text * 3 * 64 * (width + 64)  # two layers, two directions
    head = gru + text * 3 * width + text * 2 * width * 64 + 64 * width + width * 4
    expected = projections + 4 * (attention + 2 * text * width * ffn) + head
    assert multiply_accumulates(CHFN(Params(), paper_spec()), paper_spec()) == expected


def test_defaults_are_those_of_the_adapted_form():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn, params.beta) == (128, 4, 4, 512, 1.0)
    assert (params.embed_dropout, params.attention_dropout, params.ffn_dropout) == (0.25, 0.0, 0.1)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING
    assert params.regime == "complete"
    assert not params.pe_skip_zero


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"methods\.chfn\.heads: found 3 heads for width 128"):
        variants("chfn", {"heads": 3})
    with pytest.raises(ParamsError, match=r"methods\.chfn\.width: found 9"):
        variants("chfn", {"width": 9, "heads": 3})


@pytest.mark.parametrize(
    ("available", "reason"),
    [
        (("audio", "vision"), "needs text, the benchmark has audio, vision"),
        ((), "needs text, the benchmark has none"),
        (("text",), "needs 2 modalities, the benchmark has text"),
        (("text", "vision"), None),
        (("text", "audio"), None),
    ],
)
def test_text_and_something_nonverbal_are_needed(available, reason):
    assert CHFN.needs.unmet(paper_spec(available=available)) == reason


def test_a_shift_is_never_longer_than_beta_tokens_nor_than_itself():
    x, update = torch.randn(4, 6, 8), 3 * torch.randn(4, 6, 8)
    x[0, 0] = 0.0
    for beta in (0.5, 1.0, 100.0):
        shifted = shift(x, update, beta)
        length = torch.minimum(beta * x.norm(dim=-1), update.norm(dim=-1))
        torch.testing.assert_close(shifted.norm(dim=-1), length)
        torch.testing.assert_close(torch.cosine_similarity(shifted, update, dim=-1).gt(0.999), length > 0)


def test_the_gradient_flows_through_gamma_and_is_finite_at_a_zero_token():
    x = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    update = torch.tensor([[[0.0, 10.0], [1.0, 2.0]]], requires_grad=True)
    shift(x, update, 1.0)[0, 0, 1].backward()  # = |x| in effect
    torch.testing.assert_close(x.grad, torch.tensor([[[0.6, 0.8], [0.0, 0.0]]]))
    x.grad = update.grad = None
    shift(x, update, 1.0).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(update.grad).all()


def test_positions_run_over_the_admitted_audio_and_then_over_vision(data):
    network = untrained(data).network.eval()
    for projection in network.projections.values():
        nn.init.zeros_(projection.weight)
    batch = data.batch(torch.tensor([5, 6]))
    admitted = data.max_lengths["audio"]
    table = sinusoidal(admitted + data.max_lengths["vision"], 8)
    for m, start in (("text", 0), ("audio", 0), ("vision", admitted)):
        found = network._embed(batch, m)
        torch.testing.assert_close(found, table[start : start + found.shape[1]].expand_as(found))


def test_vision_comes_first_where_a_benchmark_has_no_audio():
    network = CHFN(Params(), paper_spec(available=("text", "vision"))).network
    assert network.starts == {"text": 0, "vision": 0}
    assert set(network.projections) == {"text", "vision"}


def test_the_layers_are_those_of_the_equations(data):
    method = untrained(data, beta=0.5)
    network = method.network.eval()
    batch = data.batch(torch.tensor([0]))  # nothing is padded
    x = network._embed(batch, "text")
    source = torch.cat([network._embed(batch, "audio"), network._embed(batch, "vision")], dim=1)
    for layer in network.layers:
        update = layer(x, source)
        gamma = (0.5 * x.norm(dim=-1) / (update.norm(dim=-1) + 1e-6)).clamp(max=1.0)
        x = x + gamma[..., None] * update
    whole = torch.ones(1, x.shape[1], dtype=torch.bool)
    expected = network.head.classify(network.head.embed({"text": network.norm(x)}, {"text": whole}))
    torch.testing.assert_close(network(batch), expected)


def test_an_utterance_without_a_step_of_text_still_depends_on_audio_and_vision(data):
    method = untrained(data)
    row = torch.tensor([1])  # has no text
    batch = data.batch(row)
    assert batch.features["text"].shape[1] == 0
    scores = method.predict(batch).scores
    assert torch.isfinite(scores).all()
    for m in ("audio", "vision"):
        moved = replace(batch, features={**batch.features, m: batch.features[m] + 1})
        assert not torch.allclose(method.predict(moved).scores, scores)


def test_an_utterance_without_a_step_of_text_is_read_as_one_missing_token(data, make):
    method = untrained(data)
    whole = make(whole=True, steps=1)
    row = torch.tensor([1])
    missing = whole.batch(row, keep_only(whole, "audio", "vision"))
    nothing = replace(
        missing,
        features={**missing.features, "text": missing.features["text"][:, :0]},
        **{
            name: {**getattr(missing, name), "text": getattr(missing, name)["text"][:, :0]}
            for name in ("valid", "present", "observed")
        },
    )
    assert torch.equal(method.predict(missing).scores, method.predict(nothing).scores)


def test_without_positions_at_zero_steps_missing_text_cannot_be_moved(data):
    rows = torch.arange(len(data))
    batch = data.batch(rows, keep_only(data, "audio", "vision"))
    for skip in (True, False):
        method = untrained(data, pe_skip_zero=skip)
        embedded = method.network.eval()._embed(batch, "text")
        assert bool(embedded.any()) is not skip
        moved = replace(batch, features={m: x + 1 if m != "text" else x for m, x in batch.features.items()})
        unmoved = torch.allclose(method.predict(batch).scores, method.predict(moved).scores)
        assert unmoved is skip


@pytest.mark.parametrize("skip", [False, True])
def test_gradients_are_finite_whatever_is_absent(skip, data):
    method = untrained(data, pe_skip_zero=skip)
    for rows in ([4], [0, 4], [1], [2], [3], [0]):
        for keep in (None, keep_only(data, "audio"), keep_only(data, "text"), keep_only(data)):
            assert_finite_gradients(method, data.batch(torch.tensor(rows), keep))


def test_it_can_learn_32_utterances_by_heart(noise):
    method = untrained(noise, **NO_DROPOUT, width=16, learning_rate=3e-3, epochs=60)
    assert_learns_by_heart(method, noise)
