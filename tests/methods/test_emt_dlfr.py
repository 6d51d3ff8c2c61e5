from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from pipeline.data.batch import MODALITIES, side_by_side
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.errors import ParamsError
from pipeline.methods.emt_dlfr import EMTDLFR, Params, _Attraction, _PromotionUnit
from pipeline.methods.protocol import variants
from pipeline.nn.hub import Attendable, masked_mean
from pipeline.nn.positions import interleaved
from pipeline.training.cost import multiply_accumulates, parameters
from pipeline.training.run import Run
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_scored_where_masked_out,
    count,
    everything,
    masked,
    padded,
    paper_spec,
    runs_of,
)

TINY = {"width": 8, "heads": 2, "layers": 2, "ffn": 16}
NO_DROPOUT = {"embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0, "attention_dropout": 0.0}
NO_DROPOUT["head_dropout"] = 0.0
PAPER = paper_spec()
MOSI = replace(PAPER, dims={"text": 768, "audio": 5, "vision": 20}, task=Task(("negative", "positive")))
"""Features that the original form was configured for."""


def of_paper(**block):
    return EMTDLFR(Params(**block), PAPER)


def make(data, **block):
    torch.manual_seed(0)
    block = {**TINY, **NO_DROPOUT, "regime": "dynamic", **block}
    return EMTDLFR(Params.model_validate(block), Spec.of(data))


def encode(method, view, *, reads_hub=True):
    features, valid = side_by_side([view])
    return *method.network.encode(features, valid, reads_hub=reads_hub), valid


def test_parameters_are_as_many_as_published():
    assert parameters(of_paper(regime="one_to_one")) == 7_722_823
    assert 6 * count(_PromotionUnit(128, 4, 512)) == 1_585_920


def test_training_on_complete_data_builds_no_restoration():
    assert parameters(of_paper()) == 6_303_175
    assert parameters(of_paper(regime="one_to_one", p_miss=0.0)) == 6_303_175


def test_a_weight_of_zero_builds_nothing_for_its_term():
    decoders, siamese = 128 * 1792 + 1792, 395_520
    assert parameters(of_paper(regime="dynamic", reconstruction=0.0)) == 7_722_823 - decoders
    without = parameters(of_paper(regime="dynamic", attraction=0.0))
    assert without == 7_722_823 - siamese - 1_585_920 // 2


def test_a_layer_multiplies_as_often_as_published():
    layer = multiply_accumulates(of_paper(layers=2), PAPER) - multiply_accumulates(of_paper(layers=1), PAPER)
    assert layer / 1e6 == pytest.approx(173.6, abs=0.05)


def test_restoration_costs_nothing_in_prediction():
    costs = {multiply_accumulates(of_paper(layers=1, regime=regime), PAPER) for regime in ("complete", "one_to_one")}
    assert len(costs) == 1


def test_defaults_are_those_of_the_study():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn) == (128, 4, 4, 512)
    assert (params.attraction, params.reconstruction, params.aux_from_epoch) == (1.0, 1.0, 2)
    assert (params.embed_dropout, params.attention_dropout) == (0.25, 0.1)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING


def test_defaults_of_the_original_form_are_those_of_its_authors_for_mosi():
    params = Params(form="original")
    assert (params.width, params.heads, params.layers, params.ffn, params.share) == (128, 4, 3, 512, "all")
    assert (params.attraction, params.reconstruction, params.aux_from_epoch) == (1.0, 1.0, 1)
    assert (params.embed_dropout, params.attention_dropout, params.ffn_dropout) == (0.0, 0.3, 0.1)
    assert (params.head_dropout, params.monitor, params.patience) == (0.3, "loss", 8)
    assert (params.optimizer, params.learning_rate, params.weight_decay) == ("adam", 1e-3, 1e-3)
    assert (params.batch_size, params.clip_value) == (4 * 32, None)
    assert Params(form="original", layers=2).layers == 2
    assert Params(form="adapted") == Params()


def attraction_count(width, hidden):
    return (width * width + width) + (width * hidden + 2 * hidden + hidden * width + width)


def test_parameters_of_the_original_form_are_those_of_its_layers():
    method = EMTDLFR(Params(form="original", regime="one_to_one"), MOSI)
    network = method.network
    audio = 4 * 32 * (5 + 32 + 2) + (32 * 16 + 16)  # four gates with two biases each; linear layer
    vision = 4 * 64 * (20 + 64 + 2) + (64 * 32 + 32)
    assert {m: count(encoder) for m, encoder in network.encoders.items()} == {"audio": audio, "vision": vision}
    projections = (768 + 16 + 32) * 128
    assert count(network.projections) == projections
    promotion = 330_112 + (384 * 384 + 384 + 384)  # one unit, see tests/nn/test_promotion.py, and one pooling
    assert count(network.promotion) == promotion == 478_336
    head = ((768 + 16 + 32 + 384) * 256 + 256) + (256 * 256 + 256) + (256 * 2 + 2)
    assert count(network.classify) == head
    predictors = {"text": (768, 256), "audio": (16, 8), "vision": (32, 16), "hub": (384, 128)}
    siamese = {name: attraction_count(*numbers) for name, numbers in predictors.items()}
    assert {name: count(attraction) for name, attraction in network.attractions.items()} == siamese
    decoders = 128 * (768 + 5 + 20) + (768 + 5 + 20)
    read = audio + vision + projections + promotion + head
    assert read == 986_162
    assert parameters(method) == read + sum(siamese.values()) + decoders == 2_323_035
    assert parameters(EMTDLFR(Params(form="original"), MOSI)) == read


@pytest.mark.parametrize("regime", ["complete", "one_to_one"])
def test_the_original_form_has_as_many_parameters_with_any_number_of_layers(regime):
    sizes = {parameters(EMTDLFR(Params(form="original", regime=regime, layers=k), MOSI)) for k in (1, 3, 4)}
    assert len(sizes) == 1
    unit, pooling = 330_112, 384 * 384 + 384 + 384
    one, two = (
        parameters(EMTDLFR(Params(form="original", regime=regime, share="none", layers=k), MOSI)) for k in (1, 2)
    )
    assert two - one == 6 * unit + pooling
    assert one - sizes.pop() == (5 if regime == "one_to_one" else 2) * unit  # nobody reads the last modalities


def test_the_original_hub_is_one_projected_utterance_vector_per_modality_and_zero_without_a_step(data):
    method, seen = make(data, form="original"), []
    network = method.network
    network.promotion.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    batch = everything(data)
    method.predict(batch)
    ((states, hub, valid),) = seen
    for row, position in [(0, 0), (0, 1), (0, 2), (7, 1), (9, 2)]:
        m = MODALITIES[position]
        x = batch.features[m][row, : data.columns[m].lengths[row]]
        vector = x.mean(0) if m == "text" else network.encoders[m].output(network.encoders[m].lstm(x)[0][-1])
        torch.testing.assert_close(hub[row, position], network.projections[m](vector))
    for position in range(3):
        assert not hub[1 + position, position].any()  # this utterance lacks this modality
    assert not hub[4].any()
    assert {m: x.shape for m, x in states.items()} == {m: (*valid[m].shape, 8) for m in MODALITIES}
    text = network.projections["text"](batch.features["text"]) + interleaved(batch.features["text"].shape[1], 8)
    torch.testing.assert_close(states["text"], text)


def test_the_original_head_reads_the_utterance_vectors_before_the_fusion_and_the_hub(data):
    method, seen = make(data, form="original"), []
    network = method.network
    network.classify[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = everything(data)
    method.predict(batch)
    assert seen[0].shape == (len(data), 6 + 16 + 32 + 3 * 8)
    torch.testing.assert_close(seen[0][:, :6], masked_mean(batch.features["text"], batch.valid["text"]))
    assert not seen[0][2, 6:22].any()  # without audio


def test_prediction_of_the_original_form_runs_nothing_that_only_training_needs(data):
    method = make(data, form="original")
    network = method.network
    ran = runs_of([*network.decoders.values(), *network.attractions.values(), network.promotion.units["all"]])
    method.predict(masked(data))
    assert len(ran) == 2 * 6 - 3
    ran.clear()
    method._loss(masked(data), 1)
    assert len(ran) == 3 + 4 + 2 * 6


def test_both_views_of_the_original_form_in_one_batch_are_as_two_passes(data):
    method, batch = make(data, form="original"), masked(data)
    network = method.network.eval()
    views = []
    for view in (batch, batch.unmasked()):
        views.append(network.represent(*side_by_side([view]), restores=True))
    (states, embedding, vectors), (_, whole, whole_vectors) = views
    expected = sum(data.task.loss(network.classify(x), batch.labels) for x in (embedding, whole))
    for name in ("text", "audio", "vision", "hub"):
        expected = expected + network.attractions[name](vectors[name], whole_vectors[name])
    expected = expected + method._reconstruction_error(batch, states)
    torch.testing.assert_close(method._loss(batch, 1), expected)


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"methods\.emt_dlfr\.heads: found 3 heads for width 128"):
        variants("emt_dlfr", {"heads": 3})


def test_a_promotion_unit_attends_to_itself_after_the_source():
    unit = _PromotionUnit(8, 2, 16).eval()
    target, source = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    own, other = (Attendable.of(torch.ones(x.shape[:2], dtype=torch.bool)) for x in (target, source))
    expected = unit.block.attention(unit.cross(target, source))
    torch.testing.assert_close(unit.mix(target, source, own, other), expected)


def test_the_hub_is_one_masked_mean_per_modality_and_zero_without_a_step(data):
    method, seen = make(data), []
    method.network.exchange.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    method.predict(everything(data))
    ((states, hub, valid, hub_valid),) = seen
    assert hub.shape == (len(data), 3, 8)
    assert hub_valid.all()
    for position, m in enumerate(MODALITIES):
        torch.testing.assert_close(hub[:, position], masked_mean(states[m], valid[m]))
        assert not hub[1 + position, position].any()  # this utterance lacks this modality
    assert not hub[4].any()


def test_prediction_runs_neither_decoders_nor_attraction_nor_the_last_update_of_the_hub(data):
    method = make(data)
    network = method.network
    unread = [*network.decoders.values(), *network.attractions.values(), *network.exchange.to_hub[-1].values()]
    ran = runs_of(unread)
    method.predict(masked(data))
    method._loss(masked(data), 1)
    assert not ran
    method._loss(masked(data), 2)
    assert len(ran) == 3 + 4 + 3


def test_restoration_starts_at_its_epoch(data):
    method, batch = make(data), masked(data)
    plain = data.task.loss(method.network.eval()(batch), batch.labels)
    torch.testing.assert_close(method._loss(batch, 1), plain)
    assert (method._loss(batch, 2) - plain).abs() > 1e-3


def test_the_loss_is_a_weighted_sum(data):
    batch, losses = masked(data), {}
    reference = make(data)
    for weights in [(1e-9, 1e-9), (1.0, 1e-9), (1e-9, 1.0), (0.4, 0.6)]:
        method = make(data, attraction=weights[0], reconstruction=weights[1])
        method.load(reference.state())
        method.network.eval()
        losses[weights] = method._loss(batch, 2)
    base = losses[1e-9, 1e-9]
    expected = base + 0.4 * (losses[1.0, 1e-9] - base) + 0.6 * (losses[1e-9, 1.0] - base)
    torch.testing.assert_close(losses[0.4, 0.6], expected)


def test_both_views_in_one_batch_are_as_two_passes(data):
    method, batch = make(data, reconstruction=0.0), masked(data)
    method.network.eval()  # the head's dropout
    (states, hub, valid), (whole, whole_hub, _) = (encode(method, view) for view in (batch, batch.unmasked()))
    logits = [method.network.head.classify(method.network.head.embed(x, valid)) for x in (states, whole)]
    expected = sum(data.task.loss(x, batch.labels) for x in logits)
    attractions = method.network.attractions
    expected = expected + attractions["hub"](hub.flatten(1), whole_hub.flatten(1))
    for m in MODALITIES:
        first, second = (x[m][:, 0] * valid[m][:, :1] for x in (states, whole))
        expected = expected + attractions[m](first, second)
    torch.testing.assert_close(method._loss(batch, 2), expected)


def test_attraction_holds_the_other_side_fixed():
    torch.manual_seed(0)
    attract = _Attraction(8, 4)
    x, y = torch.randn(6, 8, requires_grad=True), torch.randn(6, 8)
    z, w = attract.project(x), attract.project(y)
    cosine = functional.cosine_similarity
    expected = -0.5 * (cosine(attract.predict(z), w.detach()) + cosine(attract.predict(w), z.detach())).mean()
    found = attract(x, y)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, x)
    (own_side,) = torch.autograd.grad(-0.5 * cosine(attract.predict(attract.project(x)), w.detach()).mean(), x)
    torch.testing.assert_close(gradient, own_side)


def test_batch_normalisation_sees_each_view_as_its_own_batch(data):
    method, sizes = make(data), []
    norms = [method.network.head.classify[0], method.network.attractions["hub"].project[1]]
    for norm in norms:
        norm.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    method._loss(masked(data), 2)
    assert sizes == [len(data)] * 4


def test_reconstruction_is_scored_where_a_present_step_was_masked_out(data):
    method, batch = make(data), masked(data)
    states, *_ = encode(method, batch)
    assert_scored_where_masked_out(lambda batch: method._reconstruction_error(batch, states), batch)


def test_reconstruction_without_missing_steps_is_zero(data):
    method = make(data)
    batch = data.batch(torch.arange(len(data)), complete=True)
    assert method._reconstruction_error(batch, encode(method, batch)[0]).item() == 0.0


@pytest.mark.parametrize("form", ["adapted", "original"])
@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [1, 4], [0]])
def test_gradients_are_finite_whatever_is_absent(rows, form, data):
    method = make(data, form=form)
    for share in (0.0, 0.6, 1.1):
        assert_finite_gradients(method, masked(data, share, rows), epoch=2)


@pytest.mark.parametrize("form", ["adapted", "original"])
def test_more_padding_does_not_change_the_loss(form, data):
    method, batch = make(data, form=form), masked(data)
    method.network.eval()
    torch.testing.assert_close(method._loss(padded(batch), 2), method._loss(batch, 2))


@pytest.mark.parametrize("form", ["adapted", "original"])
@pytest.mark.parametrize(("regime", "share", "epochs"), [("complete", 1.1, 60), ("dynamic", 0.8, 150)])
def test_it_can_learn_32_utterances_within_200_steps(regime, share, epochs, form, noise):
    method = make(noise, width=16, learning_rate=3e-3, epochs=epochs, ramp_epochs=1, form=form, regime=regime)
    method.fit(noise, None, Run(("heart",)))
    batch = masked(noise, share)
    assert noise.task.loss(method.network(batch), batch.labels) < 0.3
