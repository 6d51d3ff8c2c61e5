import pytest
import torch

from pipeline.nn.heads import AttentionPooling, BatchNorm, GatedPooling, attention_head, gated_head
from tests.networks import count, draw

MODALITIES = ("text", "audio", "vision")


VALID = torch.arange(5) < torch.tensor([[5], [2], [1], [0]])


def test_attention_pooling_weighs_valid_steps_by_their_scores():
    pooling = AttentionPooling(3)
    x = draw(4, 5, 3)
    found = pooling(x, VALID)
    for row, length in enumerate([5, 2, 1]):
        weights = torch.softmax(x[row, :length] @ pooling.scorer, 0)
        torch.testing.assert_close(found[row], weights @ x[row, :length])


@pytest.mark.parametrize("pooling", [AttentionPooling(4), GatedPooling(4, 3).eval()], ids=["attention", "gated"])
def test_padding_is_without_influence_and_a_row_of_padding_gives_zero(pooling):
    x = draw(4, 5, 4).requires_grad_()
    found = pooling(x, VALID)
    assert not found[3].any()
    assert torch.equal(found, pooling(x.masked_fill(~VALID[..., None], 1e6), VALID))
    torch.testing.assert_close(pooling(x[1:2, :2], VALID[1:2, :2]), found[1:2])
    found.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.grad[~VALID], torch.zeros(12, 4))


def test_gated_pooling_is_the_maximum_over_time_of_the_gated_merge():
    torch.manual_seed(0)
    pooling = GatedPooling(4, 3).eval()
    x = draw(1, 5, 4)
    context = pooling.gru(x)[0]
    gate = torch.sigmoid(pooling.gate(context.transpose(1, 2))).transpose(1, 2)
    merged = torch.tanh(pooling.merge(torch.cat([x, torch.tanh(context) * gate], -1)))
    torch.testing.assert_close(pooling(x, torch.ones(1, 5, dtype=torch.bool)), merged.max(1).values)


def test_heads_have_the_published_sizes():
    assert count(attention_head(MODALITIES, 128, 4)) == 3 * 128 + 1_540
    gated = gated_head(MODALITIES, 128, 4, hidden=64)
    assert gated.width == 192
    assert count(gated) == 522_695 + 384


def test_an_embedding_is_the_modalities_in_order():
    head = attention_head(MODALITIES, 4, 2)
    states = {m: draw(2, t, 4) for m, t in zip(MODALITIES, (3, 4, 5), strict=True)}
    valid = {m: torch.ones(2, x.shape[1], dtype=torch.bool) for m, x in states.items()}
    found = head.embed(states, valid)
    assert found.shape == (2, head.width) == (2, 12)
    torch.testing.assert_close(found[:, 4:8], head.poolings["audio"](states["audio"], valid["audio"]))


def test_batch_normalisation_lets_a_single_utterance_pass_in_training_only():
    norm = BatchNorm(3)
    single, batch = draw(1, 3), draw(6, 3) + 5
    assert norm(single) is single
    torch.testing.assert_close(norm(batch).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    norm.eval()
    assert not torch.equal(norm(single), single)
    torch.testing.assert_close(norm(batch)[:1], norm(batch[:1]))
