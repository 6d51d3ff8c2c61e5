import pytest
import torch
from torch import nn

from pipeline.data.batch import MODALITIES
from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.methods.pmr import PMR, Params, _HubAttention, _ReinforcementUnit
from pipeline.methods.protocol import variants
from pipeline.nn.hub import Attendable
from pipeline.training.cost import multiply_accumulates, parameters
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_learns_by_heart,
    everything,
    masked,
    paper_spec,
)

TINY = {"width": 8, "heads": 2, "layers": 2, "ffn": 16}
NO_DROPOUT = {"embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0, "attention_dropout": 0.0}
TABLE_4 = {"head": "linear", "kernels": {"audio": 3, "vision": 3}}
PAPER = paper_spec()


def of_paper(**block):
    return PMR(Params.model_validate(block), PAPER)


def make(data, **block):
    torch.manual_seed(0)
    return PMR(Params.model_validate({**TINY, **NO_DROPOUT, **block}), Spec.of(data))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_parameters_are_as_many_as_published():
    assert parameters(of_paper()) == 6_993_991
    assert parameters(of_paper(layers=3)) == 6_993_991 - 1_783_296
    unit = _ReinforcementUnit(128, 4, 512)
    assert 6 * sum(p.numel() for p in unit.parameters()) == 1_783_296


def test_parameters_of_table_4_are_the_live_ones_and_an_update_that_nobody_reads():
    """24 units are in the table; the three of the last update of the message are not built here."""
    live = parameters(of_paper(**TABLE_4))
    unit = 2 * (4 * 128**2 + 4 * 128) + (8 * 128**2 + 5 * 128) + 4 * 128  # two attentions, FFN, two norms
    gate = 2 * 128 * 128 + 128
    assert live + 3 * (unit + gate) == 7_626_244
    assert live + 3 * (unit + gate) - 24 * gate == 6_836_740
    convolutions, linear = 128 * (768 + 3 * 512 + 3 * 512), 3 * 128 * 4 + 4
    assert live == 21 * (unit + gate) + convolutions + linear


def test_the_linear_head_sees_means_over_valid_time(data):
    network, seen = make(data, head="linear").network.eval(), []
    network.exchange.register_forward_hook(lambda module, inputs, output: seen.append((inputs[2], output[0])))
    logits = network(everything(data))
    ((valid, states),) = seen
    for row in (0, 5):
        means = [states[m][row, valid[m][row]].mean(0) for m in MODALITIES]
        torch.testing.assert_close(logits[row], network.head.classify(torch.cat(means)))
    torch.testing.assert_close(logits[4], network.head.classify.bias)  # without a single step


def test_an_attention_over_messages_adds_scorer_norm_and_ffn_to_all_layers_but_the_last():
    scorer, norm, ffn = 128 * 128 + 128 + 128, 2 * 128, 2 * 128 * 512 + 512 + 128
    assert parameters(of_paper(hub_update="attention")) == 6_993_991 + 3 * (scorer + norm + ffn)


def test_a_layer_multiplies_as_often_as_published():
    layer = multiply_accumulates(of_paper(layers=2), PAPER) - multiply_accumulates(of_paper(layers=1), PAPER)
    assert layer / 1e6 == pytest.approx(927.4, abs=0.05)


def test_defaults_are_those_of_the_study():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn) == (128, 4, 4, 512)
    assert (params.hub_update, params.regime) == ("sum", "complete")
    assert (params.embed_dropout, params.attention_dropout) == (0.25, 0.1)
    assert (params.head, params.kernels.text, params.kernels.audio, params.kernels.vision) == ("gated", 1, 1, 1)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"methods\.pmr\.heads: found 3 heads for width 128"):
        variants("pmr", {"heads": 3})


@pytest.mark.parametrize(("bias", "chosen"), [(1e4, "cross"), (-1e4, "itself")])
def test_the_gate_chooses_between_source_and_target(bias, chosen):
    unit = _ReinforcementUnit(8, 2, 16).eval()
    nn.init.constant_(unit.gate.bias, bias)
    target, source = draw(2, 5, 8), draw(2, 3, 8, seed=1)
    own, other = (Attendable.of(torch.ones(x.shape[:2], dtype=torch.bool)) for x in (target, source))
    ways = {"cross": unit.attend_to_source(target, source, other), "itself": unit.attend_to_itself(target, own)}
    torch.testing.assert_close(unit.mix(target, source, own, other), ways[chosen])


def test_the_gate_weighs_per_step_and_channel():
    unit = _ReinforcementUnit(8, 2, 16).eval()
    target, source = draw(2, 5, 8), draw(2, 3, 8, seed=1)
    own, other = (Attendable.of(torch.ones(x.shape[:2], dtype=torch.bool)) for x in (target, source))
    itself, cross = unit.attend_to_itself(target, own), unit.attend_to_source(target, source, other)
    by_hand = itself @ unit.gate.weight[:, :8].T + cross @ unit.gate.weight[:, 8:].T + unit.gate.bias
    gate = torch.sigmoid(by_hand)
    torch.testing.assert_close(unit.mix(target, source, own, other), gate * cross + (1 - gate) * itself)


def test_the_message_is_all_modalities_one_after_the_other(data):
    method, seen = make(data), []
    method.network.exchange.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    batch = everything(data)
    method.predict(batch)
    ((states, hub, valid, hub_valid),) = seen
    assert torch.equal(hub, torch.cat([states[m] for m in MODALITIES], dim=1))
    assert torch.equal(hub_valid, torch.cat([valid[m] for m in MODALITIES], dim=1))
    assert hub.shape[1] == sum(batch.features[m].shape[1] for m in MODALITIES)


def test_attention_over_messages_takes_the_one_it_scores_highest():
    merge = _HubAttention(Params(**TINY)).eval()
    nn.init.zeros_(merge.update[4].weight)
    nn.init.zeros_(merge.update[4].bias)
    nn.init.eye_(merge.scorer[0].weight)
    nn.init.zeros_(merge.scorer[0].bias)
    nn.init.constant_(merge.scorer[2].weight, 100.0)
    valid = torch.tensor([[True, True, False]])
    hubs = [torch.full((1, 3, 8), value) for value in (-1.0, 2.0, 0.5)]
    hubs[0][:, 2], hubs[2][:, 2] = 1e3, 1e3  # padding is not scored
    torch.testing.assert_close(merge(hubs, valid)[:, :2], hubs[1][:, :2])


@pytest.mark.parametrize("hub_update", ["sum", "attention"])
@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [1, 4], [0]])
def test_gradients_are_finite_whatever_is_absent(hub_update, rows, data):
    method = make(data, hub_update=hub_update)
    for share in (0.0, 0.6, 1.1):
        assert_finite_gradients(method, masked(data, share, rows))


def test_a_single_modality_has_nothing_to_exchange(make):
    reason = PMR.needs.unmet(Spec.of(make(lacking=("audio", "vision"))))
    assert reason == "needs 2 modalities, the benchmark has text"


@pytest.mark.parametrize("hub_update", ["sum", "attention"])
def test_it_can_learn_32_utterances_by_heart(hub_update, noise):
    method = make(noise, width=16, hub_update=hub_update, learning_rate=3e-3, epochs=60)
    assert_learns_by_heart(method, noise)
