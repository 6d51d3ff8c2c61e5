import pytest
import torch
from torch.nn import functional

from pipeline.nn.hub import Attendable
from pipeline.nn.promotion import ContextPooling, Promotion, PromotionUnit
from tests.networks import count, runs_of, valid_of

LENGTHS = {"text": 4, "audio": 6, "vision": 3}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs():
    """Two utterances: the first has all steps, the second half of them and no vision."""
    states = {m: draw(2, length, 8, seed=k) for k, (m, length) in enumerate(LENGTHS.items())}
    valid = {m: valid_of(length, 0 if m == "vision" else 2, steps=length) for m, length in LENGTHS.items()}
    return states, draw(2, 3, 8, seed=9), valid


def promotion(share="all", layers=2, *, keeps_states=True):
    torch.manual_seed(0)
    return Promotion(list(LENGTHS), layers, 8, 2, 16, 0.0, 0.0, share, keeps_states=keeps_states).eval()


def heads(x):
    return x.unflatten(-1, (2, 4)).transpose(1, 2)


def attend(attention, x, source):
    """Two heads of four channels, written out."""
    query, key, value = (heads(functional.linear(y, w)) for y, w in zip(
        (x, source, source), attention.projection.weight.chunk(3), strict=True
    ))  # fmt: skip
    weights = torch.softmax(query @ key.transpose(-1, -2) / 2.0, dim=-1)  # sqrt(4)
    return attention.output((weights @ value).transpose(1, 2).flatten(2))


def test_a_unit_is_pre_norm_with_a_skip_around_each_part():
    torch.manual_seed(0)
    unit = PromotionUnit(8, 2, 16, 0.0, 0.0).eval()
    target, source = draw(2, 5, 8), draw(2, 3, 8, seed=1)
    everything = [Attendable.of(torch.ones(x.shape[:2], dtype=torch.bool)) for x in (target, source)]
    x = target + attend(unit.cross, unit.norm_target(target), unit.norm_source(source))
    x = x + attend(unit.itself, unit.norm_itself(x), unit.norm_itself(x))
    value, gate = unit.gated(unit.norm_steps(x)).split(16, dim=-1)
    x = x + unit.output(value * functional.gelu(gate))
    torch.testing.assert_close(unit(target, source, *everything), x)


def test_parameters_of_a_unit_are_those_of_its_layers():
    attention = 3 * 128 * 128 + (128 * 128 + 128)  # queries, keys and values without bias, the output with one
    ffn = (128 * 1024 + 1024) + (512 * 128 + 128)
    norms = 4 * 2 * 128
    assert count(PromotionUnit(128, 4, 512, 0.0, 0.0)) == 2 * attention + ffn + norms == 330_112


def test_a_source_without_a_step_adds_nothing():
    torch.manual_seed(0)
    unit = PromotionUnit(8, 2, 16, 0.0, 0.0).eval()
    target, own = draw(1, 5, 8), Attendable.of(torch.ones(1, 5, dtype=torch.bool))
    nothing = Attendable.of(torch.zeros(1, 3, dtype=torch.bool))
    first, second = (unit(target, draw(1, 3, 8, seed=seed), own, nothing) for seed in (1, 2))
    assert torch.equal(first, second)


def test_padding_is_without_influence():
    states, context, valid = inputs()
    module = promotion()
    clean, clean_context = module(states, context, valid, reads_states=True)
    dirty = {m: x.masked_fill(~valid[m][..., None], 1e3) for m, x in states.items()}
    found, found_context = module(dirty, context, valid, reads_states=True)
    assert torch.equal(found_context, clean_context)
    assert all(torch.equal(found[m][valid[m]], clean[m][valid[m]]) for m in states)


def test_context_and_modalities_learn_from_each_other_as_they_were():
    states, context, valid = inputs()
    module = promotion("none", layers=1)
    found, found_context = module(states, context, valid, reads_states=True)
    own = {m: Attendable.of(valid[m]) for m in states}
    tokens = Attendable.of(torch.ones(2, 3, dtype=torch.bool))
    for m, x in states.items():
        assert torch.equal(found[m], module.units[f"{m}_0"](x, context, own[m], tokens))
    contexts = [module.units[f"context_{m}_0"](context, x, tokens, own[m]) for m, x in states.items()]
    assert torch.equal(found_context, module.poolings["0"](contexts))


def test_the_pooling_takes_the_context_that_it_scores_highest():
    pool = ContextPooling(6)
    torch.nn.init.eye_(pool.scorer[0].weight)
    torch.nn.init.zeros_(pool.scorer[0].bias)
    torch.nn.init.constant_(pool.scorer[2].weight, 100.0)
    contexts = [torch.full((1, 3, 2), value) for value in (-1.0, 2.0, 0.5)]
    torch.testing.assert_close(pool(contexts), contexts[1])
    torch.nn.init.zeros_(pool.scorer[2].weight)
    torch.testing.assert_close(pool(contexts), torch.full((1, 3, 2), 0.5))


def test_what_is_shared_does_not_grow_with_layers():
    assert count(promotion("all", layers=1)) == count(promotion("all", layers=4))
    unit, pool = count(PromotionUnit(8, 2, 16, 0.0, 0.0)), count(ContextPooling(24))
    assert count(promotion("all", layers=4)) == unit + pool
    assert count(promotion("none", layers=4)) == 4 * (6 * unit + pool)
    assert count(promotion("none", layers=4, keeps_states=False)) == 4 * (6 * unit + pool) - 3 * unit


@pytest.mark.parametrize("share", ["all", "none"])
def test_who_reads_the_context_alone_is_spared_the_last_update_of_the_modalities(share):
    states, context, valid = inputs()
    module = promotion(share)
    ran = runs_of(module.units.values())
    _, whole = module(states, context, valid, reads_states=True)
    assert len(ran) == 2 * 6
    _, spared = module(states, context, valid, reads_states=False)
    assert len(ran) == 2 * 6 + 2 * 6 - 3
    assert torch.equal(whole, spared)


@pytest.mark.parametrize(("share", "keeps_states"), [("all", True), ("none", True), ("none", False)])
def test_gradient_reaches_every_parameter(share, keeps_states):
    states, context, valid = inputs()
    module = promotion(share, keeps_states=keeps_states)
    fused, merged = module(states, context, valid, reads_states=keeps_states)
    total = merged.square().sum()
    if keeps_states:
        total = total + sum(x[valid[m]].square().sum() for m, x in fused.items())
    total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
