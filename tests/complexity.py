"""Parameters and multiply-accumulates as table 4 of MCT-HFR counts them, beside the true ones: docs/complexity.md.

    python -m tests.complexity

Table 4 of https://arxiv.org/abs/2312.15848 names the profiler `thop`. It sees standard layers that are called as
modules: convolutions, linear layers, norms (4 per element with weights, 2 without), recurrent layers. Weights that
the released code applies as functions are invisible to it: query, key and value projections, products of attention,
gates of PMR, the attention of MISA's fusion; so is the batch norm of the gated head, which that code skips for a
single utterance. A layer that runs twice adds operations, not parameters.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.batch import Batch
from pipeline.data.spec import Spec
from pipeline.files import write_text
from pipeline.methods.protocol import build, variants
from pipeline.nn.attention import Attention
from pipeline.training.cost import parameters
from tests.networks import paper_spec

PAGE = Path("docs/complexity.md")
TABLE_4 = {"aggregator": "transposed", "kernels": {"audio": 3, "vision": 3}}
RESTORED = {"regime": "dynamic"}


@dataclass(frozen=True)
class Network:
    """A network of the table.

    Args:
        name: of the row.
        method: its file.
        block: parameters.
        trains: count the loss of one utterance whose steps are all missing, not its prediction.
        published: parameters (M) and operations (G) in table 4.
        older: widths of the features that table 4 was measured with (text 1024, audio 768).
    """

    name: str
    method: str
    block: dict[str, Any] = field(default_factory=dict)
    trains: bool = False
    published: str = "–"
    older: bool = False


NETWORKS = [
    Network("MCT, paper", "mct_hfr", {"lfi": False, "gfa": False}),
    Network("MCT, paper, older features", "mct_hfr", {"lfi": False, "gfa": False}, published="2.41 / 0.42", older=True),
    Network("MCT-HFR in training, paper", "mct_hfr", RESTORED, True),
    Network("MCT, code", "mct_hfr", {"preset": "code", "lfi": False, "gfa": False}),
    Network("MCT-HFR in training, code", "mct_hfr", {"preset": "code", **RESTORED}, True),
    Network(
        "MCT-HFR in training, code, older features", "mct_hfr",
        {"preset": "code", **RESTORED}, True, "4.72 / 1.18", True,
    ),
    Network("MulT A-", "mult"),
    Network("MulT, aggregator of table 4, older features", "mult", TABLE_4, published="7.16 / 1.47", older=True),
    Network("MISA A-, in training", "misa", {}, True),
    Network("PMR A-", "pmr", published="4.59 / 1.42"),
    Network("CHFN A-", "chfn"),
    Network("TFR-Net A-", "tfr_net", published="8.95 / 2.14"),
    Network("TFR-Net A- in training", "tfr_net", RESTORED, True, "12.25 / 2.67"),
    Network(
        "TFR-Net A- in training, kernels 3, 3, 1, older features", "tfr_net",
        {"kernels": {"audio": 3, "vision": 3}, **RESTORED}, True, "12.25 / 2.67", True,
    ),
    Network("EMT-DLFR A-", "emt_dlfr", published="4.57 / 0.46"),
    Network("EMT-DLFR A- in training", "emt_dlfr", RESTORED, True, "5.26 / 0.88"),
]  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Of one network: all that is trained and multiplied, and what the profiler of table 4 sees of it."""

    parameters: int
    macs: int
    visible_parameters: int
    visible_macs: int


def count(network: Network) -> Counts:
    """Count one utterance of full length."""
    spec = paper_spec(text=1024, audio=768) if network.older else paper_spec()
    (variant,) = variants(network.method, network.block)
    method: Any = build(variant, spec)
    method.network.eval()
    seen: dict[nn.Module, int] = {}
    for module in _visible(network.method, method.network):
        module.register_forward_hook(
            lambda module, inputs, output: seen.__setitem__(module, seen.get(module, 0) + _macs(module, inputs, output))
        )
    batch = _utterance(spec, missing=network.trains)
    fused = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # whose recurrent kernels count as nothing
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            if network.trains:
                method._loss(batch, 99)
            else:
                method.predict(batch)
    finally:
        torch.backends.mkldnn.enabled = fused
    sizes = sum(p.numel() for module in seen for p in module.parameters())
    return Counts(parameters(method), counter.get_total_flops() // 2, sizes, sum(seen.values()))


def _visible(method: str, network: Any) -> list[nn.Module]:
    hidden = {module.projection for module in network.modules() if isinstance(module, Attention)}
    if method == "pmr":
        hidden |= {unit.gate for unit in network.exchange.modules() if hasattr(unit, "gate")}
    if hasattr(network, "head") and isinstance(network.head.classify, nn.Sequential):
        hidden.add(network.head.classify[0])
    if method == "misa":  # torch's own encoder layer; the figure of the released code leaves out the first norms, too
        hidden |= {network.fusion.attention.output, *(network.encoders[m].steps[0] for m in ("text", "audio"))}
    kinds = (nn.Linear, nn.Conv1d, nn.LayerNorm, nn.BatchNorm1d, nn.GRU, nn.LSTM)
    return [module for module in network.modules() if isinstance(module, kinds) and module not in hidden]


def _macs(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.Conv1d):
        return output.numel() * module.in_channels * module.kernel_size[0]
    if isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
        return inputs[0].numel() * (2 if module.weight is None else 4)
    return _recurrent(module, inputs[0])


def _recurrent(module: nn.GRU | nn.LSTM, x: Tensor | PackedSequence) -> int:
    """Per step and direction: the gates with their biases, and the products of gates and states."""
    hidden, directions = module.hidden_size, 2 if module.bidirectional else 1
    gates, products = (3, 4) if isinstance(module, nn.GRU) else (4, 4)
    total = 0
    for layer in range(module.num_layers):
        inner = module.input_size if layer == 0 else directions * hidden
        total += directions * (gates * ((inner + hidden) * hidden + 3 * hidden) + products * hidden)
    steps = int(x.batch_sizes.sum()) if isinstance(x, PackedSequence) else x.shape[0] * x.shape[1]
    return total * steps


def _utterance(spec: Spec, *, missing: bool) -> Batch:
    there = {m: torch.ones(1, steps, dtype=torch.bool) for m, steps in spec.max_lengths.items()}
    features = {m: torch.zeros(1, steps, spec.dims[m]) for m, steps in spec.max_lengths.items()}
    zero = torch.zeros(1, dtype=torch.int64)
    observed = {m: ~v if missing else v for m, v in there.items()}
    return Batch(features, there, there, observed, labels=zero, index=zero, complete=features if missing else None)


def page(counted: dict[str, Counts]) -> str:
    """The text of docs/complexity.md."""
    lines = [
        "# Parameters and multiply-accumulates",
        "",
        "Written by `python -m tests.complexity`; do not edit. One utterance of T = (50, 400, 40) steps of text, audio",
        "and vision, features of 768, 512 and 512 (older features: 1024, 768 and 512), four classes. True: all trained",
        "parameters, and half the floating point operations that torch's FlopCounterMode counts, products of attention",
        "included. Visible: what `thop` sees, with which table 4 of the paper of MCT-HFR was made",
        "(https://arxiv.org/abs/2312.15848): no query, key and value projections, no products of attention, no gates.",
        "In training: both views where there are two, and a reconstruction of every step.",
        "",
        "| network | true parameters | true MACs (G) | visible parameters | visible MACs (G) | table 4 (M / G) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for network in NETWORKS:
        c = counted[network.name]
        numbers = f"{c.parameters:,} | {c.macs / 1e9:.4f} | {c.visible_parameters:,} | {c.visible_macs / 1e9:.4f}"
        lines.append(f"| {network.name} | {numbers} | {network.published} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page({network.name: count(network) for network in NETWORKS}))
