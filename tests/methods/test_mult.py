from dataclasses import replace

import pytest
import torch

from pipeline.data.batch import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.steps import Features
from pipeline.errors import ParamsError
from pipeline.methods.mult import MulT, Params
from pipeline.methods.protocol import not_applicable, variants
from pipeline.training.cost import multiply_accumulates
from tests.complexity import TABLE_4
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_learns_by_heart,
    count,
    everything,
    padded,
    paper_spec,
)

TINY = {"width": 8, "heads": 2, "layers": 1, "ffn_factor": 2, "aggregator_layers": 1}
NO_DROPOUT = {"embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0}
BLOCKS = [{"aggregator": "width256"}, {"aggregator": "transposed"}, {"form": "original"}]


def paper(spec, **block):
    return MulT(Params(**block), spec).network


def method_of(data, seed=0, **block):
    torch.manual_seed(seed)
    return MulT(Params.model_validate({**TINY, **block}), Spec.of(data))


def test_parameters_are_as_many_as_published():
    assert count(paper(paper_spec())) == 10_913_796
    assert count(paper(paper_spec(), **TABLE_4)) == 9_206_780
    assert count(paper(paper_spec(text=1024, audio=768), **TABLE_4)) == 9_337_852


def test_another_layer_costs_what_is_published():
    spec = paper_spec()
    one, two = (multiply_accumulates(MulT(Params(layers=n), spec), spec) for n in (1, 2))
    assert two - one == pytest.approx(212.1e6, rel=2e-4)


def test_defaults_are_those_of_the_adapted_form():
    params = Params()
    assert (params.width, params.heads, params.layers, params.ffn_factor) == (128, 4, 4, 4)
    assert (params.kernels.text, params.kernels.audio, params.kernels.vision) == (1, 1, 1)
    assert (params.aggregator, params.aggregator_layers, params.transposed_heads) == ("width256", 2, 5)
    assert (params.embed_dropout, params.ffn_dropout, params.residual_dropout) == (0.25, 0.1, 0.1)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING
    assert params.regime == "complete"


def test_the_original_has_the_parameters_of_its_parts():
    """Per block 4 D^2 + 4 D of attention, 8 D^2 + 5 D of the FFN, 4 D of two norms; a final norm per encoder."""

    def encoder(width, layers=5):
        return layers * (12 * width**2 + 13 * width) + 2 * width

    convolutions, residual = 30 * (768 + 512 + 512), 2 * (180 * 180 + 180)
    expected = convolutions + 6 * encoder(30) + 3 * encoder(60) + residual + 180 * 4 + 4
    assert count(paper(paper_spec(), form="original")) == expected == 1_115_764


def test_defaults_of_the_original_are_those_of_its_code():
    params = Params.model_validate({"form": "original"})
    assert (params.width, params.heads, params.layers, params.aggregator_layers, params.ffn_factor) == (30, 5, 5, 5, 4)
    assert (params.kernels.text, params.kernels.audio, params.kernels.vision) == (1, 1, 1)
    assert (params.causal, params.pe_skip_zero, params.aggregator) == (True, True, "width256")
    rates = params.attention_dropout
    assert (rates.text, rates.audio, rates.vision, rates.own) == (0.1, 0.0, 0.0, 0.1)
    assert (params.embed_dropout, params.ffn_dropout, params.residual_dropout) == (0.25, 0.1, 0.1)
    assert (params.optimizer, params.learning_rate, params.weight_decay) == ("adam", 1e-3, 0.0)
    assert (params.clip_value, params.clip_norm, params.plateau_patience) == (None, 0.8, 20)
    assert (params.batch_size, params.epochs, params.patience, params.monitor) == (24, 40, 40, "loss")
    assert Params.model_validate({"form": "original", "layers": 2}).layers == 2


def test_what_one_form_cannot_do_is_refused():
    with pytest.raises(ParamsError, match=r"methods\.mult\.causal: found true with form adapted, expected false or"):
        variants("mult", {"causal": True})
    with pytest.raises(ParamsError, match=r"methods\.mult\.aggregator: found 'transposed' with form original"):
        variants("mult", {"form": "original", "aggregator": "transposed"})


@pytest.mark.parametrize("causal", [True, False])
def test_the_original_reaches_as_far_as_two_longest_sequences_differ(causal, data):
    network = method_of(data, form="original", causal=causal).network  # longest: text 7, audio 13, vision 5
    reach = {name: encoder.reach for name, encoder in network.streams.encoders.items()}
    found = {"text": reach["audio_from_text"], "vision": reach["audio_from_vision"]}
    assert found == ({"text": 6, "vision": 8} if causal else {"text": None, "vision": None})
    assert (reach["text_from_vision"], reach["vision_from_text"]) == ((2, 2) if causal else (None, None))
    assert {a.reach for a in network.aggregators.values()} == {0 if causal else None}


def test_attention_dropout_of_the_original_is_that_of_the_source(data):
    rates = {"text": 0.4, "audio": 0.3, "vision": 0.2, "own": 0.1}
    network = method_of(data, form="original", attention_dropout=rates).network
    for name, encoder in network.streams.encoders.items():
        assert encoder.blocks[0].attention.dropout == rates[name.split("_from_")[1]]
    assert {a.blocks[0].attention.dropout for a in network.aggregators.values()} == {0.1}


def test_the_classifier_of_the_original_sees_the_last_valid_steps(data):
    network, seen = method_of(data, form="original").network.eval(), []
    network.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    batch = everything(data)
    network(batch)
    streams, valid = network.streams(batch.features.steps, batch.valid)
    for row in (0, 5, 4):  # of the greatest length, shorter, without a single step
        there = {m: streams[m][row : row + 1, : valid[m][row].sum()] for m in MODALITIES}
        last = [network.aggregators[m](x)[0, -1] for m, x in there.items()]
        torch.testing.assert_close(seen[0][row], torch.cat(last))


def test_no_gradient_flows_from_one_utterance_to_another_in_the_original(data):
    network, batch = method_of(data, form="original").network.eval(), everything(data)
    features = {m: x.clone().requires_grad_() for m, x in batch.features.items()}
    streams, valid = network.streams(Features.of(features).steps, batch.valid)
    sum(network.aggregators[m](streams[m], valid=valid[m])[0].square().sum() for m in MODALITIES).backward()
    for x in features.values():
        assert x.grad[0].any()
        assert not x.grad[1:].any()


def test_wrong_heads_and_kernels_are_refused():
    with pytest.raises(ParamsError, match=r"methods\.mult\.heads: found 3 heads for width 128"):
        variants("mult", {"heads": 3})
    with pytest.raises(ParamsError, match=r"methods\.mult\.kernels\.txt: unknown key, did you mean 'text'\?"):
        variants("mult", {"kernels": {"txt": 1}})


def test_one_modality_alone_is_not_applicable(make):
    (row,) = variants("mult", TINY)
    reason = not_applicable(row, Spec.of(make(lacking=("audio", "vision"))))
    assert reason == "needs 2 modalities, the benchmark has text"
    assert not_applicable(row, Spec.of(make(lacking=("audio",)))) is None


def test_two_modalities_have_one_stream_each(make):
    network = method_of(make(lacking=("audio",))).network
    assert sorted(network.streams.encoders) == ["text_from_vision", "vision_from_text"]
    assert {m: a.width for m, a in network.aggregators.items()} == {"text": 8, "vision": 8}
    assert network.classifier[1].in_features == 16


def test_the_classifier_sees_the_mean_over_valid_steps(data):
    method = method_of(data)
    network = method.network.eval()
    batch, seen = everything(data), []
    network.classifier.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(batch)
    streams, valid = network.streams(batch.features.steps, batch.valid)
    for row in (0, 5, 4):  # of the greatest length, shorter, without a single step
        means = [network.aggregators[m](streams[m], valid=valid[m])[row, valid[m][row]].mean(0) for m in MODALITIES]
        torch.testing.assert_close(seen[0][row], torch.cat(means))


def test_the_residual_block_adds_to_what_it_is_given(data):
    residual = method_of(data).network.classifier[0]
    x = torch.randn(3, 48)
    torch.testing.assert_close(residual(x), x + residual.layers(x))
    for parameter in residual.layers[2].parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(residual(x), x)


def test_the_loss_is_the_cross_entropy_of_what_is_observed(data):
    method = method_of(data, **NO_DROPOUT)
    batch = everything(data)
    torch.testing.assert_close(method._loss(batch, 1), data.task.loss(method.network(batch), batch.labels))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_more_padding_than_the_longest_sequence_does_not_change_the_loss(block, data):
    method = method_of(data, **block)
    method.network.eval()
    batch = everything(data)
    torch.testing.assert_close(method._loss(padded(batch), 1), method._loss(batch, 1))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [0]])
def test_gradients_are_finite_whatever_is_absent(block, rows, data):
    method = method_of(data, **block)
    assert_finite_gradients(method, data.batch(torch.tensor(rows)))
    assert all(p.grad is not None for p in method.network.parameters())


def test_a_modality_of_one_step_leaves_nothing_untrained(data):
    flat = replace(data, max_lengths={**data.max_lengths, "text": 1})
    assert not list(method_of(flat, aggregator="transposed").network.aggregators["text"].parameters())


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_it_can_learn_32_utterances_by_heart(block, noise):
    rates = {**NO_DROPOUT, "attention_dropout": {"text": 0.0, "own": 0.0}}
    method = method_of(noise, **block, **rates, width=16, learning_rate=3e-3, epochs=60, batch_size=16)
    assert_learns_by_heart(method, noise)
