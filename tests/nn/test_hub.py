import pytest
import torch
from torch import nn

from pipeline.nn.hub import Attendable, HubExchange, HubSum, HubUnit, masked_mean
from tests.networks import count, draw, runs_of

STEPS = {"audio": 7, "vision": 3, "text": 4}
LENGTHS = {"audio": [5, 7], "vision": [2, 0], "text": [4, 1]}
VALID = {m: torch.arange(t) < torch.tensor(LENGTHS[m])[:, None] for m, t in STEPS.items()}
HUB_VALID = torch.tensor([[True] * 5, [True, True, True, False, False]])


class Both(HubUnit):
    """The simplest mix."""

    def mix(self, target, source, own, other):
        return self.attend_to_itself(target, own) + self.attend_to_source(target, source, other)


def states(seed=0):
    return {m: draw(2, t, 8, seed=seed) for m, t in STEPS.items()}


def make_exchange(layers=2, keeps_hub=True, merge=HubSum):
    torch.manual_seed(0)
    return HubExchange(list(STEPS), layers, lambda: Both(8, 2, 16), merge, keeps_hub=keeps_hub).eval()


def test_steps_have_a_key_in_every_row_and_say_where_there_is_none():
    steps = Attendable.of(VALID["vision"])
    assert steps.keys.tolist() == [[True, True, False], [True, True, True]]
    assert steps.some.flatten().tolist() == [True, False]


def test_a_masked_mean_ignores_padding_and_is_zero_where_nothing_is():
    x = draw(2, 3, 8)
    spoiled = x.masked_fill(~VALID["vision"][..., None], torch.nan)
    found = masked_mean(spoiled, VALID["vision"])
    torch.testing.assert_close(found[0], x[0, :2].mean(0))
    assert not found[1].any()


def test_a_source_without_steps_adds_nothing():
    unit = Both(8, 2, 16).eval()
    target, own = draw(2, 4, 8), Attendable.of(VALID["text"])
    first, second = (unit(target, draw(2, 3, 8, seed=seed), own, Attendable.of(VALID["vision"])) for seed in (1, 2))
    assert not torch.allclose(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_no_skip_leads_past_the_mix():
    unit = Both(8, 2, 16).eval()
    nn.init.zeros_(unit.block.attention.output.weight)
    source, own, other = draw(2, 3, 8), Attendable.of(VALID["text"]), Attendable.of(VALID["audio"][:, :3])
    nn.init.zeros_(unit.cross.output.weight)
    first, second = (unit(draw(2, 4, 8, seed=seed), source, own, other) for seed in (1, 2))
    assert torch.equal(first, second)


def test_every_layer_updates_the_modalities_first_and_the_hub_from_the_new_ones():
    exchange, x, hub = make_exchange(), states(), draw(2, 5, 8)
    steps, hub_steps = {m: Attendable.of(v) for m, v in VALID.items()}, Attendable.of(HUB_VALID)
    expected, message = x, hub
    for receivers, senders in zip(exchange.from_hub, exchange.to_hub, strict=True):
        expected = {m: receivers[m](expected[m], message, steps[m], hub_steps) for m in STEPS}
        message = sum(senders[m](message, expected[m], hub_steps, steps[m]) for m in STEPS)
    found, found_hub = exchange(x, hub, VALID, HUB_VALID)
    for m in STEPS:
        torch.testing.assert_close(found[m], expected[m])
    torch.testing.assert_close(found_hub, message)


def test_the_last_update_of_the_hub_can_be_spared_or_not_built():
    whole, x, hub = make_exchange(), states(), draw(2, 5, 8)
    smaller = make_exchange(keeps_hub=False)
    assert len(smaller.to_hub) == 1
    smaller.load_state_dict({name: v for name, v in whole.state_dict().items() if not name.startswith("to_hub.1")})
    ran = runs_of([whole.to_hub[1]["audio"]])
    spared, earlier = whole(x, hub, VALID, HUB_VALID, reads_hub=False)
    without, _ = smaller(x, hub, VALID, HUB_VALID)
    assert not ran
    complete, later = whole(x, hub, VALID, HUB_VALID)
    for m in STEPS:
        assert torch.equal(spared[m], complete[m])
        assert torch.equal(without[m], complete[m])
    assert not torch.allclose(earlier, later)


def test_nothing_is_shared():
    unit, exchange = Both(8, 2, 16), make_exchange(layers=3)
    assert count(exchange) == 3 * 6 * count(unit)


@pytest.mark.parametrize("value", [1e3, -1e3])
def test_padding_cannot_influence_modalities_or_hub(value):
    exchange, x, hub = make_exchange(), states(), draw(2, 5, 8)
    found, message = exchange(x, hub, VALID, HUB_VALID)
    spoiled = {m: v.masked_fill(~VALID[m][..., None], value) for m, v in x.items()}
    found2, message2 = exchange(spoiled, hub.masked_fill(~HUB_VALID[..., None], value), VALID, HUB_VALID)
    torch.testing.assert_close(message[HUB_VALID], message2[HUB_VALID])
    for m in STEPS:
        torch.testing.assert_close(found[m][VALID[m]], found2[m][VALID[m]])


def test_a_merge_is_told_the_hubs_and_their_steps():
    told = []

    class First(nn.Module):
        def forward(self, hubs, valid):
            told.append((len(hubs), torch.equal(valid, HUB_VALID)))
            return hubs[0]

    make_exchange(merge=First)(states(), draw(2, 5, 8), VALID, HUB_VALID)
    assert told == [(3, True), (3, True)]
