"""Recurrent layers over padded sequences."""

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def packed_gru(gru: nn.GRU, x: Tensor, valid: Tensor) -> Tensor:
    """Run a `batch_first` GRU over the valid steps only.

    Args:
        gru: any depth and direction; H = hidden size times directions.
        x: `(B, T, D)` with T of at least 1.
        valid: `(B, T)` bool, the first steps of every row.

    Returns:
        Outputs `(B, T, H)`, exactly 0 in padding.
    """
    outputs, _ = gru(_packed(x, valid))
    return _unpacked(outputs, valid)


def packed_lstm(lstm: nn.LSTM, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Run a `batch_first` LSTM over the valid steps only.

    Args:
        lstm: any depth and direction; L = depth times directions, H = hidden size, a = directions.
        x: `(B, T, D)` with T of at least 1.
        valid: `(B, T)` bool, the first steps of every row.

    Returns:
        Outputs `(B, T, a H)`, exactly 0 in padding; final states `(L, B, H)`, 0 in a row without steps. The final state
        of a direction is that after the last step which it reads: the last valid one forward, the first backward.
    """
    outputs, (states, _) = lstm(_packed(x, valid))
    return _unpacked(outputs, valid), states.masked_fill(~valid.any(dim=1)[:, None], 0.0)


def _packed(x: Tensor, valid: Tensor) -> PackedSequence:
    lengths = valid.sum(1).clamp(min=1).cpu()  # a row without steps runs over one step of padding, masked by the caller
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)


def _unpacked(outputs: PackedSequence, valid: Tensor) -> Tensor:
    padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=valid.shape[1])
    return padded.masked_fill(~valid.unsqueeze(-1), 0.0)
