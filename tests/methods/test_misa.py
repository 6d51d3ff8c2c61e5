import pytest
import torch
from torch.nn import functional

from pipeline.data.batch import MODALITIES
from pipeline.data.spec import Spec
from pipeline.errors import ParamsError
from pipeline.methods.misa import MISA, Params, _Averaged, _Mean, _Recurrent, _Stacked, difference
from pipeline.methods.protocol import variants
from pipeline.nn.distances import central_moment_discrepancy
from pipeline.training.cost import multiply_accumulates, parameters
from tests.networks import (
    STUDY_TRAINING,
    assert_finite_gradients,
    assert_learns_by_heart,
    count,
    everything,
    kept,
    padded,
    paper_spec,
    runs_of,
)

TINY = {"width": 8, "lstm_layers": 2, "ffn": 16}
NO_DROPOUT = {"dropout": 0.0, "fusion_dropout": 0.0}


def make(data, **block):
    torch.manual_seed(0)
    return MISA(Params.model_validate({**TINY, **block}), Spec.of(data))


@pytest.fixture(scope="module")
def published():
    return MISA(Params(), paper_spec())


def test_parameters_are_as_many_as_published(published):
    network = published.network
    assert parameters(published) == 10_759_428
    assert {m: count(encoder) for m, encoder in network.encoders.items()} == {
        "text": 592_128,
        "audio": 263_680,
        "vision": 8_667_648,
    }
    assert count(network.projections) == 230_528
    assert count(network.private) + count(network.shared) + count(network.decoders) == 115_584
    assert count(network.classifier) == 296_836
    assert count(network.fusion) == 593_024


def test_multiply_accumulates_are_those_of_the_layers(published, monkeypatch):
    encoders = 50 * 768**2 + 400 * 512**2 + 40 * 4 * 8 * 512**2 + 512**2
    spaces = (768 + 512 + 512) * 128 + 6 * 128**2
    fusion = 6 * (4 * 128**2 + 2 * 128 * 2048) + 2 * 6**2 * 128
    classifier = 768 * 384 + 384 * 4
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # its fused LSTM counts as nothing
    assert multiply_accumulates(published, paper_spec()) == encoders + spaces + fusion + classifier


def test_defaults_are_those_of_the_adapted_form():
    params = Params()
    assert (params.width, params.lstm_layers, params.heads, params.ffn) == (128, 4, 2, 2048)
    assert (params.dropout, params.fusion_dropout, params.cmd_order) == (0.25, 0.1, 5)
    assert (params.difference_weight, params.similarity_weight, params.reconstruction_weight) == (0.3, 0.8, 0.8)
    assert params.model_dump(include=set(STUDY_TRAINING)) == STUDY_TRAINING
    assert params.regime == "complete"


def test_defaults_of_the_original_form_are_those_of_its_authors():
    params = Params(form="original")
    assert (params.width, params.heads, params.ffn, params.dropout, params.fusion_dropout) == (128, 2, 2048, 0.5, 0.1)
    assert (params.difference_weight, params.similarity_weight, params.reconstruction_weight) == (0.3, 1.0, 1.0)
    assert (params.optimizer, params.learning_rate, params.weight_decay, params.clip_value) == ("adam", 1e-4, 0.0, 1.0)
    assert (params.batch_size, params.patience, params.monitor) == (64, 7, "loss")
    assert Params(form="original", dropout=0.1).dropout == 0.1
    assert Params(form="adapted") == Params()


def test_parameters_of_the_original_form_are_those_of_its_layers():
    method = MISA(Params(form="original"), paper_spec())
    network, dim = method.network, 512
    gates = 4 * dim  # of one LSTM in one direction; torch gives each two biases
    below, above = 2 * gates * (dim + dim + 2), 2 * gates * (2 * dim + dim + 2)
    stacked = below + 2 * (2 * dim) + above
    assert {m: count(encoder) for m, encoder in network.encoders.items()} == {
        "text": 0,
        "audio": stacked,
        "vision": stacked,
    }
    projections = sum(size * 128 + 128 + 2 * 128 for size in (768, 4 * dim, 4 * dim))
    spaces = 7 * (128 * 128 + 128)  # three private, one shared, three decoders
    fusion = 4 * (128 * 128 + 128) + 128 * 2048 + 2048 + 2048 * 128 + 128 + 4 * 128
    classifier = 768 * 384 + 384 + 384 * 4 + 4
    assert parameters(method) == 2 * stacked + projections + spaces + fusion + classifier == 22_637_572


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"methods\.misa\.heads: found 3 heads for width 128"):
        variants("misa", {"heads": 3})


@pytest.mark.parametrize("available", [("text", "audio"), ("audio", "vision")])
def test_modalities_that_a_benchmark_lacks_are_left_out(available):
    network = MISA(Params(), paper_spec(available=available)).network
    for parts in (network.encoders, network.projections, network.private, network.decoders):
        assert tuple(parts) == available
    assert network.classifier[0].in_features == 4 * 128


def test_the_width_of_the_encoders_can_be_that_of_none_of_the_features(data):
    method = make(data, encoded=7)
    assert [projection[0].in_features for projection in method.network.projections.values()] == [7, 7, 7]
    method._loss(everything(data), 1).backward()
    assert all(p.grad is not None for p in method.network.parameters())


def test_one_modality_has_nothing_to_share():
    assert MISA.needs.unmet(paper_spec(available=("text",))) == "needs 2 modalities, the benchmark has text"


def test_padding_has_no_part_in_the_average():
    torch.manual_seed(0)
    encoder = _Averaged(4, 5)
    torch.nn.init.normal_(encoder.steps[0].bias)  # so that a step of zeros is mapped to something
    x, valid = torch.randn(2, 6, 4), torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    found = encoder(x.masked_fill(~valid[..., None], 0.0), valid)
    torch.testing.assert_close(found[0], encoder.steps(x[0]).mean(0))
    torch.testing.assert_close(found[1], encoder.steps(x[1, :2]).mean(0))
    assert torch.equal(encoder(x.masked_fill(~valid[..., None], 1e6), valid), found)


def test_the_last_state_is_that_of_the_last_valid_step_of_each_row():
    torch.manual_seed(0)
    encoder = _Recurrent(4, 5, 3, 0.5).eval()
    x, lengths = torch.randn(3, 6, 4), [2, 6, 3]
    valid = torch.arange(6) < torch.tensor(lengths)[:, None]
    found = encoder(x, valid)
    for row, length in enumerate(lengths):
        outputs, _ = encoder.lstm(x[row : row + 1, :length])
        torch.testing.assert_close(found[row], encoder.output(outputs[0, -1]))


def test_two_lstms_give_their_final_states_in_both_directions():
    torch.manual_seed(0)
    encoder, x, lengths = _Stacked(4), torch.randn(3, 6, 4), [2, 6, 3]
    valid = torch.arange(6) < torch.tensor(lengths)[:, None]
    found = encoder(x, valid)
    assert found.shape == (3, 16)
    for row, length in enumerate(lengths):
        below, _ = encoder.first(x[row, :length])
        above, _ = encoder.second(encoder.norm(below))
        ends = [(below[-1, :4], below[0, 4:]), (above[-1, :4], above[0, 4:])]  # forward ends last, backward first
        torch.testing.assert_close(found[row], torch.cat([state for pair in ends for state in pair]))


def test_recurrent_weights_of_the_original_form_are_orthogonal():
    encoder = _Stacked(6)
    for lstm in (encoder.first, encoder.second):
        for weight in (lstm.weight_hh_l0, lstm.weight_hh_l0_reverse):  # (24, 6)
            torch.testing.assert_close(weight.T @ weight, torch.eye(6), atol=1e-5, rtol=0)


def test_text_of_the_original_form_is_the_mean_of_its_valid_features(data):
    batch = everything(data)
    found = make(data, form="original").network.encoders["text"](batch.features["text"], batch.valid["text"])
    for row, length in enumerate(data.columns["text"].lengths.tolist()):
        expected = batch.features["text"][row, :length].mean(0) if length else torch.zeros(6)
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("encoder", [_Averaged(4, 5), _Recurrent(4, 5, 2, 0.0), _Mean(), _Stacked(4)])
def test_a_modality_without_steps_is_a_zero_vector(encoder):
    x, valid = torch.randn(2, 3, 4), torch.tensor([[True] * 3, [False] * 3])
    found = encoder(x, valid)
    assert found[0].any()
    assert not found[1].any()


def test_an_lstm_of_one_layer_has_no_dropout_to_warn_of(recwarn):
    _Recurrent(4, 4, 1, 0.5)
    assert not recwarn.list


def test_the_difference_is_that_of_the_definition():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    rows = [functional.normalize(v - v.mean(0), dim=1) for v in (x, y)]
    expected = sum((rows[0][:, i] @ rows[1][:, j]) ** 2 for i in range(3) for j in range(3)) / 9
    torch.testing.assert_close(difference(x, y), expected, atol=1e-5, rtol=1e-4)


def test_the_difference_of_uncorrelated_views_is_zero():
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert difference(x, y) == 0.0
    torch.testing.assert_close(difference(x, -x), torch.tensor(16.0), atol=1e-3, rtol=0)


def test_the_difference_holds_lengths_fixed():
    x, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    difference(x, y).backward()
    scale = ((x - x.mean(0)).norm(dim=1, keepdim=True) + 1e-6).detach()
    other = functional.normalize(y - y.mean(0), dim=1)
    fixed = x.detach().clone().requires_grad_()
    (((fixed - fixed.mean(0)) / scale).T @ other).square().mean().backward()
    torch.testing.assert_close(x.grad, fixed.grad, atol=1e-5, rtol=1e-3)


def test_the_losses_are_over_all_pairs_and_modalities(data):
    method = make(data, **NO_DROPOUT)
    projected, private, shared = method.network.views(everything(data))
    t, a, v = MODALITIES
    pairs = [(t, a), (t, v), (a, v)]
    similar = sum(central_moment_discrepancy(shared[m], shared[n], 5) for m, n in pairs) / 3
    different = sum(difference(private[m], shared[m]) for m in MODALITIES)
    different = different + sum(difference(private[m], private[n]) for m, n in pairs)
    decoded = {m: method.network.decoders[m](private[m] + shared[m]) for m in MODALITIES}
    restored = sum((decoded[m] - projected[m]).square().mean() for m in MODALITIES) / 3
    torch.testing.assert_close(method._similarity(shared), similar)
    torch.testing.assert_close(method._difference(private, shared), different)
    torch.testing.assert_close(method._reconstruction(projected, private, shared), restored)
    task = data.task.loss(method.network(everything(data)), everything(data).labels)
    expected = task + 0.3 * different + 0.8 * similar + 0.8 * restored
    torch.testing.assert_close(method._loss(everything(data), 1), expected)


def test_views_are_between_0_and_1_and_the_targets_of_reconstruction_are_normalised(data):
    projected, private, shared = make(data).network.eval().views(everything(data))
    for view in [*private.values(), *shared.values()]:
        assert ((view > 0) & (view < 1)).all()
    for x in projected.values():
        torch.testing.assert_close(x.mean(-1), torch.zeros(len(data)), atol=1e-5, rtol=0)


def test_one_utterance_has_no_similarity_and_no_difference(data):
    method = make(data, **NO_DROPOUT)
    batch = data.batch(torch.tensor([0]))
    projected, private, shared = method.network.views(batch)
    assert method._similarity(shared).item() == 0.0
    assert method._difference(private, shared).item() == 0.0
    task = data.task.loss(method.network(batch), batch.labels)
    restored = method._reconstruction(projected, private, shared)
    torch.testing.assert_close(method._loss(batch, 1), task + 0.8 * restored)


def test_a_reconstruction_without_weight_has_no_decoders(data):
    method = make(data, reconstruction_weight=0.0, difference_weight=0.0, similarity_weight=0.0, **NO_DROPOUT)
    assert len(method.network.decoders) == 0
    batch = everything(data)
    torch.testing.assert_close(method._loss(batch, 1), data.task.loss(method.network(batch), batch.labels))


def test_decoders_run_in_training_only(data):
    method = make(data)
    ran = runs_of(method.network.decoders.values())
    method.predict(everything(data))
    assert not ran
    method._loss(everything(data), 1)
    assert len(ran) == 3


@pytest.mark.parametrize("rows", [[4], [4, 0], [1], [2], [3], [1, 4], [0], [0, 0]])
@pytest.mark.parametrize("form", ["adapted", "original"])
def test_gradients_are_finite_whatever_is_absent(form, rows, data):
    method = make(data, form=form)
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.6, 1.1):
        assert_finite_gradients(method, data.batch(torch.tensor(rows), kept(data, share, generator)))


@pytest.mark.parametrize("form", ["adapted", "original"])
def test_more_padding_does_not_change_the_loss(form, data):
    method = make(data, form=form)
    method.network.eval()
    batch = everything(data)
    torch.testing.assert_close(method._loss(padded(batch), 1), method._loss(batch, 1))


@pytest.mark.parametrize("form", ["adapted", "original"])
def test_it_can_learn_32_utterances_by_heart(form, noise):
    numbers = {"width": 64, "ffn": 128, "learning_rate": 5e-4, "epochs": 120, "batch_size": 32}
    method = make(noise, **NO_DROPOUT, **numbers, form=form)
    assert_learns_by_heart(method, noise)
