import torch
from torch import nn

from pipeline.nn.recurrent import packed_gru, packed_lstm


def make():
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, num_layers=2, batch_first=True, bidirectional=True)
    valid = torch.arange(5) < torch.tensor([[5], [2], [0]])
    return gru, torch.randn(3, 5, 3), valid


def test_each_row_is_as_if_it_were_alone():
    gru, x, valid = make()
    found = packed_gru(gru, x, valid)
    for row, length in enumerate([5, 2]):
        torch.testing.assert_close(found[row, :length], gru(x[row : row + 1, :length])[0][0])


def test_padding_is_zero_and_without_influence_or_gradient():
    gru, x, valid = make()
    x.requires_grad_()
    found = packed_gru(gru, x, valid)
    assert torch.equal(found[~valid], torch.zeros(8, 8))
    other = packed_gru(gru, x.masked_fill(~valid[..., None], 1e6), valid)
    assert torch.equal(found, other)
    found.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.grad[~valid], torch.zeros(8, 3))


def test_an_lstm_ends_each_row_at_its_last_valid_step_and_backwards_at_its_first():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
    _, x, valid = make()
    outputs, states = packed_lstm(lstm, x, valid)
    assert torch.equal(outputs[~valid], torch.zeros(8, 8))
    for row, length in enumerate([5, 2]):
        alone, (ends, _) = lstm(x[row, :length])
        torch.testing.assert_close(outputs[row, :length], alone)
        torch.testing.assert_close(states[:, row], ends)
        torch.testing.assert_close(states[2:, row].flatten(), torch.cat([alone[-1, :4], alone[0, 4:]]))


def test_the_padding_of_an_lstm_has_no_influence_and_a_row_without_steps_is_zero():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, batch_first=True)
    _, x, valid = make()
    outputs, states = packed_lstm(lstm, x, valid)
    others = packed_lstm(lstm, x.masked_fill(~valid[..., None], 1e6), valid)
    assert torch.equal(outputs, others[0])
    assert torch.equal(states, others[1])
    assert torch.equal(states[:, 2], torch.zeros(1, 4))
