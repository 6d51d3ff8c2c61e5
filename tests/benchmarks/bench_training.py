"""Training and evaluation of MCT-HFR against a plain implementation of the same math; prints ratios, asserts nothing.

    python -m tests.benchmarks.bench_training [step] [curve] [folds] [memory] [--rounds N]

Without names all four parts run. The other side is tests/benchmarks/plain_training.py, which is shown to compute the
same loss and the same predictions by tests/benchmarks/test_plain_training.py. Both sides have one thread, which is what
a worker has, and take turns, every run in a process of its own, ours set up as a worker is; the fastest of each counts.

step: a whole epoch (its masks, its batches, LFI and GFA, backward, clipping, AdamW) over its number of steps, everyone
masked at 0.2. curve: one trained model at ten rates with five repeats; the plain loop does one of the five, which
cost the same. Both at full lengths, T = (50, 400, 40), and at lengths as in IEMOCAP: durations log-normal with mu 1.311
and sigma 0.628 (s), cut at 8 s. folds: two trainings of one thread side by side against one alone. memory: peak of one
training step and of one evaluation batch, by method, beyond what the process held before. Batch 32, D = 128, 4 layers,
features of 768 (text), 512 (audio) and 512 (vision).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pipeline.data.dataset import Column, Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.evaluation.inference import predict_masked
from pipeline.execution.device import start_computing
from pipeline.methods.mct_hfr import MCTHFR, Params
from pipeline.methods.protocol import build, variants
from pipeline.missing.masks import Masks
from pipeline.training.cost import peak_memory_mib
from pipeline.training.run import Run
from tests.benchmarks.plain_training import PlainMCTHFR, predict_curve, train_epoch

BATCH = 32
LONGEST = {"text": 50, "audio": 400, "vision": 40}
DIMS = {"text": 768, "audio": 512, "vision": 512}
RATES = [rate / 10 for rate in range(10)]
REPEATS = 5
PARTS = ("step", "curve", "folds", "memory")
METHODS = {
    "mct_hfr": {}, "mct_hfr:code": {"preset": "code", "aux_from_epoch": 1}, "mult": {}, "misa": {}, "pmr": {},
    "chfn": {}, "tfr_net": {"aux_from_epoch": 1}, "emt_dlfr": {"aux_from_epoch": 1},
}  # fmt: skip
CPU = torch.device("cpu")


def corpus(utterances: int, *, full: bool) -> Dataset:
    """Utterances of full length, or as long as those of IEMOCAP: audio 50 Hz, vision 5 Hz, 3 tokens a second and 2."""
    rng = np.random.default_rng(1)
    seconds = np.minimum(rng.lognormal(1.311, 0.628, utterances), 8.0)
    real = {"text": np.minimum(3 * seconds + 2, 50), "audio": 50 * seconds, "vision": 5 * seconds}
    columns = {}
    for m in MODALITIES:
        lengths = np.full(utterances, LONGEST[m]) if full else np.maximum(real[m].astype(np.int64), 1)
        values = torch.from_numpy(rng.standard_normal((lengths.sum(), DIMS[m]), dtype=np.float32))
        offsets, present = torch.from_numpy(lengths.cumsum() - lengths), torch.ones(len(values), dtype=torch.bool)
        columns[m] = Column(values, present, offsets, torch.from_numpy(lengths), 0.1)
    labels = torch.from_numpy(rng.integers(0, 4, utterances))
    ids = [f"u{row}" for row in range(utterances)]
    return Dataset(columns, labels, ids, [{} for _ in ids], Task(("angry", "happy", "neutral", "sad")), LONGEST)


def our_epoch(data: Dataset) -> int:
    """One epoch of our loop."""
    params = Params(epochs=1, monitor="last", ramp_epochs=1)
    MCTHFR(params, Spec.of(data)).fit(data, None, Run(("bench",)))
    return len(data) // BATCH


def plain_epoch(data: Dataset) -> int:
    """One epoch of the plain loop."""
    return train_epoch(PlainMCTHFR(Params(), Spec.of(data)), data)


def our_curve(data: Dataset, weights: Path) -> float:
    """All rates and repeats in one pass; drawing the masks is part of it."""
    method = MCTHFR(Params(), Spec.of(data))
    method.load(load_file(weights))
    rng = np.random.default_rng(0)
    thresholds = np.asarray(RATES, np.float32)[:, None, None]
    keep = {
        m: rng.random((1, REPEATS, len(column.values)), np.float32) >= thresholds for m, column in data.columns.items()
    }
    predict_masked(method, data, [Masks(data.ids, list(map(str, RATES)), keep)])
    return len(data)


def plain_curve(data: Dataset, weights: Path) -> float:
    """Ten of the 50 passes, one per rate: a repeat costs what the others do."""
    predict_curve(weights, Params(), Spec.of(data), data, RATES, 1)
    return len(data) / REPEATS


def work(part: str, lengths: str, side: str, folder: Path) -> Callable[[], float]:
    """What is timed; it gives the number of steps or utterances that it did."""
    full, ours = lengths == "full", side == "ours"
    if part == "step":
        # batches of like length need several batches; the plain loop pads each to the same size whatever is in it
        data = corpus(8 * BATCH if ours and not full else BATCH, full=full)
        return partial(our_epoch if ours else plain_epoch, data)
    data = corpus(BATCH // 2 if ours else BATCH, full=full)
    save_file(MCTHFR(Params(), Spec.of(data)).state(), folder / "weights.safetensors")
    return partial(our_curve if ours else plain_curve, data, folder / "weights.safetensors")


def timed(part: str, lengths: str, side: str) -> list[float]:
    """Seconds per unit, on the clock and of the processor, of an epoch or a curve that is not the first thing done."""
    if side == "ours":
        start_computing()
    with tempfile.TemporaryDirectory() as folder:
        run = work(part, lengths, side, Path(folder))
        if part == "step":
            run()  # a training has many epochs, and the first is slow: memory comes from the kernel
        else:
            (our_epoch if side == "ours" else plain_epoch)(corpus(4, full=False))
        clock, processor = time.perf_counter(), time.process_time()
        units = run()
        return [(time.perf_counter() - clock) / units, (time.process_time() - processor) / units]


def compare(part: str, rounds: int) -> None:
    """Print how much faster ours is, at both kinds of lengths."""
    for lengths, target in (("full", 2), ("IEMOCAP", 4)):
        best = {"ours": [float("inf")] * 2, "plain": [float("inf")] * 2}
        for _ in range(rounds):
            for side in best:
                (taken,) = processes(["timed", part, lengths, side])
                best[side] = [min(pair) for pair in zip(best[side], taken, strict=True)]
        clock, processor = (slow / fast for slow, fast in zip(best["plain"], best["ours"], strict=True))
        print(
            f"{part}, {lengths} lengths: plain {best['plain'][0]:.3f} s, ours {best['ours'][0]:.3f} s: {clock:.2f}x on "
            f"the clock, {processor:.2f}x of the processor (aim: {target}x)",
            flush=True,
        )


def folds(rounds: int) -> None:
    """Two trainings side by side against one alone, IEMOCAP lengths, one thread each."""
    alone, together = float("inf"), float("inf")
    for _ in range(rounds):
        alone = min(alone, max(processes(["fold"])))
        together = min(together, max(processes(["fold"], ["fold"])))
    print(
        f"two folds side by side / one alone: {together:.2f} s / {alone:.2f} s = {together / alone:.2f} (aim: < 1.15)"
    )


def fold() -> float:
    """Seconds of an epoch of four batches, started when the process has imported everything."""
    data = corpus(4 * BATCH, full=False)
    our_epoch(corpus(BATCH, full=False))  # what is slow the first time
    started = time.perf_counter()
    our_epoch(data)
    return time.perf_counter() - started


def memory() -> None:
    """Peak memory of every method, each in a process of its own."""
    print("peak memory (MiB) of a training step and of an evaluation batch, 32 utterances of full length")
    for row in METHODS:
        (trained,), (evaluated,) = processes(["peak", "train", row]), processes(["peak", "evaluate", row])
        print(f"{row:16} {trained:7.0f} {evaluated:7.0f}", flush=True)


def peak(way: str, row: str) -> float:
    """MiB that one training step or one evaluation batch takes beyond model and data."""
    data = corpus(BATCH, full=True)
    block = {"regime": "dynamic", "epochs": 1, "monitor": "last", "ramp_epochs": 1}
    (variant,) = variants(row.partition(":")[0], {**METHODS[row], **block})
    method = build(variant, Spec.of(data))
    before = peak_memory_mib(CPU)
    if way == "train":
        method.fit(data, None, Run(("bench",)))
    else:
        method.predict(data.batch(torch.arange(BATCH)))
    return peak_memory_mib(CPU) - before


def processes(*commands: list[str]) -> list[Any]:
    """What runs of this file of one thread each, side by side, print."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "tests.benchmarks.bench_training", "--own"]
    running = [
        subprocess.Popen([*start, *command], stdout=subprocess.PIPE, text=True, env=environment) for command in commands
    ]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_training")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each side")
    chosen = parser.parse_args()
    machine = f"{len(os.sched_getaffinity(0))} processors ({platform.machine()}), {datetime.now(UTC):%Y-%m-%d}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f} before", flush=True)
    for part in chosen.parts or PARTS:
        if part == "memory":
            memory()
        elif part == "folds":
            folds(chosen.rounds)
        else:
            compare(part, chosen.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--own"]:
        torch.set_num_threads(1)
        print(json.dumps({"fold": fold, "peak": peak, "timed": timed}[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
