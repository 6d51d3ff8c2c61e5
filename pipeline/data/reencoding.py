"""Text that lacks words, as its encoder sees it: [UNK] in place of every dropped token, the whole text encoded anew.

A contextual encoder mixes what it reads, so the stored vector of a token that stays still knows the tokens that were
dropped. Encoding anew changes the vectors of all tokens of such a text: none of them has seen what is missing.

Chen and Zhang, 2023, https://arxiv.org/abs/2312.15848, section 5.2.1, for BERT.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Encode = Callable[[Sequence[npt.NDArray[np.int64]]], list[npt.NDArray[np.float32]]]
"""From the ids `(T,)` of some texts to their features `(T, D)`; one text does not depend on the others."""


@dataclass(frozen=True)
class Reencoder:
    """Features of texts with [UNK] in them.

    Args:
        encode: as the stored features were made.
        unknown: id of [UNK].
        framing: ids of the marks around every text ([CLS], [SEP]), which are never dropped.
        mean: `(D,)` float32, subtracted from what `encode` gives.
        deviation: `(D,)` float32, by which the difference is divided.
    """

    encode: Encode
    unknown: int
    framing: tuple[int, ...]
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    deviation: Tensor = field(default_factory=lambda: torch.ones(()))

    def scaled(self, mean: Tensor, deviation: Tensor) -> "Reencoder":
        """The same with z-scores `(D,)`, for a dataset that was in the encoder's own units."""
        return replace(self, mean=mean, deviation=deviation)

    def frames(self, tokens: Tensor) -> Tensor:
        """Where the marks are, bool of the shape of `tokens`."""
        return (tokens[..., None] == tokens.new_tensor(self.framing)).any(-1)

    def fill(self, features: Tensor, tokens: Tensor, valid: Tensor, dropped: Tensor) -> Tensor:
        """Features of a batch in which every text that lacks a token is encoded anew.

        Args:
            features: `(B, T, D)` of the complete texts.
            tokens: `(B, T)` int, ids of the complete texts.
            valid: `(B, T)` bool, the steps of each text: a prefix.
            dropped: `(B, T)` bool.

        Returns:
            `(B, T, D)`; texts that lack nothing as they were, without gradient.
        """
        rows = dropped.any(1).nonzero().ravel()
        if not len(rows):
            return features
        own = valid[rows]
        ids = torch.where(dropped[rows], self.unknown, tokens[rows])
        lengths = own.sum(1).tolist()
        texts = [text[:length] for text, length in zip(ids.cpu().numpy().astype(np.int64), lengths, strict=True)]
        encoded = torch.from_numpy(np.concatenate(self.encode(texts))).to(features.device)  # (sum T, D)
        answer = features.new_zeros(len(rows), *features.shape[1:])
        answer[own] = (encoded - self.mean.to(features.device)) / self.deviation.to(features.device)
        filled = features.clone()
        filled[rows] = answer
        return filled
