import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.nn.attention import Attention, AttentionBlock, attendable
from tests.networks import count, draw, perturbed


@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_attendable_changes_only_rows_without_any_key(lengths):
    valid = torch.arange(4) < torch.tensor(lengths)[:, None]
    found = attendable(valid)
    assert found.any(dim=1).all()
    has = valid.any(dim=1)
    assert torch.equal(found[has], valid[has])


def test_without_biases_it_is_the_attention_with_biases_of_zero():
    mine, theirs = Attention(6, 3, bias=False), Attention(6, 3)
    theirs.load_state_dict({**mine.state_dict(), "projection.bias": torch.zeros(18)})
    x, source = draw(2, 4, 6), draw(2, 5, 6)
    torch.testing.assert_close(mine(x, source), theirs(x, source))
    torch.testing.assert_close(mine(x), theirs(x))


def test_it_is_the_attention_of_torch():
    mine, theirs = perturbed(Attention(6, 3)).train(), nn.MultiheadAttention(6, 3, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = mine.projection.weight.data, mine.projection.bias.data
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = mine.output.weight.data, mine.output.bias.data
    x, source = draw(2, 4, 6), draw(2, 5, 6)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = theirs(x, source, source, key_padding_mask=~valid)[0]
    torch.testing.assert_close(mine(x, source, valid), expected)
    torch.testing.assert_close(mine(x), theirs(x, x, x)[0])
    torch.testing.assert_close(mine(x, x), mine(x))


@pytest.mark.parametrize("training", [True, False])
def test_masked_keys_have_exactly_no_influence_and_no_gradient(training):
    module = perturbed(Attention(6, 3, dropout=0.5)).train(training)
    valid = torch.tensor([[True, True, False], [False, True, False]])
    x, source = draw(2, 4, 6), draw(2, 3, 6).requires_grad_()
    torch.manual_seed(3)
    found = module(x, source, valid)
    found.sum().backward()
    assert torch.equal(source.grad[~valid], torch.zeros(3, 6))
    torch.manual_seed(3)
    assert torch.equal(module(x, source.detach().masked_fill(~valid[..., None], 1e6), valid), found)


def test_the_path_with_dropout_computes_the_same_attention():
    module = perturbed(Attention(6, 3, dropout=1e-12))
    valid = torch.tensor([[True, True, False], [False, True, False]])
    x, source = draw(2, 4, 6), draw(2, 3, 6)
    expected = [module.eval()(x, source, valid), module.eval()(x)]
    module.train()
    torch.testing.assert_close(module(x, source, valid), expected[0])
    torch.testing.assert_close(module(x), expected[1])


def test_dropout_of_weights_acts_in_training_only():
    module = perturbed(Attention(6, 3, dropout=0.5)).train()
    x = draw(2, 4, 6)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_a_row_without_keys_is_finite_with_finite_gradient():
    module = perturbed(Attention(6, 3)).train()
    x = draw(1, 4, 6).requires_grad_()
    found = module(x, valid=attendable(torch.zeros(1, 4, dtype=torch.bool)))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(x.grad).all()


def test_a_block_is_post_norm_attention_then_feed_forward():
    block = perturbed(AttentionBlock(6, 3, 8))
    x, source, valid = draw(2, 4, 6), draw(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    first, _, second = block.feed_forward
    attended = block.norm1(x + block.attention(x, source, valid))
    expected = block.norm2(attended + second(torch.relu(first(attended))))
    torch.testing.assert_close(block(x, source, valid), expected)


def test_a_block_of_width_128_has_the_published_size():
    assert count(AttentionBlock(128, 4, 512)) == 198_272


def test_projections_start_xavier_uniform_with_zero_biases():
    torch.manual_seed(0)
    block = AttentionBlock(128, 4, 512)
    for linear in (block.attention.projection, block.attention.output, block.feed_forward[0], block.feed_forward[2]):
        bound = (6 / sum(linear.weight.shape)) ** 0.5
        assert linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert not linear.bias.any()
