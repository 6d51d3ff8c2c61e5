"""Intra-attention fusion: each modality attends to itself; mean and deviation over modalities are classified.

Rajan, "Learning from Audio, Vision and Language Modalities for Affect Recognition Tasks", PhD thesis, Queen Mary
University of London, 2022, chapter 4; also Rajan, Brutti, Cavallaro, "Is Cross-Attention
Preferable to Self-Attention for Multi-Modal Emotion Recognition?", ICASSP 2022, https://arxiv.org/abs/2202.09263

Follows: thesis sections 4.2 and 4.2.1, equation 4.3, and 4.4.2 (`filler: neighbours`); from
https://github.com/smartcameras/SelfCrossAttn the dropout of text and the linear layers without activation between
them.
Differs: float32; an epsilon of 1e-8 under the root of the deviation, whose gradient is otherwise infinite where all
modalities agree; Xavier-uniform output projections; a modality that a benchmark lacks is left out, and a single one
goes to the classifier without statistics; `mask_padding` is ours.
Handles absence by: zeros in place of the features (thesis section 4.4); the branch runs on. With `filler: neighbours`
the vector of a modality of which no step is observed is the mean over the k training utterances whose other vectors,
at the input of the statistical pooling, are nearest.
"""

from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.imputation.chance import Chance
from pipeline.imputation.neighbours import NeighboursFiller
from pipeline.imputation.params import NeighboursParams
from pipeline.imputation.protocol import fill
from pipeline.imputation.vectors import Vectors
from pipeline.methods.protocol import Needs, Output
from pipeline.nn.attention import Attention, attendable
from pipeline.nn.dropout import Dropout
from pipeline.nn.recurrent import packed_gru
from pipeline.section import Rate
from pipeline.training.batches import by_length
from pipeline.training.classifier import NetworkClassifier
from pipeline.training.params import TEST_TIME, NeuralParams
from pipeline.training.run import Run

_EVALUATION_BATCH = 128
_NO_CHANCE = Chance(0, torch.zeros(0, dtype=torch.int64))
"""Neighbours draw nothing."""


class Params(NeuralParams):
    """Parameters of intra-attention fusion.

    Args:
        text_steps: text is zero-padded or cut to so many steps.
        text_out: a learned linear map of time turns these into so many steps; null leaves time alone.
        audio_steps: the same for audio.
        audio_out: the same for audio.
        vision_steps: the same for vision.
        vision_out: the same for vision.
        hidden: units of the GRU per direction; sequences are twice as wide.
        heads: of attention; divide twice `hidden`.
        text_dropout: of text features.
        dropout: of attention weights.
        bottleneck: width of the first linear layer of the classifier.
        filler: none, or neighbours for a modality of which no step is observed; no other training.
        neighbours: parameters of that filler.
        mask_padding: keep padding out of GRU, attention and mean wherever time is left alone (a step of mapped time is
            a mixture of all steps, padding included).
    """

    epochs: PositiveInt = 200
    patience: PositiveInt = 10
    monitor: Literal["loss", "acc", "uar", "last"] = "acc"
    plateau_patience: PositiveInt | None = 10
    text_steps: PositiveInt = 128
    text_out: PositiveInt | None = None
    audio_steps: PositiveInt = 1000
    audio_out: PositiveInt | None = 500
    vision_steps: PositiveInt = 32
    vision_out: PositiveInt | None = 25
    hidden: PositiveInt = 60
    heads: PositiveInt = Field(6, validate_default=True)
    text_dropout: Rate = 0.25
    dropout: Rate = 0.1
    bottleneck: PositiveInt = 60
    mask_padding: bool = False
    filler: Literal["none", "neighbours"] = Field("none", json_schema_extra=TEST_TIME)
    neighbours: NeighboursParams = Field(NeighboursParams(), json_schema_extra=TEST_TIME)

    @property
    def filler_fit(self) -> dict[str, Any] | None:
        """The stored vectors depend on the network alone."""
        return None if self.filler == "none" else {"filler": self.filler}

    @property
    def filler_module(self) -> str | None:
        """The module of the filler."""
        return None if self.filler == "none" else "pipeline.imputation.neighbours"

    @property
    def filler_needs_weights(self) -> bool:
        """What is stored is what the branches make of the training part."""
        return True

    def unmet(self, spec: Spec) -> str | None:
        """Why the filler cannot be had on a benchmark, or None."""
        if self.filler == "neighbours" and len(spec.available) < 2:
            return f"filler neighbours needs 2 modalities, the benchmark has {', '.join(spec.available) or 'none'}"
        return None

    @field_validator("heads")
    @classmethod
    def _divide_width(cls, heads: int, info: ValidationInfo) -> int:
        width = 2 * info.data.get("hidden", heads)
        if width % heads:
            raise ValueError(f"found {heads} heads for twice hidden = {width}, expected a divisor of it")
        return heads


class _Branch(nn.Module):
    """One modality: map of time, bidirectional GRU, attention to itself, mean over time."""

    def __init__(self, dim: int, steps: int, out: int | None, params: Params, feature_dropout: float) -> None:
        super().__init__()
        self.steps, self.mask_padding = steps, params.mask_padding
        self.dropout = Dropout(feature_dropout)
        self.time = None if out is None else nn.Linear(steps, out)
        self.gru = nn.GRU(dim, params.hidden, batch_first=True, bidirectional=True)
        self.attention = Attention(2 * params.hidden, params.heads, params.dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """One vector `(B, 2 H)` of `x (B, T, D_m)` with `valid (B, T)`."""
        x, valid = self.dropout(x[:, : self.steps]), valid[:, : self.steps]
        if self.time is not None:
            # Zero-padding to the fixed number of steps is the same as leaving out the weights of the padding.
            weight = self.time.weight[:, : x.shape[1]]
            x = functional.linear(x.transpose(1, 2), weight, self.time.bias).transpose(1, 2)  # (B, out, D_m)
            return self._encode(x)
        missing = self.steps - x.shape[1]
        x, valid = functional.pad(x, (0, 0, 0, missing)), functional.pad(valid, (0, missing))
        if not self.mask_padding:
            return self._encode(x)
        attended = self.attention(packed_gru(self.gru, x, valid), valid=attendable(valid))
        mean: Tensor = (attended * valid.unsqueeze(-1)).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        return mean

    def _encode(self, x: Tensor) -> Tensor:
        mean: Tensor = self.attention(self.gru(x)[0]).mean(dim=1)
        return mean


class _Network(nn.Module):
    """Branches, statistical pooling over modalities, two linear layers."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        steps = {"text": params.text_steps, "audio": params.audio_steps, "vision": params.vision_steps}
        out = {"text": params.text_out, "audio": params.audio_out, "vision": params.vision_out}
        dropout = {"text": params.text_dropout, "audio": 0.0, "vision": 0.0}
        self.branches = nn.ModuleDict(
            {m: _Branch(spec.dims[m], steps[m], out[m], params, dropout[m]) for m in spec.available}
        )
        pooled = 2 * params.hidden * min(len(self.branches), 2)
        self.classifier = nn.Sequential(
            nn.Linear(pooled, params.bottleneck), nn.Linear(params.bottleneck, spec.task.outputs)
        )

    def encode(self, batch: Batch) -> Vectors:
        """One vector `(B, 2 H)` per modality, the input of the statistical pooling."""
        return {m: branch(batch.features[m], batch.valid[m]) for m, branch in self.branches.items()}

    def classify(self, vectors: Vectors) -> Tensor:
        """Logits `(B, K)` of one vector per modality."""
        logits: Tensor = self.classifier(statistical_pooling(torch.stack(list(vectors.values()), dim=1)))
        return logits

    def forward(self, batch: Batch) -> Tensor:
        """Logits `(B, K)`."""
        return self.classify(self.encode(batch))


def statistical_pooling(vectors: Tensor) -> Tensor:
    """Mean and deviation over M vectors, equation 4.3: `(B, M, D)` to `(B, 2 D)`; a single vector is left as it is.

    The deviation is the root of the unbiased variance plus 1e-8.

    >>> statistical_pooling(torch.ones(1, 3, 2)).shape
    torch.Size([1, 4])
    """
    if vectors.shape[1] == 1:
        return vectors[:, 0]
    return torch.cat([vectors.mean(dim=1), torch.sqrt(vectors.var(dim=1) + 1e-8)], dim=-1)


class IntraAttention(NetworkClassifier):
    """Three branches with attention to themselves, fused by their statistics."""

    needs = Needs()

    def __init__(self, params: Params, spec: Spec) -> None:
        """Build the network."""
        self._network = _Network(params, spec)
        super().__init__(self._network, spec.task, params)
        self._filler = NeighboursFiller(params) if params.filler == "neighbours" else None

    def fit_filler(self, train: Dataset, run: Run) -> dict[str, Any]:
        """Store what the trained branches make of every training utterance that has all modalities."""
        if self._filler is None:
            return {}
        train = train.to(run.device)
        self.network.to(run.device).eval()
        with torch.no_grad():
            parts = [self._encoded(train.batch(index)) for index in by_length(train, _EVALUATION_BATCH)]
        vectors, have = ({m: torch.cat([part[i][m] for part in parts]) for m in parts[0][i]} for i in (0, 1))
        return self._filler.fit(vectors, have, run)

    def predict(self, batch: Batch) -> Output:
        """Class probabilities; with a filler, after it."""
        if self._filler is None:
            return super().predict(batch)
        self.network.eval()
        with torch.no_grad():
            vectors, have = self._encoded(batch)
            if not all(bool(own.all()) for own in have.values()):
                filled = fill(self._filler, "neighbours", vectors, have, _NO_CHANCE, 1, splice=True)
                vectors = {m: filled[m][0] for m in vectors}
            return Output(self.task.predict(self._network.classify(vectors)))

    def state(self) -> dict[str, Tensor]:
        """Weights, and the filler where it is fitted."""
        filler = self._filler.state() if self._filler else {}
        return super().state() | {f"filler.{m}": x for m, x in filler.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave, or one of its two parts."""
        filler = {key.removeprefix("filler."): x for key, x in state.items() if key.startswith("filler.")}
        weights = {key: x for key, x in state.items() if not key.startswith("filler.")}
        if weights or not filler:
            super().load(weights)
        if filler and self._filler:
            self._filler.load(filler)

    def _encoded(self, batch: Batch) -> tuple[Vectors, Vectors]:
        """Vectors at the input of the pooling, and whether anything was observed of the modality."""
        vectors = self._network.encode(batch)
        return vectors, {m: batch.observed[m].any(1) for m in vectors}
