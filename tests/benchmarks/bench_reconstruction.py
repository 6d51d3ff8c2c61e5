"""The reconstruction study, ours against the straightforward loop; prints the ratio, asserts nothing.

    python -m tests.benchmarks.bench_reconstruction

Vectors of the sizes of the RAVDESS vectors (vision 35, audio 259; 864 training clips), an MLP, three GANs and three
VAEs per seed, and the vote of Algorithm 1. All of it is scaled down alike, epochs and tested utterances, and goes
through the code of the real study: ours are the jobs of the train stage in a process per processor, filled and voted
in one call; the loop is that of tests/benchmarks/plain_reconstruction.py. Each way runs in a fresh process and is
timed from its first training to its last prediction."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.data.dataset import Column, Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.execution.jobs import run_jobs, workers
from pipeline.methods.protocol import build, variants
from pipeline.training.run import Run
from tests.benchmarks.plain_reconstruction import WIDTHS, study

SCALE, SEEDS = 100, 2
EPOCHS = {"mlp": 1000 // SCALE, "gan": 200 // SCALE, "vae": 2000 // SCALE}
TRAIN, CLASSES = 864, 8
TEST = 216 * 4 // SCALE
"""A test part of 216 under the four conditions of the diagonal, scaled down."""
BLOCK = {"epochs": EPOCHS["mlp"], "gan": {"epochs": EPOCHS["gan"]}, "vae": {"epochs": EPOCHS["vae"]}}
PARTS = ("vae", "gan", "")


def vectors(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Joint vectors `(n, 294)` and classes `(n,)`."""
    centres, draw = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    width = sum(WIDTHS.values())
    return torch.randn(CLASSES, width, generator=centres)[labels] + torch.randn(n, width, generator=draw), labels


def dataset(n: int, seed: int) -> Dataset:
    """The same as utterances of one step each."""
    joint, labels = vectors(n, seed)
    parts = dict(zip(WIDTHS, joint.split(list(WIDTHS.values()), dim=1), strict=True))
    parts["text"] = torch.zeros(0, 1)
    columns = {}
    for m in MODALITIES:
        lengths = torch.full((n,), int(m in WIDTHS))
        there = torch.ones(len(parts[m]), dtype=torch.bool)
        columns[m] = Column(parts[m], there, lengths.cumsum(0) - lengths, lengths, None)
    ids = [f"u{i:04}" for i in range(n)]
    task = Task(tuple(map(str, range(CLASSES))))
    return Dataset(columns, labels, ids, [{} for _ in ids], task, dict.fromkeys(MODALITIES, 1))


def fit(job: tuple[str, int, str]) -> None:
    """Train the classifier, or fit one filler."""
    folder, seed, part = job
    torch.use_deterministic_algorithms(True)
    train = dataset(TRAIN, 1)
    (variant,) = variants("mlp", BLOCK | ({"filler": part} if part else {}))
    run = Run(("bench", seed))
    run.seed_weights()
    method = build(variant, Spec.of(train))
    if part:
        method.fit_filler(train, run)  # type: ignore[attr-defined]
    else:
        method.fit(train, None, run)
    state = {k: x.contiguous() for k, x in method.state().items() if k.startswith("filler") == bool(part)}
    save_file(state, Path(folder) / f"{seed}.{part}.safetensors")


def predict(job: tuple[str, int, str]) -> list[int]:
    """The classes of most votes, all utterances in one call."""
    folder, seed, part = job
    test = dataset(TEST, 2)
    (variant,) = variants("mlp", BLOCK | {"filler": part})
    method = build(variant, Spec.of(test))
    for name in ("", part):
        method.load(load_file(Path(folder) / f"{seed}.{name}.safetensors"))
    turn = torch.arange(TEST) % 3
    keep = {"text": torch.zeros(0, dtype=torch.bool), "vision": turn == 1, "audio": turn == 0}
    return method.predict(test.batch(torch.arange(TEST), keep)).scores.argmax(-1).tolist()


def ours() -> None:
    """A process per processor."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in run_jobs(fit, [(folder, seed, part) for part in PARTS for seed in range(SEEDS)]):
            pass
        for _ in run_jobs(predict, [(folder, seed, part) for part in PARTS if part for seed in range(SEEDS)]):
            pass


def loop() -> None:
    """One seed after another."""
    train, labels = vectors(TRAIN, 1)
    study(train, labels, vectors(TEST, 2)[0], SEEDS, EPOCHS)


def timed(way: str) -> float:
    """Seconds of one way in a process of its own."""
    found = subprocess.run([sys.executable, "-m", __spec__.name, way], capture_output=True, check=True, text=True)
    return float(json.loads(found.stdout.splitlines()[-1]))


def main() -> None:
    """Print seconds and ratio, the better of two for either way."""
    slow, fast = (min(timed(way) for _ in range(2)) for way in ("loop", "ours"))
    print(
        f"{SEEDS} seeds, 1/{SCALE} of the epochs: loop {slow:.1f} s, ours with {workers()} processes {fast:.1f} s, "
        f"ratio {slow / fast:.1f}"
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        started = time.perf_counter()
        loop() if sys.argv[1] == "loop" else ours()
        print(json.dumps(time.perf_counter() - started))
