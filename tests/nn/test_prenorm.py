import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nn.crossmodal import Encoder, TransposedEncoder
from pipeline.nn.positions import sinusoidal
from pipeline.nn.prenorm import PreNormBlock, PreNormEncoder, last_step
from tests.networks import draw, perturbed, valid_of


def small(**options):
    return perturbed(PreNormEncoder(8, 2, 2, 16, **options))


def test_an_encoder_has_the_parameters_of_a_post_norm_one():
    shapes = [
        {name: x.shape for name, x in encoder.named_parameters()}
        for encoder in (PreNormEncoder(30, 5, 5, 120), Encoder(30, 5, 5, 120))
    ]
    assert shapes[0] == shapes[1]


def test_a_block_normalises_what_enters_and_leaves_the_skips_alone():
    block = perturbed(PreNormBlock(8, 2, 16))
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    attended = x + block.attention(block.norm1(x), block.norm1(source), valid)
    expected = attended + block.feed_forward(block.norm2(attended))
    torch.testing.assert_close(block(x, source, valid), expected)
    torch.testing.assert_close(block(x, x), block(x))
    for linear in (block.attention.output, block.feed_forward[2]):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    assert torch.equal(block(x, source, valid), x)


def test_an_encoder_embeds_its_source_once_and_normalises_at_the_end():
    encoder = small()
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    state, attended = (8**0.5 * y + sinusoidal(y.shape[1], 8) for y in (x, source))
    for block in encoder.blocks:
        state = block(state, attended, valid)
    torch.testing.assert_close(encoder(x, source, valid), encoder.norm(state))


@pytest.mark.parametrize("training", [True, False])
@given(steps=st.integers(1, 5), keys=st.integers(1, 7), reach=st.integers(0, 7), later=st.integers(0, 6))
def test_a_key_beyond_the_reach_has_no_influence(training, steps, keys, reach, later):
    encoder = small(reach=reach).train(training)
    x, source = draw(2, steps, 8), draw(2, keys, 8)
    moved = source.clone()
    moved[:, later:] *= -2.0
    torch.manual_seed(0)
    before = encoder(x, source)
    torch.manual_seed(0)
    after = encoder(x, moved)
    blind = min(max(later - reach, 0), steps)  # queries before this step do not see the first key that was moved
    assert torch.equal(before[:, :blind], after[:, :blind])
    if later < keys and not training:
        assert all((before - after)[:, step].abs().max() > 1e-4 for step in range(blind, steps))


def test_no_step_that_attends_to_its_own_sequence_sees_later_ones():
    encoder = small(reach=0)
    x = draw(2, 6, 8)
    found = encoder(x)
    for steps in range(1, 6):
        torch.testing.assert_close(encoder(x[:, :steps]), found[:, :steps])
    free = small()
    assert not torch.allclose(free(x[:, :3]), free(x)[:, :3], atol=1e-3)


def test_a_wide_reach_hides_nothing():
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    wide, free = small(reach=4), small()
    free.load_state_dict(wide.state_dict())
    torch.testing.assert_close(wide(x, source, valid), free(x, source, valid))


@pytest.mark.parametrize("reach", [None, 0, 2])
def test_the_padding_of_a_source_is_without_influence(reach):
    encoder = small(reach=reach)
    x, source, valid = draw(2, 3, 8), draw(2, 5, 8), valid_of(5, 2, steps=5)
    found = encoder(x, source, valid)
    assert torch.equal(found, encoder(x, source.masked_fill(~valid[..., None], 1e3), valid))
    torch.testing.assert_close(encoder(x[1:], source[1:, :2], valid[1:, :2]), found[1:])


def test_a_step_that_starts_with_zero_has_no_position():
    encoder, seen = small(), []
    encoder.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = draw(1, 3, 8)
    x[0, 1] = 0.0
    encoder(x)
    assert not seen[0][0, 1].any()
    torch.testing.assert_close(seen[0][0, 2], 8**0.5 * x[0, 2] + sinusoidal(3, 8)[2])


def test_channels_may_be_its_tokens():
    module = TransposedEncoder(50, lambda width, heads: PreNormEncoder(width, heads, 3, 100, positions=False), 25)
    assert {block.attention.heads for block in module.encoder.blocks} == {25}
    x, valid = draw(2, 7, 3).requires_grad_(), valid_of(7, 4, steps=7)
    module.eval()(x, valid)[1].square().sum().backward()
    assert not x.grad[0].any()
    assert x.grad[1, :4].any()


def test_dropout_of_attention_weights_is_that_of_every_block():
    encoder = PreNormEncoder(8, 2, 2, 16, 0.3)
    assert [block.attention.dropout for block in encoder.blocks] == [0.3, 0.3]


def test_the_last_step_is_the_last_valid_one():
    x = draw(3, 4, 2)
    assert torch.equal(last_step(x, valid_of(4, 2, 1, steps=4)), torch.stack([x[0, 3], x[1, 1], x[2, 0]]))
