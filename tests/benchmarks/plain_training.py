"""MCT-HFR (preset `paper`) as one would write it first: what tests/benchmarks/bench_training.py compares ours with.

The same equations (https://arxiv.org/abs/2312.15848, see pipeline/methods/mct_hfr.py) and the same weights, without any
of what makes ours fast: a module per head with projections of its own, softmax(Q K^T) V written out per modality, a
DataLoader that pads every utterance to the longest that is admitted and draws its masks one by one, both views through
the encoder one after the other, a model loaded anew for every rate and repeat. One batch is `complete`, `masked`
(B, T_m, D_m), `padding`, `missing` (B, T_m) per modality and `labels` (B,). D width, h heads.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from pipeline.data.dataset import Dataset as Packed
from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.methods.mct_hfr import Params

Tensors = dict[str, Tensor]


class Utterances(Dataset):
    """Utterances one at a time, padded to the longest that is admitted, every step masked with probability `rate`."""

    def __init__(self, data: Packed, rate: float, seed: int) -> None:
        self.data, self.rate = data, rate
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> dict[str, Any]:
        sample: dict[str, Any] = {"complete": {}, "masked": {}, "padding": {}, "missing": {}}
        for m in MODALITIES:
            column, longest = self.data.columns[m], self.data.max_lengths[m]
            start, length = int(column.offsets[row]), int(column.lengths[row])
            complete = torch.zeros(longest, column.values.shape[1])
            complete[:length] = column.values[start : start + length]
            padding = torch.arange(longest) >= length
            missing = (torch.rand(longest, generator=self.generator) < self.rate) & ~padding
            masked = complete.clone()
            masked[missing] = 0.0
            for name, value in (("complete", complete), ("masked", masked), ("padding", padding), ("missing", missing)):
                sample[name][m] = value
        sample["labels"] = self.data.labels[row]
        return sample


class HeadBlock(nn.Module):
    """One head: projections D to D / h and softmax(Q K^T / sqrt(D / h)) V."""

    def __init__(self, width: int, size: int, rate: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, size) for _ in range(3))
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
        scores = self.query(x) @ key.transpose(1, 2) / math.sqrt(key.shape[-1])  # (B, T, S)
        scores = scores.masked_fill(padding[:, None, :], -torch.inf)
        return self.dropout(torch.softmax(scores, dim=-1)) @ value


class Block(nn.Module):
    """Heads side by side, their output projection, add and norm, FFN, add and norm."""

    def __init__(self, params: Params, attention_rate: float) -> None:
        super().__init__()
        width, heads = params.width, params.heads
        self.heads = nn.ModuleList(HeadBlock(width, width // heads, attention_rate) for _ in range(heads))
        self.output = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, params.ffn), nn.Linear(params.ffn, width)
        self.inner, self.residual = nn.Dropout(params.ffn_dropout), nn.Dropout(params.residual_dropout)

    def forward(self, x: Tensor, keys: list[Tensor], values: list[Tensor], padding: Tensor) -> Tensor:
        mixed = [head(x, k, v, padding) for head, k, v in zip(self.heads, keys, values, strict=True)]
        x = self.norm1(x + self.residual(self.output(torch.cat(mixed, dim=-1))))
        return self.norm2(x + self.residual(self.second(self.inner(torch.relu(self.first(x))))))

    def attend(self, x: Tensor, source: Tensor, padding: Tensor) -> Tensor:
        """A self- or cross-attention block."""
        return self(x, [h.key(source) for h in self.heads], [h.value(source) for h in self.heads], padding)


class Layer(nn.Module):
    """Equations 5 to 10, one modality after the other."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({m: Block(params, getattr(params.attention_dropout, m)) for m in MODALITIES})

    def forward(self, states: Tensors, padding: Tensors, factors: Tensors) -> Tensors:
        everything = torch.cat([padding[m] for m in MODALITIES], dim=1)
        heads = {m: self.blocks[m].heads for m in MODALITIES}
        count = range(len(heads["text"]))
        keys = [torch.cat([factors[m] * heads[m][i].key(states[m]) for m in MODALITIES], dim=1) for i in count]
        values = [torch.cat([heads[m][i].value(states[m]) for m in MODALITIES], dim=1) for i in count]
        return {m: self.blocks[m](states[m], keys, values, everything) for m in MODALITIES}


class Decoder(nn.Module):
    """Equation 13 and the way back to D_m features."""

    def __init__(self, params: Params, dim: int) -> None:
        super().__init__()
        self.itself = nn.ModuleList(Block(params, 0.0) for _ in range(params.lfi_depth))
        self.encoded = nn.ModuleList(Block(params, 0.0) for _ in range(params.lfi_depth))
        self.dropout, self.scale = nn.Dropout(params.embed_dropout), math.sqrt(params.width)
        self.norm, self.output = nn.LayerNorm(params.width), nn.Linear(params.width, dim, bias=False)

    def forward(self, projected: Tensor, encoded: Tensor, padding: Tensor) -> Tensor:
        x, source = self.dropout(projected), self.dropout(self.scale * encoded)
        for itself, cross in zip(self.itself, self.encoded, strict=True):
            x = itself.attend(x, x, padding)
            x = cross.attend(x, source, padding)
        return self.output(self.norm(x))


class PlainMCTHFR(nn.Module):
    """Network and loss."""

    def __init__(self, params: Params, spec: Spec) -> None:
        super().__init__()
        width, self.params = params.width, params
        kernels = params.kernels
        self.convolutions = nn.ModuleDict(
            {m: nn.Conv1d(spec.dims[m], width, getattr(kernels, m), padding="same", bias=False) for m in MODALITIES}
        )
        self.dropout, self.scale = nn.Dropout(params.embed_dropout), math.sqrt(width)
        self.layers = nn.ModuleList(Layer(params) for _ in range(params.layers))
        self.norms = nn.ModuleDict({m: nn.LayerNorm(width) for m in MODALITIES})
        self.scorers = nn.ParameterDict({m: nn.Parameter(torch.zeros(width)) for m in MODALITIES})
        self.classifier = nn.Linear(3 * width, spec.task.outputs)
        self.decoders = nn.ModuleDict({m: Decoder(params, spec.dims[m]) for m in MODALITIES})
        self.predictor = nn.Linear(3 * width, 3 * width)
        self.longest = sum(spec.max_lengths.values())

    def encode(self, features: Tensors, padding: Tensors) -> tuple[Tensors, Tensors]:
        """Scaled projections and encoded sequences, `(B, T_m, D)`."""
        projected = {
            m: self.scale * self.convolutions[m](features[m].transpose(1, 2)).transpose(1, 2) for m in features
        }
        states = {m: self.dropout(x + positions(x.shape[1], x.shape[2])) for m, x in projected.items()}
        counts = {m: (~padding[m]).sum(1) for m in padding}
        shared = torch.log(sum(counts.values())) / math.log(self.longest)
        factors = {m: (shared * n**-0.5)[:, None, None] for m, n in counts.items()}
        for layer in self.layers:
            states = layer(states, padding, factors)
        return projected, {m: self.norms[m](x) for m, x in states.items()}

    def embed(self, states: Tensors, padding: Tensors) -> Tensor:
        """Attention pooling: `(B, 3 D)`."""
        pooled = []
        for m in MODALITIES:
            scores = (states[m] @ self.scorers[m]).masked_fill(padding[m], -torch.inf)
            pooled.append((torch.softmax(scores, dim=1)[..., None] * states[m]).sum(1))
        return torch.cat(pooled, dim=-1)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Logits of the incomplete view."""
        return self.classifier(self.embed(self.encode(batch["masked"], batch["padding"])[1], batch["padding"]))

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Equation 18, one view after the other."""
        padding, labels = batch["padding"], batch["labels"]
        projected, states = self.encode(batch["masked"], padding)
        incomplete = self.embed(states, padding)
        complete = self.embed(self.encode(batch["complete"], padding)[1], padding)
        align = functional.cross_entropy(self.classifier(complete), labels)
        align = align + moment_discrepancy(self.predictor(incomplete), complete, self.params.cmd_order)
        imagine = torch.zeros(())
        for m in MODALITIES:
            restored = self.decoders[m](projected[m], states[m], padding[m])
            error = functional.smooth_l1_loss(restored, batch["complete"][m], reduction="none")
            missing = batch["missing"][m]
            imagine = imagine + (error * missing[..., None]).sum() / (error.shape[-1] * missing.sum() + 1e-4)
        task = functional.cross_entropy(self.classifier(incomplete), labels)
        return task + self.params.alpha * align + self.params.beta * imagine

    def load(self, state: Tensors) -> None:
        """Take the weights of our network."""
        for m in MODALITIES:
            self.convolutions[m].weight.data = state[f"encoder.front_ends.{m}.convolution.weight"]
            _copy(self.norms[m], state, f"encoder.norms.{m}")
            self.scorers[m].data = state[f"head.poolings.{m}.scorer"]
            for number, layer in enumerate(self.layers):
                _copy_block(layer.blocks[m], state, f"encoder.layers.{number}.blocks.{m}")
            for number in range(self.params.lfi_depth):
                _copy_block(self.decoders[m].itself[number], state, f"decoders.{m}.to_itself.{number}")
                _copy_block(self.decoders[m].encoded[number], state, f"decoders.{m}.to_encoded.{number}")
            _copy(self.decoders[m].norm, state, f"decoders.{m}.norm")
            self.decoders[m].output.weight.data = state[f"decoders.{m}.output.weight"]
        _copy(self.classifier, state, "head.classify")
        _copy(self.predictor, state, "predictor")


def _copy(layer: nn.Module, state: Tensors, name: str) -> None:
    layer.weight.data, layer.bias.data = state[f"{name}.weight"], state[f"{name}.bias"]


def _copy_block(block: Block, state: Tensors, name: str) -> None:
    for part in ("weight", "bias"):
        thirds = state[f"{name}.attention.projection.{part}"].chunk(3)
        for own, third in zip(("query", "key", "value"), thirds, strict=True):
            for head, rows in zip(block.heads, third.chunk(len(block.heads)), strict=True):
                getattr(getattr(head, own), part).data = rows.contiguous()
    _copy(block.output, state, f"{name}.attention.output")
    _copy(block.first, state, f"{name}.feed_forward.0")
    _copy(block.second, state, f"{name}.feed_forward.2")
    _copy(block.norm1, state, f"{name}.norm1")
    _copy(block.norm2, state, f"{name}.norm2")


def positions(steps: int, width: int) -> Tensor:
    """Sines, then cosines, of the positions 1 to `steps`."""
    half = width // 2
    frequency = torch.exp(torch.arange(half) * -(math.log(10000.0) / (half - 1)))
    angle = torch.arange(1, steps + 1)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def moment_discrepancy(x: Tensor, y: Tensor, order: int) -> Tensor:
    """Equation 16."""
    distances = [x.mean(0) - y.mean(0)]
    x, y = x - x.mean(0), y - y.mean(0)
    distances += [(x**k).mean(0) - (y**k).mean(0) for k in range(2, order + 1)]
    return sum((d.square().sum() + 1e-12).sqrt() for d in distances)


def train_epoch(model: PlainMCTHFR, data: Packed) -> int:
    """One epoch in which everyone is masked; gives its number of steps."""
    params = model.params
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    model.train()
    loader = DataLoader(Utterances(data, params.p_miss, 0), params.batch_size, shuffle=True)
    for batch in loader:
        optimizer.zero_grad()
        model.loss(batch).backward()
        nn.utils.clip_grad_value_(model.parameters(), params.clip_value)
        optimizer.step()
    return len(loader)


@torch.no_grad()
def predict_curve(path: Path, params: Params, spec: Spec, data: Packed, rates: list[float], repeats: int) -> Tensor:
    """Probabilities `(rates, repeats, N, K)`, a pass of a newly loaded model each; `path` has the weights of ours."""
    passes = []
    for rate in rates:
        for repeat in range(repeats):
            model = PlainMCTHFR(params, spec)
            model.load(load_file(path))
            model.eval()
            loader = DataLoader(Utterances(data, rate, repeat), params.batch_size)
            passes.append(torch.cat([torch.softmax(model(batch), dim=-1) for batch in loader]))
    return torch.stack(passes).view(len(rates), repeats, len(data), -1)
