import pytest
import torch
from torch.nn import functional

from pipeline.data.batch import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.errors import ParamsError
from pipeline.methods.intra_attention import IntraAttention, Params, _Branch, statistical_pooling
from pipeline.methods.protocol import variants
from tests.networks import assert_finite_gradients, count

TINY = {
    "text_steps": 8, "audio_steps": 14, "audio_out": 6, "vision_steps": 5, "vision_out": 4,
    "hidden": 6, "heads": 3, "bottleneck": 8,
}  # fmt: skip


def spec_of(available=MODALITIES):
    return Spec(
        dims={"text": 300, "audio": 120, "vision": 2048},
        available=available,
        task=Task(tuple("abcdefg")),
        hops=dict.fromkeys(MODALITIES),
        max_lengths={"text": 128, "audio": 1000, "vision": 32},
    )


def test_parameters_are_as_many_as_published():
    network = IntraAttention(Params(), spec_of()).network
    assert count(network) == 1_645_892
    branches = network.branches
    assert [count(branches[m]) for m in MODALITIES] == [188_400, 624_100, 818_505]
    assert (count(branches["audio"].time), count(branches["vision"].time)) == (500_500, 825)
    assert branches["text"].time is None
    assert [count(branches[m].attention) for m in MODALITIES] == [58_080] * 3
    assert count(network.classifier) == 14_460 + 427


def test_defaults_are_those_of_the_thesis():
    params = Params()
    assert (params.optimizer, params.learning_rate, params.batch_size, params.epochs) == ("adam", 1e-3, 32, 200)
    assert (params.monitor, params.patience, params.plateau_patience) == ("acc", 10, 10)
    assert (params.hidden, params.heads, params.text_dropout, params.dropout) == (60, 6, 0.25, 0.1)
    assert params.regime == "complete"
    assert not params.mask_padding


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match=r"heads: found 6 heads for twice hidden = 16"):
        variants("intra_attention", {"hidden": 8})


def test_equal_vectors_have_a_deviation_of_the_root_of_epsilon_with_finite_gradient():
    vectors = torch.ones(2, 3, 4, requires_grad=True)
    pooled = statistical_pooling(vectors)
    torch.testing.assert_close(pooled[:, 4:], torch.full((2, 4), 1e-4))
    pooled.sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_pooling_is_mean_then_unbiased_deviation():
    vectors = torch.tensor([[[1.0], [2.0], [6.0]]])
    torch.testing.assert_close(statistical_pooling(vectors), torch.tensor([[3.0, 7.0**0.5]]))
    assert torch.equal(statistical_pooling(vectors[:, :1]), vectors[:, 0])


@pytest.mark.parametrize("available", [("text",), ("text", "vision")])
def test_modalities_that_a_benchmark_lacks_are_left_out(available):
    network = IntraAttention(Params(), spec_of(available)).network
    assert tuple(network.branches) == available
    assert network.classifier[0].in_features == 120 * len(available)


def branch(out, mask_padding=False, steps=10):
    torch.manual_seed(0)
    params = Params.model_validate({**TINY, "mask_padding": mask_padding})
    return _Branch(3, steps, out, params, 0.0).eval()


def test_mapping_time_is_a_pointwise_convolution_over_zero_padded_steps():
    net = branch(out=4)
    x, valid = torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)
    padded = functional.pad(x, (0, 0, 0, 4))
    mapped = functional.conv1d(padded, net.time.weight[:, :, None], net.time.bias)  # time is the channel axis
    assert mapped.shape == (2, 4, 3)
    expected = net.attention(net.gru(mapped)[0]).mean(1)
    torch.testing.assert_close(net(x, valid), expected)


def test_without_mapping_and_masks_padding_takes_part_up_to_the_fixed_length():
    net = branch(out=None)
    x, valid = torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)
    padded = functional.pad(x, (0, 0, 0, 4))
    torch.testing.assert_close(net(x, valid), net.attention(net.gru(padded)[0]).mean(1))


@pytest.mark.parametrize("out", [None, 4])
def test_longer_sequences_are_cut(out):
    net = branch(out)
    x, valid = torch.randn(2, 15, 3), torch.ones(2, 15, dtype=torch.bool)
    assert torch.equal(net(x, valid), net(x[:, :10], valid[:, :10]))


def test_masked_padding_takes_no_part():
    net = branch(out=None, mask_padding=True)
    x = torch.randn(1, 6, 3)
    found = net(x, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(found, net.attention(net.gru(x)[0]).mean(1))
    nothing = net(torch.zeros(1, 6, 3), torch.zeros(1, 6, dtype=torch.bool))
    assert not nothing.any()


def test_masked_and_unmasked_padding_differ_for_short_sequences():
    x, valid = torch.randn(1, 6, 3), torch.ones(1, 6, dtype=torch.bool)
    assert not torch.allclose(branch(None, mask_padding=True)(x, valid), branch(None)(x, valid))


@pytest.mark.parametrize("mask_padding", [False, True])
def test_gradients_are_finite_whatever_is_absent(mask_padding, data):
    torch.manual_seed(0)
    method = IntraAttention(Params.model_validate({**TINY, "mask_padding": mask_padding}), Spec.of(data))
    for rows in ([4], [0, 4], [1], [2], [3]):
        assert_finite_gradients(method, data.batch(torch.tensor(rows)))
        assert all(p.grad is not None for p in method.network.parameters())
