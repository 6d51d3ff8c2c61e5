from dataclasses import replace

import pytest
import torch

from pipeline.data.batch import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.steps import Features
from pipeline.errors import ParamsError
from pipeline.methods.protocol import variants
from pipeline.methods.tfr_net import Params, TFRNet, Units
from pipeline.nn.distances import missing_step_error
from pipeline.training.cost import multiply_accumulates
from pipeline.training.run import Run
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_learns_by_heart,
    assert_scored_where_masked_out,
    count,
    masked,
    padded,
    paper_spec,
    runs_of,
)

TINY = {
    "width": 8, "heads": 2, "layers": 1, "ffn_factor": 2, "pooled": 4, "reconstruction_layers": 1,
    "regime": "dynamic", "ramp_epochs": 1,
}  # fmt: skip
NO_DROPOUT = {
    "embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0, "pooled_dropout": 0.0, "classifier_dropout": 0.0,
    "attention_dropout": {"text": 0.0, "audio": 0.0, "own": 0.0},
}  # fmt: skip
WIDE_KERNELS = {"audio": 3, "vision": 3}
FORMS = [{"form": "adapted"}, {"form": "original", "units": {"text": 4, "audio": 3, "vision": 5}, "hidden": 8}]
by_form = pytest.mark.parametrize("form", FORMS, ids=[form["form"] for form in FORMS])


def paper(spec, **block):
    return TFRNet(Params.model_validate(block), spec).network


def method_of(data, seed=0, **block):
    torch.manual_seed(seed)
    return TFRNet(Params.model_validate({**TINY, **block}), Spec.of(data))


def in_double(batch):
    return replace(batch, features={m: x.double() for m, x in batch.features.items()})


def error_of(method, batch):
    return method._reconstruction_error(batch, *method.network.streams(batch.features.steps, batch.valid))


def test_parameters_are_as_many_as_published():
    assert count(paper(paper_spec(), regime="one_to_one")) == 14_433_919
    assert count(paper(paper_spec(), regime="one_to_one", kernels=WIDE_KERNELS)) == 14_696_063
    older = paper_spec(text=1024, audio=768)
    assert count(paper(older, regime="dynamic", kernels=WIDE_KERNELS)) == 15_024_255


def test_parts_have_the_published_sizes():
    network = paper(paper_spec(), regime="one_to_one")
    assert count(network.streams.encoders) == 9 * (4 * 198_272 + 256)
    assert count(network.head) == 2_421_639 + 768
    assert sum(count(r.encoder) for r in network.reconstructions.values()) == 3_952_120
    heads = {block.attention.heads for r in network.reconstructions.values() for block in r.encoder.encoder.blocks}
    assert heads == {5}


def test_another_layer_costs_what_is_published_and_no_reconstruction_is_counted():
    spec = paper_spec()
    one, two = (
        multiply_accumulates(TFRNet(Params(layers=layers, regime=regime), spec), spec)
        for layers, regime in [(1, "dynamic"), (2, "complete")]
    )
    assert two - one == pytest.approx(350.5e6, rel=2e-4)


def test_defaults_are_those_of_the_adapted_form():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn_factor, params.pooled) == (128, 4, 4, 4, 128)
    assert (params.kernels.text, params.kernels.audio, params.kernels.vision) == (1, 1, 1)
    assert (params.reconstruction_layers, params.transposed_heads, params.aux_from_epoch) == (2, 5, 2)
    assert (params.embed_dropout, params.ffn_dropout, params.residual_dropout) == (0.25, 0.1, 0.1)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING
    assert params.regime == "complete"


def test_the_original_has_the_parameters_of_its_parts():
    """Per block 4 D^2 + 4 D of attention, 8 D^2 + 5 D of the FFN, 4 D of two norms; a final norm per encoder."""

    def encoder(width, layers=3):
        return layers * (12 * width**2 + 13 * width) + 2 * width

    def pooling(units, width=90):
        gru = 2 * 3 * units * (width + units + 2) + 2 * (2 * 3 * units * (2 * units + units + 2))  # three layers
        return gru + (3 * 2 * units + 1) + (width + 2 * units + 1) * units  # gate and merge

    convolutions = 30 * (1 * 768 + 5 * 512 + 3 * 512)
    head = sum(map(pooling, (36, 20, 48))) + 2 * 104 + (104 + 1) * 128 + (128 + 1) * 4
    reconstructions = sum(encoder(steps) + (90 + 1) * dim for steps, dim in [(50, 768), (400, 512), (40, 512)])
    seen = convolutions + 9 * encoder(30) + head
    assert count(paper(paper_spec(), form="original")) == seen
    assert count(paper(paper_spec(), form="original", regime="one_to_one")) == seen + reconstructions


def test_defaults_of_the_original_are_those_of_its_code():
    params = Params.model_validate({"form": "original"})
    assert (params.width, params.heads, params.layers, params.ffn_factor) == (30, 6, 3, 4)
    assert (params.kernels.text, params.kernels.audio, params.kernels.vision) == (1, 5, 3)
    assert (params.units.text, params.units.audio, params.units.vision) == (36, 20, 48)
    assert (params.gru_layers, params.hidden, params.pe_skip_zero) == (3, 128, True)
    assert (params.reconstruction_layers, params.transposed_heads, params.aux_from_epoch) == (3, 25, 2)
    assert (params.weights.text, params.weights.audio, params.weights.vision) == (5.0, 2.0, 20.0)
    rates = params.attention_dropout
    assert (rates.text, rates.audio, rates.vision, rates.own) == (0.2, 0.1, 0.0, 0.2)
    assert (params.embed_dropout, params.ffn_dropout, params.residual_dropout) == (0.2, 0.2, 0.2)
    assert (params.pooled_dropout, params.classifier_dropout) == (0.2, 0.0)
    assert (params.optimizer, params.learning_rate, params.weight_decay) == ("adam", 2e-3, 1e-3)
    assert (params.clip_value, params.clip_norm, params.plateau_patience) == (0.8, None, 5)
    assert (params.batch_size, params.epochs, params.patience, params.monitor) == (24, 100, 6, "loss")


def test_the_encoders_of_the_original_differ_by_target_and_source():
    network = paper(paper_spec(), form="original", layers=2, regime="dynamic")
    lengths, rates = {"text": 50, "audio": 400, "vision": 40}, {"text": 0.2, "audio": 0.1, "vision": 0.0}
    for name, encoder in network.streams.encoders.items():
        target, source = name.split("_from_")
        own = target == source
        assert encoder.reach == abs(lengths[target] - lengths[source])
        assert len(encoder.blocks) == (
            3 if own else 2
        )  # its code never has fewer than three where it attends to itself
        assert {block.attention.dropout for block in encoder.blocks} == {0.2 if own else rates[source]}
    heads = {}
    for m, reconstruction in network.reconstructions.items():
        encoder = reconstruction.encoder.encoder
        assert (encoder.reach, encoder.positions, len(encoder.blocks)) == (None, False, 3)
        assert {block.attention.dropout for block in encoder.blocks} == {0.2}
        heads[m] = encoder.blocks[0].attention.heads
    assert heads == {"text": 25, "audio": 25, "vision": 20}


def test_wrong_heads_and_kernels_are_refused():
    with pytest.raises(ParamsError, match=r"methods\.tfr_net\.heads: found 3 heads for width 128"):
        variants("tfr_net", {"heads": 3})
    with pytest.raises(ParamsError, match=r"methods\.tfr_net\.kernels\.txt: unknown key, did you mean 'text'\?"):
        variants("tfr_net", {"kernels": {"txt": 1}})


@pytest.mark.parametrize(
    ("block", "lacking", "restores"),
    [
        ({"regime": "complete"}, (), False),
        ({"regime": "dynamic", "p_miss": 0.0}, (), False),
        ({"regime": "one_to_one", "p_miss": 0.0}, (), False),
        ({"regime": "one_to_one", "p_miss": 0.3}, (), True),
        ({"regime": "dynamic"}, ("audio", "vision"), True),
        ({"regime": "moddrop", "p_miss": 0.0}, (), True),
        ({"regime": "moddrop"}, ("audio", "vision"), False),
    ],
)
def test_reconstructions_are_built_where_training_hides_something(block, lacking, restores, make):
    data = make(lacking=lacking)
    there = [m for m in MODALITIES if m not in lacking]
    assert list(method_of(data, **block).network.reconstructions) == (there if restores else [])


def test_the_head_pools_a_sequence_wider_than_its_result(data):
    network = method_of(data).network.eval()
    batch = masked(data)
    streams, valid = network.streams(batch.features.steps, batch.valid)
    pooling = network.head.poolings["audio"]
    assert (pooling.gru.input_size, pooling.gru.hidden_size, pooling.gru.num_layers) == (24, 4, 2)
    steps = valid["audio"][5].sum()
    x = streams["audio"][5:6, :steps]
    context = pooling.gru(x)[0]  # (1, T, 8)
    gate = torch.sigmoid(pooling.gate(context.transpose(1, 2))).transpose(1, 2)
    merged = torch.tanh(pooling.merge(torch.cat([x, torch.tanh(context) * gate], -1)))
    pooled = pooling(streams["audio"], valid["audio"])
    torch.testing.assert_close(pooled[5], merged[0].amax(0))


def test_the_loss_adds_the_error_of_every_modality_from_the_second_epoch(data):
    method = method_of(data, **NO_DROPOUT)
    method.network.eval()
    network, batch = method.network, masked(data)
    plain = data.task.loss(network(batch), batch.labels)
    torch.testing.assert_close(method._loss(batch, 1), plain)
    streams, valid = network.streams(batch.features.steps, batch.valid)
    errors = [
        missing_step_error(
            network.reconstructions[m](streams[m], valid[m]), batch.complete[m], batch.present[m] & ~batch.observed[m]
        )
        for m in MODALITIES
    ]
    assert all(error > 0 for error in errors)
    torch.testing.assert_close(method._loss(batch, 2), plain + sum(errors))
    method.params = method.params.model_copy(update={"aux_from_epoch": 1})
    torch.testing.assert_close(method._loss(batch, 1), plain + sum(errors))


def test_the_errors_are_weighted(data):
    weights = {"text": 5.0, "audio": 0.0, "vision": 20.0}
    plain, weighted = (method_of(data, **block) for block in ({}, {"weights": weights}))
    batch, errors = masked(data), {}
    for m in MODALITIES:
        plain.params = plain.params.model_copy(
            update={"weights": plain.params.weights.model_copy(update={k: float(k == m) for k in MODALITIES})}
        )
        errors[m] = error_of(plain.network.eval() and plain, batch)
    weighted.network.eval()
    torch.testing.assert_close(error_of(weighted, batch), sum(weights[m] * errors[m] for m in MODALITIES))


def test_the_original_drops_text_features_in_training_only(data):
    network, batch = method_of(data, form="original", embed_dropout=1.0).network, masked(data)
    assert network.text_dropout(batch.features["text"]).abs().sum() == 0
    network.eval()
    assert torch.equal(network.text_dropout(batch.features["text"]), batch.features["text"])
    assert method_of(data).network.text_dropout.rate == 0.0


def test_the_error_is_taken_where_a_present_step_was_masked_out(data):
    method = method_of(data)
    method.network.eval()
    assert_scored_where_masked_out(lambda batch: error_of(method, batch), masked(data))


def test_no_gradient_comes_from_steps_that_are_there(data):
    method = method_of(data)
    method.network.eval()
    batch, restored = masked(data), {}
    for m, reconstruction in method.network.reconstructions.items():

        def keep(module, inputs, output, m=m):
            output.retain_grad()
            restored[m] = output

        reconstruction.register_forward_hook(keep)
    error_of(method, batch).backward()
    for m in MODALITIES:
        missing = batch.present[m] & ~batch.observed[m]
        assert restored[m].grad[missing].any()
        assert not restored[m].grad[~missing].any()


def test_without_missing_steps_the_error_is_zero_and_its_gradient_finite(data):
    method = method_of(data)
    batch = data.batch(torch.arange(len(data)), complete=True)
    error = error_of(method, batch)
    assert error.item() == 0.0
    error.backward()
    assert all(p.grad is None or not p.grad.any() for p in method.network.parameters())


@by_form
def test_neither_prediction_nor_reconstruction_depends_on_the_neighbours(form, data):
    """The published code lets the utterances of a batch attend to each other in the reconstruction.

    In float64, since a layer norm of a short, nearly constant sequence can magnify what is rounded off.
    """
    network = method_of(data, **form).network.double().eval()
    batch = in_double(masked(data))
    streams, valid = network.streams(batch.features.steps, batch.valid)
    together = {m: r(streams[m], valid[m]) for m, r in network.reconstructions.items()}
    logits = network(batch)
    for row in range(len(data)):
        alone = in_double(masked(data, rows=[row]))
        streams, valid = network.streams(alone.features.steps, alone.valid)
        torch.testing.assert_close(network(alone)[0], logits[row], atol=1e-10, rtol=0)
        for m, reconstruction in network.reconstructions.items():
            found = reconstruction(streams[m], valid[m])[0]
            there = valid[m][0]
            torch.testing.assert_close(found[there], together[m][row, : len(there)][there], atol=1e-10, rtol=0)


@by_form
def test_no_gradient_flows_from_one_utterance_to_another(form, data):
    network = method_of(data, **form).network.eval()
    batch = masked(data)
    features = {m: x.clone().requires_grad_() for m, x in batch.features.items()}
    streams, valid = network.streams(Features.of(features).steps, batch.valid)
    restored = [r(streams[m], valid[m])[0].square().sum() for m, r in network.reconstructions.items()]
    (sum(restored) + network.classify(streams, valid)[0].square().sum()).backward()
    for x in features.values():
        assert x.grad[0].any()
        assert not x.grad[1:].any()


def test_reconstructions_run_in_training_only(data):
    method = method_of(data)
    ran = runs_of(method.network.reconstructions.values())
    method.predict(masked(data))
    assert not ran
    method._loss(masked(data), 2)
    assert len(ran) == 3


def test_a_modality_of_one_step_is_restored_by_a_linear_layer(data):
    flat = replace(data, max_lengths={**data.max_lengths, "text": 1})
    reconstruction = method_of(flat).network.reconstructions["text"]
    assert [name for name, _ in reconstruction.named_parameters()] == ["output.weight", "output.bias"]


@by_form
@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [0]])
def test_gradients_are_finite_whatever_is_absent(rows, form, data):
    method = method_of(data, **form)
    for share in (0.0, 0.6, 1.1):
        assert_finite_gradients(method, masked(data, share, rows), epoch=2)


@by_form
def test_more_padding_than_the_longest_sequence_does_not_change_the_loss(form, data):
    method = method_of(data, **form, kernels=WIDE_KERNELS)
    method.network.eval()
    batch = masked(data)
    torch.testing.assert_close(method._loss(padded(batch), 2), method._loss(batch, 2))


@by_form
def test_it_can_learn_32_utterances_by_heart(form, noise):
    numbers = {"width": 16, "learning_rate": 5e-3, "weight_decay": 0.0, "epochs": 30, "batch_size": 16}
    method = method_of(
        noise, **{**form, **NO_DROPOUT, **numbers, "units": Units(text=8, audio=8, vision=8)}, regime="complete"
    )
    assert_learns_by_heart(method, noise)


@by_form
def test_training_learns_to_restore_what_can_be_known(form, make):
    """Every step is its class' vector plus a little noise, so that what is observed says what is missing."""
    data = make(n=48, whole=True)
    method = method_of(data, **form, width=16, learning_rate=1e-2, epochs=25, batch_size=16, p_miss=0.3)
    batch = masked(data, 0.7)
    method.network.eval()
    before = error_of(method, batch).item()
    method.fit(data, None, Run(("restore",)))
    assert error_of(method, batch).item() < 0.5 * before
