from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.methods.mct_hfr import MCTHFR, Params
from pipeline.methods.protocol import variants
from pipeline.training.run import Run
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_learns_by_heart,
    assert_scored_where_masked_out,
    count,
    everything,
    masked,
    padded,
    paper_spec,
    runs_of,
)

TINY = {"width": 8, "heads": 2, "layers": 2, "ffn": 16, "lfi_depth": 1}
NO_DROPOUT = {
    "embed_dropout": 0.0,
    "ffn_dropout": 0.0,
    "residual_dropout": 0.0,
    "attention_dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
}


def paper(spec, **block):
    return MCTHFR(Params(**block), spec).network


def make(data, seed=0, **block):
    torch.manual_seed(seed)
    return MCTHFR(Params.model_validate({**TINY, **block}), Spec.of(data))


@pytest.mark.parametrize(
    ("block", "parameters"),
    [
        ({"lfi": False, "gfa": False}, 2_873_476),
        ({}, 5_630_724),
        ({"lfi_depth": 1}, 4_441_092),
        ({"preset": "code", "lfi": False, "gfa": False}, 3_132_487),
        ({"preset": "code"}, 5_779_143),
    ],
)
def test_parameters_are_as_many_as_published(block, parameters):
    assert count(paper(paper_spec(), **block)) == parameters


def test_parameters_with_the_widths_of_the_older_features():
    spec = paper_spec(text=1024, audio=768)
    assert count(paper(spec, lfi=False, gfa=False)) == 3_004_548
    assert count(paper(spec, preset="code")) == 5_910_215


def test_defaults_are_those_of_the_paper():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn) == (128, 4, 4, 512)
    assert (params.kernels.audio, params.kernels.vision, params.kernels.text) == (3, 3, 1)
    assert (params.alpha, params.beta, params.cmd_order, params.lfi_depth) == (0.4, 0.6, 5, 2)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING
    assert (params.regime, params.p_miss, params.ramp_epochs) == ("dynamic", 0.2, 5)
    assert not params.pe_skip_zero
    assert params.ffn_skip
    assert not params.outer_skip


def test_the_code_preset_changes_what_is_not_given():
    params = Params(preset="code", ramp_epochs=3)
    assert (params.kernels.audio, params.head, params.gfa_predictor, params.monitor) == (
        1,
        "gated",
        "bottleneck",
        "uar",
    )
    assert params.pe_skip_zero
    assert params.outer_skip
    assert params.gfa_symmetric
    assert not params.ffn_skip
    assert params.aux_from_epoch == 2
    assert params.ramp_epochs == 3


def test_a_variant_may_change_the_preset():
    base, code = variants("mct_hfr", {"layers": 2, "variants": {"code": {"preset": "code"}}})
    assert (base.params.head, code.params.head) == ("attention", "gated")
    assert code.params.layers == 2


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"methods\.mct_hfr\.heads: found 3 heads for width 128"):
        variants("mct_hfr", {"heads": 3})
    with pytest.raises(ParamsError, match=r"methods\.mct_hfr\.heads: found 4 heads for width 30"):
        variants("mct_hfr", {"width": 30})


def test_a_kernel_of_an_unknown_modality_is_refused_with_a_suggestion():
    with pytest.raises(ParamsError, match=r"methods\.mct_hfr\.kernels\.txt: unknown key, did you mean 'text'\?"):
        variants("mct_hfr", {"kernels": {"txt": 1}})
    with pytest.raises(ValidationError):
        Params(kernels={"audio": 0})


def test_training_on_complete_data_builds_no_restoration(data):
    for block in ({"regime": "complete"}, {"p_miss": 0.0}):
        network = make(data, **block).network
        assert network.predictor is None
        assert len(network.decoders) == 0


def test_a_loss_without_restoration_is_the_cross_entropy_of_the_masked_view(data):
    method = make(data, lfi=False, gfa=False, **NO_DROPOUT)
    batch = masked(data)
    expected = data.task.loss(method.network(batch), batch.labels)
    torch.testing.assert_close(method._loss(batch, 1), expected)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_the_loss_has_the_weights_of_equation_18(preset, data):
    batch, losses = masked(data), {}
    full = {"preset": preset, "aux_from_epoch": 1, **NO_DROPOUT}
    reference = make(data, **full)
    for alpha, beta in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.6)]:
        method = make(data, alpha=alpha, beta=beta, **full)
        method.load(reference.state())
        method.network.eval()
        losses[alpha, beta] = method._loss(batch, 1)
    base = losses[0.0, 0.0]
    expected = base + 0.4 * (losses[1.0, 0.0] - base) + 0.6 * (losses[0.0, 1.0] - base)
    torch.testing.assert_close(losses[0.4, 0.6], expected)
    assert losses[1.0, 0.0] > base
    assert losses[0.0, 1.0] > base


def test_both_views_in_one_batch_are_as_two_passes(data):
    method = make(data, lfi=False, alpha=1.0, **NO_DROPOUT)
    network, batch = method.network, masked(data)
    embeddings = []
    for view in (batch, batch.unmasked()):
        # every modality has a step in this batch, so that nothing needs padding
        _, states = network.encoder(view.features.steps, view.valid)
        embeddings.append(network.head.embed(states, view.valid))
    tasks = [data.task.loss(network.head.classify(embedding), batch.labels) for embedding in embeddings]
    expected = sum(tasks) + method._distance(network.predictor(embeddings[0]), embeddings[1])
    torch.testing.assert_close(method._loss(batch, 1), expected)


def test_batch_normalisation_sees_each_view_as_its_own_batch(data):
    method = make(data, preset="code", lfi=False, aux_from_epoch=1)
    sizes = []
    norm = method.network.head.classify[0]
    norm.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    method._loss(masked(data), 1)
    assert sizes == [len(data), len(data)]


def test_restoration_starts_at_its_epoch(data):
    method = make(data, preset="code")
    method.network.eval()
    batch = masked(data)
    plain = data.task.loss(method.network(batch), batch.labels)
    torch.testing.assert_close(method._loss(batch, 1), plain)
    assert method._loss(batch, 2) > plain + 1e-3


def test_the_symmetric_alignment_holds_the_other_side_fixed(data):
    for symmetric in (True, False):
        method = make(data, gfa_symmetric=symmetric)
        method.network.predictor = torch.nn.Identity()
        x, y = torch.randn(6, 24).requires_grad_(), torch.randn(6, 24).requires_grad_()
        found = method._misalignment(x, y)
        torch.testing.assert_close(found, method._distance(x, y))
        found.backward()
        whole = torch.autograd.grad(method._distance(x, y), (x, y))
        share = 0.5 if symmetric else 1.0
        torch.testing.assert_close(x.grad, share * whole[0])
        torch.testing.assert_close(y.grad, share * whole[1])
        method.network.predictor = torch.nn.Linear(24, 24)
        x.grad = y.grad = None
        method._misalignment(x, y).backward()
        assert x.grad.any()
        assert y.grad.any()


@pytest.mark.parametrize("distance", ["cmd", "smooth_l1", "cosine", "jsd"])
def test_every_distance_trains(distance, data):
    method = make(data, gfa_distance=distance)
    method._loss(masked(data), 1).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.network.parameters())


def test_imagination_is_scored_where_a_present_step_was_masked_out(data):
    method = make(data, gfa=False, **NO_DROPOUT)
    batch = masked(data)
    projected, states = method.network.encoder(batch.features.steps, batch.valid)
    assert_scored_where_masked_out(lambda batch: method._imagination_error(batch, projected, states), batch)


def test_imagination_without_missing_steps_is_zero(data):
    method = make(data, gfa=False)
    batch = data.batch(torch.arange(len(data)), complete=True)
    projected, states = method.network.encoder(batch.features.steps, batch.valid)
    assert method._imagination_error(batch, projected, states).item() == 0.0


def test_decoders_run_in_training_only(data):
    method = make(data)
    ran = runs_of(method.network.decoders.values())
    method.predict(masked(data))
    assert not ran
    method._loss(masked(data), 1)
    assert len(ran) == 3


@pytest.mark.parametrize("preset", ["paper", "code"])
@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [1, 4], [0]])
def test_gradients_are_finite_whatever_is_absent(preset, rows, data):
    method = make(data, preset=preset, aux_from_epoch=1)
    for share in (0.0, 0.6, 1.1):
        assert_finite_gradients(method, masked(data, share, rows))


def test_the_longest_admitted_lengths_scale_attention_not_those_of_a_batch(data):
    method = make(data)
    assert method.network.encoder.longest == 7 + 13 + 5
    longer = replace(data, max_lengths={"text": 50, "audio": 400, "vision": 40})
    other = make(longer)
    other.load(method.state())
    batch = everything(data)
    assert not torch.allclose(method.predict(batch).scores, other.predict(batch).scores)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_it_can_learn_32_utterances_by_heart(preset, noise):
    numbers = {"width": 16, "learning_rate": 3e-3, "epochs": 50}
    method = make(noise, **NO_DROPOUT, **numbers, preset=preset, lfi=False, gfa=False, regime="complete")
    assert_learns_by_heart(method, noise)


def test_it_can_learn_32_masked_utterances_with_restoration(noise):
    method = make(noise, **NO_DROPOUT, width=16, learning_rate=3e-3, epochs=100, ramp_epochs=1)
    method.fit(noise, None, Run(("masked",)))
    batch = masked(noise, 0.8)
    assert noise.task.loss(method.network(batch), batch.labels) < 0.3


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_more_padding_does_not_change_the_loss(preset, data):
    method = make(data, preset=preset, aux_from_epoch=1)
    method.network.eval()
    batch = masked(data)
    torch.testing.assert_close(method._loss(padded(batch), 1), method._loss(batch, 1))
