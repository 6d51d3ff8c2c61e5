import math

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.steps import Features, Steps
from pipeline.nn.attention import attendable
from pipeline.nn.mrau import MRAU, FrontEnd, MRAUEncoder, length_factors
from tests.networks import count, draw, perturbed

MODALITIES = ("audio", "vision", "text")
STEPS = {"audio": 7, "vision": 3, "text": 4}
NO_DROPOUT = dict.fromkeys(MODALITIES, 0.0)


def valid_of(lengths, steps=STEPS):
    return {m: torch.arange(steps[m]) < torch.tensor([[n]]) for m, n in lengths.items()}


def states():
    return {m: draw(1, t, 8) for m, t in STEPS.items()}


def layer(**flags):
    return perturbed(MRAU(8, 2, 16, NO_DROPOUT, **flags))


LONG = {"audio": 400, "vision": 40, "text": 50}


@pytest.mark.parametrize(
    ("lengths", "balance", "extrapolation"),
    [
        ((400, 40, 50), (0.05, 0.15811, 0.14142), 1.0),
        ((100, 10, 12), (0.1, 0.31623, 0.28868), 0.77554),
    ],
)
def test_length_factors_have_the_published_values(lengths, balance, extrapolation):
    valid = valid_of(dict(zip(MODALITIES, lengths, strict=True)), LONG)
    only_b = length_factors(valid, 490, gamma_e=False)
    only_e = length_factors(valid, 490, gamma_b=False)
    both = length_factors(valid, 490)
    for m, expected in zip(MODALITIES, balance, strict=True):
        assert only_b[m].item() == pytest.approx(expected, abs=5e-6)
        assert only_e[m].item() == pytest.approx(extrapolation, abs=5e-6)
        assert both[m].item() == pytest.approx(expected * extrapolation, abs=1e-5)


def test_length_factors_without_both_are_one():
    found = length_factors(valid_of(dict.fromkeys(MODALITIES, 2)), 14, gamma_b=False, gamma_e=False)
    assert all(torch.equal(factor, torch.ones(1)) for factor in found.values())


def test_length_factors_do_not_depend_on_padding():
    lengths = {"audio": 5, "vision": 2, "text": 1}
    short, long = (length_factors(valid_of(lengths, steps), 490) for steps in (STEPS, LONG))
    assert short == long


def test_an_absent_modality_counts_as_one_step_and_an_empty_utterance_stays_finite():
    found = length_factors(valid_of({"audio": 4, "vision": 0, "text": 0}), 14)
    assert found["vision"].item() == pytest.approx(math.log(4) / math.log(14))
    empty = length_factors(valid_of(dict.fromkeys(MODALITIES, 0)), 1)
    assert all(torch.isfinite(factor).all() for factor in empty.values())


def test_without_factors_a_modality_attends_with_one_softmax_over_everything():
    mrau, x = layer(), states()
    keys, factors = torch.ones(1, 14, dtype=torch.bool), {m: torch.ones(1) for m in STEPS}
    found = mrau(x, keys, factors)
    for m, block in mrau.blocks.items():
        parts = {s: mrau.blocks[s].attention.project(x[s]) for s in x}
        query = parts[m][0]
        key, value = (torch.cat([parts[s][i] for s in x], dim=2) for i in (1, 2))
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(4), dim=-1)
        mixed = block.attention.output((weights @ value).transpose(1, 2).flatten(2))
        attended = block.norm1(x[m] + mixed)
        torch.testing.assert_close(found[m], block.norm2(attended + block.feed_forward(attended)))


def test_with_equal_projections_it_is_three_cross_attention_blocks_on_the_concatenation():
    mrau, x = layer(), states()
    shared = mrau.blocks["audio"].attention.projection
    for block in mrau.blocks.values():
        block.attention.projection.weight.data[8:] = shared.weight.data[8:]
        block.attention.projection.bias.data[8:] = shared.bias.data[8:]
    keys = torch.rand(1, 14, generator=torch.Generator().manual_seed(0)) < 0.7
    found = mrau(x, keys, {m: torch.ones(1) for m in STEPS})
    source = torch.cat(list(x.values()), dim=1)
    for m, block in mrau.blocks.items():
        torch.testing.assert_close(found[m], block(x[m], source, keys))


def test_factors_scale_the_logits_of_their_modality():
    mrau, x = layer(), states()
    keys = torch.ones(1, 14, dtype=torch.bool)
    factors = {"audio": torch.tensor([0.3]), "vision": torch.tensor([0.7]), "text": torch.tensor([1.0])}
    found = mrau(x, keys, factors)["text"]
    for m in ("audio", "vision"):
        projection = mrau.blocks[m].attention.projection
        projection.weight.data[8:16] *= factors[m]
        projection.bias.data[8:16] *= factors[m]
    torch.testing.assert_close(found, mrau(x, keys, {m: torch.ones(1) for m in STEPS})["text"])


def test_the_released_layer_loses_the_skip_around_its_feed_forward():
    keys, factors = torch.ones(1, 14, dtype=torch.bool), {m: torch.ones(1) for m in STEPS}
    for ffn_skip, outer_skip in [(True, False), (False, False), (False, True)]:
        mrau, x = layer(ffn_skip=ffn_skip, outer_skip=outer_skip), states()
        for block in mrau.blocks.values():
            last = block.feed_forward[2]
            last.weight.data.zero_()
            last.bias.data.zero_()
            block.norm2.bias.data.zero_()
        for m, found in mrau(x, keys, factors).items():
            if ffn_skip:
                assert found.abs().max() > 0.5
            else:
                assert torch.equal(found, x[m] if outer_skip else torch.zeros_like(x[m]))


def test_the_papers_layer_with_an_empty_feed_forward_is_the_second_norm_of_the_first():
    mrau, x = layer(), states()
    for block in mrau.blocks.values():
        block.feed_forward[2].weight.data.zero_()
        block.feed_forward[2].bias.data.zero_()
    keys, factors = torch.ones(1, 14, dtype=torch.bool), {m: torch.ones(1) for m in STEPS}
    parts = {m: mrau.blocks[m].attention.project(x[m]) for m in x}
    key, value = (torch.cat([part[i] for part in parts.values()], dim=2) for i in (1, 2))
    for m, found in mrau(x, keys, factors).items():
        block = mrau.blocks[m]
        attended = block.norm1(x[m] + block.attention.attend(parts[m][0], key, value, keys))
        torch.testing.assert_close(found, block.norm2(attended))


def test_a_layer_of_width_128_has_the_published_size_and_operations():
    mrau = MRAU(128, 4, 512, NO_DROPOUT).eval()
    assert count(mrau) == 594_816
    x = {m: torch.zeros(1, t, 128) for m, t in LONG.items()}
    keys = torch.ones(1, 490, dtype=torch.bool)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        mrau(x, keys, {m: torch.ones(1) for m in LONG})
    assert counter.get_total_flops() / 2 == pytest.approx(157.8e6, rel=1e-3)


@pytest.mark.parametrize("skip_zero_positions", [False, True])
def test_a_step_after_the_end_does_not_change_what_is_before(skip_zero_positions):
    front_end = FrontEnd(3, 8, 3, 0.0, skip_zero_positions)
    x = draw(2, 5, 3)
    padded = functional.pad(x, (0, 0, 0, 4))
    for short, long in zip(front_end(Steps.of(x)), front_end(Steps.of(padded)), strict=True):
        torch.testing.assert_close(long[:, :5], short)


def test_a_zero_step_has_a_position_unless_it_is_skipped():
    x = draw(1, 4, 3)
    x[0, 2] = 0
    for skip in (False, True):
        projected, embedded = FrontEnd(3, 8, 1, 0.0, skip)(Steps.of(x))
        assert not projected[0, 2].any()
        assert embedded[0, 2].any().item() is not skip
        assert torch.equal(embedded[0, 0] != projected[0, 0], torch.ones(8, dtype=torch.bool))


def test_the_projection_is_scaled_by_the_root_of_the_width():
    front_end = FrontEnd(3, 4, 3, 0.0, False)
    x = draw(1, 5, 3)
    expected = 2 * functional.conv1d(x.transpose(1, 2), front_end.convolution.weight, padding=1).transpose(1, 2)
    torch.testing.assert_close(front_end(Steps.of(x))[0], expected)


def encoder():
    return perturbed(
        MRAUEncoder(
            {m: FrontEnd(3, 8, 3, 0.0, False) for m in STEPS},
            [MRAU(8, 2, 16, NO_DROPOUT) for _ in range(2)],
            8,
            14,
            gamma_b=True,
            gamma_e=True,
        )
    )


def test_encoded_valid_steps_do_not_see_padding():
    lengths = {"audio": 4, "vision": 2, "text": 0}
    narrow = {m: draw(1, max(n, 1), 3) * (n > 0) for m, n in lengths.items()}
    wide = {m: functional.pad(x, (0, 0, 0, 5)) for m, x in narrow.items()}
    net = encoder()
    found = [
        net(Features.of(x).steps, valid_of(lengths, {m: t.shape[1] for m, t in x.items()}))[1] for x in (narrow, wide)
    ]
    for m, n in lengths.items():
        torch.testing.assert_close(found[0][m][:, :n], found[1][m][:, :n])


def test_an_utterance_without_steps_is_encoded_finitely():
    x = {m: torch.zeros(2, t, 3, requires_grad=True) for m, t in STEPS.items()}
    valid = {m: torch.tensor([[False] * t, [True] * t]) for m, t in STEPS.items()}
    assert attendable(torch.cat(list(valid.values()), 1)).any(1).all()
    _, found = encoder()(Features.of(x).steps, valid)
    sum(y.sum() for y in found.values()).backward()
    assert all(torch.isfinite(y).all() for y in found.values())
    assert all(torch.isfinite(y.grad).all() for y in x.values())
