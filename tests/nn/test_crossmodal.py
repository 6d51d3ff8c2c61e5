from functools import partial

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.steps import Steps
from pipeline.nn.crossmodal import Encoder, PairwiseStreams, TransposedEncoder, first_step_valid
from pipeline.nn.positions import sinusoidal
from tests.networks import count, draw, perturbed, valid_of

MODALITIES = ("text", "audio", "vision")
DIMS = {"text": 5, "audio": 4, "vision": 3}
STEPS = {"text": 4, "audio": 7, "vision": 3}
LONG = {"text": 50, "audio": 400, "vision": 40}
KERNELS = {"text": 1, "audio": 3, "vision": 3}


def small(**options):
    return Encoder(8, 2, 2, 16, **options)


def transposed(steps, heads=5):
    return perturbed(
        TransposedEncoder(steps, lambda width, heads: Encoder(width, heads, 2, 16, positions=False), heads)
    )


def streams_of(own=False, kernels=KERNELS, dims=DIMS):
    return perturbed(PairwiseStreams(dims, 8, kernels, lambda target, source: small(), own))


def padded_batch(lengths, steps=STEPS):
    """Features that are 0 in padding, and valid steps; `lengths` per modality, one per utterance."""
    valid = {m: valid_of(*lengths[m], steps=steps[m]) for m in MODALITIES}
    features = {m: Steps.of(draw(len(v), 9, DIMS[m])[:, : steps[m]] * v[..., None]) for m, v in valid.items()}
    return features, valid


def test_encoders_have_the_published_sizes():
    assert count(Encoder(128, 4, 4, 512)) == 4 * 198_272 + 256
    make = partial(Encoder, layers=2, positions=False)
    widths = [TransposedEncoder(t, lambda width, heads: make(width, heads, ffn=4 * width), 5) for t in LONG.values()]
    assert sum(map(count, widths)) == 3_952_120


@pytest.mark.parametrize(("own", "operations"), [(False, 212.1e6), (True, 350.5e6)])
def test_a_layer_of_all_encoders_has_the_published_operations(own, operations):
    def block(target, source):
        return Encoder(128, 4, 1, 512)

    module = PairwiseStreams(dict.fromkeys(LONG, 1), 128, KERNELS, block, own).eval()
    valid = {m: torch.ones(1, t, dtype=torch.bool) for m, t in LONG.items()}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module({m: Steps.of(torch.zeros(1, t, 1)) for m, t in LONG.items()}, valid)
    convolutions = 128 * sum(t * KERNELS[m] for m, t in LONG.items())
    assert counter.get_total_flops() / 2 - convolutions == pytest.approx(operations, rel=2e-4)


def test_an_encoder_embeds_its_source_once_and_normalises_at_the_end():
    encoder = perturbed(small())
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    state, attended = (8**0.5 * y + sinusoidal(y.shape[1], 8) for y in (x, source))
    for block in encoder.blocks:
        state = block(state, attended, valid)
    torch.testing.assert_close(encoder(x, source, valid), encoder.norm(state))


def test_without_a_source_every_block_attends_to_what_it_updates():
    encoder = perturbed(small())
    x, valid = draw(2, 5, 8), valid_of(5, 2, steps=5)
    state = 8**0.5 * x + sinusoidal(5, 8)
    for block in encoder.blocks:
        state = block(state, state, valid)
    torch.testing.assert_close(encoder(x, valid=valid), encoder.norm(state))


def test_without_positions_order_is_irrelevant():
    x, order = draw(2, 5, 8), torch.tensor([3, 0, 4, 1, 2])
    blind, sighted = perturbed(small(positions=False)), perturbed(small())
    torch.testing.assert_close(blind(x[:, order]), blind(x)[:, order])
    assert not torch.allclose(sighted(x[:, order]), sighted(x)[:, order], atol=1e-3)


def test_a_step_that_starts_with_zero_may_have_no_position():
    skipping, plain = perturbed(small(skip_zero_positions=True)), perturbed(small())
    x = draw(2, 5, 8)
    assert torch.equal(skipping(x), plain(x))
    x[0, 2] = 0.0
    assert not torch.allclose(skipping(x)[0], plain(x)[0])
    seen = []
    skipping.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    skipping(x)
    assert not seen[0][0, 2].any()
    torch.testing.assert_close(seen[0][1], 8**0.5 * x[1] + sinusoidal(5, 8))


def test_the_padding_of_a_source_is_without_influence():
    encoder = perturbed(small())
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    found = encoder(x, source, valid)
    assert torch.equal(found, encoder(x, source.masked_fill(~valid[..., None], 1e3), valid))
    torch.testing.assert_close(encoder(x[1:], source[1:, :2], valid[1:, :2]), found[1:])


def test_embedding_dropout_is_drawn_for_target_and_source_in_training_only():
    encoder = Encoder(8, 2, 1, 16, embed_dropout=0.5, ffn_dropout=0.0, residual_dropout=0.0)
    x, shapes = draw(2, 3, 8), []
    encoder.dropout.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    assert not torch.equal(encoder(x, draw(2, 5, 8)), encoder(x, draw(2, 5, 8)))
    assert shapes == [(2, 3, 8), (2, 5, 8)] * 2
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_a_transposed_encoder_has_channels_for_tokens_and_continues_time_with_zeros():
    module = transposed(10)
    x = draw(2, 7, 3)
    tokens = functional.pad(x.transpose(1, 2), (0, 3))
    expected = module.encoder(tokens)
    assert expected.shape == (2, 3, 10)
    torch.testing.assert_close(module(x, torch.ones(2, 7, dtype=torch.bool)), expected.transpose(1, 2)[:, :7])
    # scaled by the root of its width, without positions
    state = 10**0.5 * tokens
    for block in module.encoder.blocks:
        state = block(state)
    torch.testing.assert_close(expected, module.encoder.norm(state))


def test_a_transposed_encoder_does_not_see_padding():
    module = transposed(10)
    x, valid = draw(2, 7, 3), valid_of(7, 4, steps=7)
    found = module(x, valid)
    assert torch.equal(found, module(x.masked_fill(~valid[..., None], 1e3), valid))
    torch.testing.assert_close(module(x[1:, :4], valid[1:, :4]), found[1:, :4])


def test_a_transposed_encoder_takes_more_padding_than_its_width():
    module = transposed(6)
    x, valid = draw(2, 9, 3), valid_of(6, 4, steps=9)
    found = module(x, valid)
    assert found.shape == (2, 9, 3)
    assert not found[:, 6:].any()
    torch.testing.assert_close(found[:, :6], module(x[:, :6], valid[:, :6]))


def test_utterances_of_a_transposed_encoder_do_not_attend_to_each_other():
    module = transposed(6)
    x = draw(4, 6, 3).requires_grad_()
    valid = torch.ones(4, 6, dtype=torch.bool)
    module(x, valid)[2].square().sum().backward()
    assert x.grad[2].any()
    assert not x.grad[[0, 1, 3]].any()


@pytest.mark.parametrize(("steps", "heads"), [(400, 5), (40, 5), (50, 5), (24, 4), (7, 1), (3, 3)])
def test_the_heads_of_a_transposed_encoder_divide_its_steps(steps, heads):
    module = transposed(steps)
    assert {block.attention.heads for block in module.encoder.blocks} == {heads}


def test_a_single_step_passes_a_transposed_encoder_as_it_is():
    module, x = transposed(1), draw(2, 1, 3)
    assert count(module) == 0
    assert torch.equal(module(x, torch.ones(2, 1, dtype=torch.bool)), x)


def test_rows_without_a_valid_step_get_their_first():
    found = first_step_valid(valid_of(3, 1, 0, steps=3))
    assert torch.equal(found, valid_of(3, 1, 1, steps=3))
    assert torch.equal(first_step_valid(valid_of(0, steps=1)), valid_of(1, steps=1))


@pytest.mark.parametrize("own", [False, True])
def test_streams_are_side_by_side_in_the_order_of_modalities_with_the_own_one_first(own):
    module = streams_of(own)
    features, valid = padded_batch({m: (t, t - 1) for m, t in STEPS.items()})
    found, steps = module(features, valid)
    assert all(torch.equal(steps[m], valid[m]) for m in MODALITIES)
    projected = {m: module.convolutions[m](x) for m, x in features.items()}
    for target in MODALITIES:
        others = [source for source in MODALITIES if source != target]
        expected = [
            module.encoders[f"{target}_from_{source}"](projected[target], projected[source], valid[source])
            for source in others
        ]
        if own:
            expected.insert(0, module.encoders[f"{target}_from_{target}"](projected[target], valid=valid[target]))
        torch.testing.assert_close(found[target], torch.cat(expected, -1))
        assert found[target].shape == (2, STEPS[target], module.width)


@pytest.mark.parametrize("own", [False, True])
def test_more_padding_does_not_change_streams_even_where_a_modality_is_absent(own):
    module = streams_of(own)
    lengths = {"text": (4, 0, 2, 0), "audio": (5, 3, 0, 0), "vision": (0, 3, 1, 0)}
    short, _ = module(*padded_batch(lengths, {"text": 4, "audio": 5, "vision": 3}))
    long, steps = module(*padded_batch(lengths, {"text": 6, "audio": 9, "vision": 4}))
    for m in MODALITIES:
        for row in range(4):
            there = max(lengths[m][row], 1)
            assert steps[m][row].sum() == there
            torch.testing.assert_close(long[m][row, :there], short[m][row, :there])


def test_an_absent_modality_is_one_missing_step_of_it():
    module = streams_of()
    lengths = {"text": (4,), "audio": (0,), "vision": (3,)}
    features, valid = padded_batch(lengths, {"text": 4, "audio": 0, "vision": 3})
    absent, steps = module(features, valid)
    features["audio"], valid["audio"] = Steps.of(torch.zeros(1, 1, DIMS["audio"])), torch.ones(1, 1, dtype=torch.bool)
    missing, _ = module(features, valid)
    assert torch.equal(steps["audio"], valid["audio"])
    assert all(torch.equal(absent[m], missing[m]) for m in MODALITIES)


def test_two_modalities_have_one_stream_each_and_a_single_one_its_own():
    pair = streams_of(dims={m: DIMS[m] for m in ("text", "vision")})
    assert sorted(pair.encoders) == ["text_from_vision", "vision_from_text"]
    assert pair.width == 8
    alone = streams_of(own=True, dims={"audio": DIMS["audio"]})
    assert list(alone.encoders) == ["audio_from_audio"]
    assert alone.width == 8


@pytest.mark.parametrize("own", [False, True])
def test_gradients_are_finite_and_reach_everything(own):
    module = streams_of(own).train()
    features, valid = padded_batch({"text": (4, 0, 0), "audio": (5, 3, 0), "vision": (0, 3, 0)})
    found, _ = module(features, valid)
    sum(x.square().sum() for x in found.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
    assert all(p.grad.any() for p in module.parameters())
