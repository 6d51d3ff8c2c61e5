"""Recurrent layers over padded sequences."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def packed_gru(gru: nn.GRU, x: Tensor, valid: Tensor) -> Tensor:
    """Run a `batch_first` GRU over the valid steps only.

    Args:
        gru: any depth and direction; H = hidden size times directions.
        x: `(B, T, D)` with T of at least 1.
        valid: `(B, T)` bool, the first steps of every row.

    Returns:
        Outputs `(B, T, H)`, exactly 0 in padding.
    """
    lengths = valid.sum(1).clamp(min=1).cpu()  # a row without steps runs over one step of padding, masked below
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, _ = pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=x.shape[1])
    return outputs.masked_fill(~valid.unsqueeze(-1), 0.0)
