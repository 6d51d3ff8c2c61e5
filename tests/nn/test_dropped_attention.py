import pytest
import torch

from pipeline.nn import dropped_attention
from pipeline.nn.dropout import draw_kept
from pipeline.nn.dropped_attention import attention_with_dropout

B, H, T, S, D = 3, 2, 5, 4, 8


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    make = [torch.randn(B, H, n, D, generator=generator, dtype=dtype).requires_grad_() for n in (T, S, S)]
    mask = torch.tensor([[True, True, False, True], [False, True, False, False], [True] * 4])[:, None, None, :]
    return (*make, mask)


def written_out(query, key, value, mask, kept, rate):
    scores = query @ key.mT / D**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (torch.softmax(scores, dim=-1) * kept / (1 - rate)) @ value


@pytest.mark.parametrize("masks", ["none", "keys", "keys of every query", "the same for all"])
def test_output_and_gradients_are_those_of_the_formula(masks):
    query, key, value, mask = inputs()
    if masks == "none":
        mask = None
    elif masks == "the same for all":
        mask = mask[:1]
    elif masks == "keys of every query":
        mask = mask & (torch.arange(S) <= 1 + torch.arange(T)[:, None])
    torch.manual_seed(1)
    found = attention_with_dropout(query, key, value, mask, 0.3)
    torch.manual_seed(1)
    kept = draw_kept(torch.empty(B, H, T, S, dtype=torch.bool), 0.3)  # all scores at once: they fit into one chunk
    expected = written_out(query, key, value, mask, kept, 0.3)
    torch.testing.assert_close(found, expected)
    direction = torch.randn(found.shape, dtype=found.dtype)
    gradients = [torch.autograd.grad(x, (query, key, value), direction) for x in (found, expected)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_chunks_change_nothing_but_where_a_drop_falls(monkeypatch):
    query, key, value, mask = inputs()
    whole = attention_with_dropout(query, key, value, mask, 1e-12)
    whole_gradient = torch.autograd.grad(whole.square().sum(), query)[0]
    for scores in (1, 3 * T * S, 4 * T * S):  # one row at a time; two chunks; a rest of two rows
        monkeypatch.setattr(dropped_attention, "_SCORES", scores)
        found = attention_with_dropout(query, key, value, mask, 1e-12)
        torch.testing.assert_close(found, whole)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), query)[0], whole_gradient)


def test_without_dropping_it_is_torchs_attention():
    query, key, value, mask = inputs(torch.float32)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention_with_dropout(query, key, value, mask, 1e-12), expected)


def test_weights_drop_at_the_rate():
    torch.manual_seed(0)
    value = torch.eye(64).expand(2, 4, 64, 64)
    weights = attention_with_dropout(torch.zeros(2, 4, 50, 64), torch.zeros(2, 4, 64, 64), value, None, 0.25)
    assert abs((weights == 0).double().mean().item() - 0.25) < 6 * (0.25 * 0.75 / weights.numel()) ** 0.5
    assert torch.allclose(weights[weights > 0], torch.tensor(1 / 64 / 0.75))
