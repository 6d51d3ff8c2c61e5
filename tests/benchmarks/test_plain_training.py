"""The plain implementation that ours is timed against computes the same loss, gradients and predictions."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.methods.mct_hfr import MCTHFR, Params
from tests.benchmarks.plain_training import PlainMCTHFR, Utterances, predict_curve, train_epoch

LENGTHS = {"text": [3, 1, 4, 2, 4, 1], "audio": [9, 2, 7, 9, 1, 4], "vision": [2, 3, 1, 3, 3, 2]}
SMALL = {
    "width": 16, "heads": 4, "layers": 3, "ffn": 32, "lfi_depth": 2, "p_miss": 0.4, "batch_size": 6, "epochs": 1,
    "embed_dropout": 0.0, "ffn_dropout": 0.0, "residual_dropout": 0.0, "ramp_epochs": 1,
    "attention_dropout": {"text": 0.0, "audio": 0.0, "vision": 0.0},
}  # fmt: skip


@pytest.fixture
def both(make_data):
    """The data, whose longest admitted sequences nobody has, our method and the plain one with the same weights."""
    data = replace(make_data(LENGTHS), max_lengths={"text": 5, "audio": 12, "vision": 4})
    torch.manual_seed(0)
    ours = MCTHFR(Params.model_validate(SMALL), Spec.of(data))
    plain = PlainMCTHFR(ours.params, Spec.of(data))
    plain.load(ours.state())
    return data, ours, plain


def batches(data):
    """The same utterances under the same masks, padded to the longest of the batch and to the longest admitted."""
    samples = Utterances(data, 0.4, 7)
    plain = torch.utils.data.default_collate([samples[row] for row in range(len(data))])
    keep = {}
    for m in MODALITIES:
        steps = int(data.columns[m].lengths.max())
        keep[m] = ~plain["missing"][m][:, :steps]
        assert (~keep[m]).any()
    return data.batch(torch.arange(len(data)), keep, complete=True), plain


def test_the_plain_loss_and_its_gradients_are_ours(both):
    data, ours, plain = both
    batch, padded = batches(data)
    found, expected = plain.loss(padded), ours._loss(batch, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    found.backward()
    expected.backward()
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in ours.network.parameters())
    own = plain.layers[0].blocks["audio"].heads
    fused = ours.network.encoder.layers[0].blocks["audio"].attention.projection.weight.grad
    rows = [getattr(head, name).weight.grad for name in ("query", "key", "value") for head in own]
    torch.testing.assert_close(torch.cat(rows), fused, rtol=1e-5, atol=1e-5)
    for m in MODALITIES:
        gradients = plain.convolutions[m].weight.grad, ours.network.encoder.front_ends[m].convolution.weight.grad
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_the_plain_predictions_are_ours(both, tmp_path):
    data, ours, plain = both
    batch, padded = batches(data)
    plain.eval()
    torch.testing.assert_close(torch.softmax(plain(padded), -1), ours.predict(batch).scores, rtol=0, atol=1e-5)
    save_file(ours.state(), tmp_path / "weights.safetensors")
    curve = predict_curve(tmp_path / "weights.safetensors", ours.params, Spec.of(data), data, [0.0, 0.5], 2)
    complete = ours.predict(data.batch(torch.arange(len(data)))).scores
    torch.testing.assert_close(curve[0], complete.expand(2, -1, -1), rtol=0, atol=1e-5)
    assert not torch.allclose(curve[1, 0], curve[1, 1])


def test_the_plain_loop_trains(both):
    data, _, plain = both
    before = plain.classifier.weight.clone()
    assert train_epoch(plain, data) == 1
    assert not torch.equal(plain.classifier.weight, before)
