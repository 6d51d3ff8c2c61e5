"""Stage train as on a GPU, here on a CPU: fits of fillers that are alike are done in one go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline import paths
from pipeline.files import read_json
from pipeline.training.jobs import TrainingJob, train_together
from stages import train as stage
from stages.split import split

SCRATCH = Path(".scratch/train/tiny/mlp")
VARIANTS: dict[str, Any] = {
    "vae": {"filler": "vae", "vae": {"latent": 2, "hidden": 4, "epochs": 3}},
    "wide": {"filler": "vae", "vae": {"latent": 2, "hidden": 5, "epochs": 3}},
}
SIZES = {"ses1": 46, "ses2": 47, "ses3": 47, "ses4": 46}
"""Training utterances of the folds; in all but the first, one of them lacks modalities."""
Stacks = list[list[TrainingJob]]


@pytest.fixture
def done(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> Stacks:
    """The tiny study with two kinds of VAEs on a machine that stacks; what was done in one go, in turn."""
    study["methods"]["mlp"]["variants"] = VARIANTS
    write_params(study, paths.PARAMS)
    split("tiny")
    monkeypatch.setattr(stage, "fits_are_stacked", lambda: True)
    found: Stacks = []

    def together(jobs: list[TrainingJob]) -> list[Path]:
        found.append(jobs)
        return train_together(jobs)

    monkeypatch.setattr(stage, "train_together", together)
    return found


def stacks(done: Stacks) -> list[tuple[str, list[str]]]:
    """Rows and trainings of what was not done alone."""
    several = [jobs for jobs in done if len(jobs) > 1]
    return [(jobs[0].variant.row, [f"{job.fold['name']} {job.seed}" for job in jobs]) for jobs in several]


def test_fits_that_differ_by_fold_and_seed_alone_are_done_in_one_go(done: Stacks) -> None:
    stage.train("tiny", "mlp")
    assert {job.fold["name"]: len(job.fold["train"]) for jobs in done for job in jobs} == SIZES
    small, large = ([f"ses{k} {seed}" for k in folds for seed in (1, 2)] for folds in ((1, 4), (2, 3)))
    assert stacks(done) == [(row, own) for row in ("mlp:vae", "mlp:wide") for own in (small, large)]
    assert len(done) == 4 + 8 + 8  # trainings, and fillers that do not stack
    for jobs in done:
        assert all(job.finished for job in jobs)
        costs = [read_json(job.record)["cost"] for job in jobs]
        assert costs == [costs[0]] * len(jobs)


def test_stacked_fits_write_what_single_ones_write(done: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for stacked in (True, False):
        monkeypatch.setattr(stage, "fits_are_stacked", lambda stacked=stacked: stacked)
        monkeypatch.setenv("LACUNA_SCRATCH", f"scratch{stacked}")
        done.clear()
        stage.train("tiny", "mlp")
        results.append({job.key: job for jobs in done for job in jobs})
    assert stacks(done) == []
    assert results[0].keys() == results[1].keys()
    for together, alone in zip(*(map(found.get, results[1]) for found in results), strict=True):
        assert together
        assert alone
        if together.stack is None:
            assert together.weights.read_bytes() == alone.weights.read_bytes()
        states = load_file(together.weights), load_file(alone.weights)
        assert list(states[0]) == list(states[1])
        for name, x in states[0].items():
            torch.testing.assert_close(x, states[1][name], atol=1e-4, rtol=1e-4, msg=name)
        records = read_json(together.record), read_json(alone.record)
        assert [list(record) for record in records] == [["cost", "facts", "history"]] * 2
        assert [list(record["cost"]) for record in records] == [["device", "peak_memory_mib", "seconds"]] * 2
        assert records[0]["facts"] == records[1]["facts"]
        for key, losses in records[0]["history"].get("losses", {}).items():
            assert losses["bound"] == pytest.approx(records[1]["history"]["losses"][key]["bound"], abs=1e-4)


def test_only_what_a_killed_run_left_undone_is_done(done: Stacks) -> None:
    stage.train("tiny", "mlp")
    lost = next(jobs for jobs in done if len(jobs) > 1)[1:3]
    before = load_file(lost[0].weights)
    for job in lost:
        job.record.unlink()
    kept = {path: path.stat().st_mtime_ns for path in SCRATCH.glob("*.json")}
    done.clear()
    stage.train("tiny", "mlp")
    assert done == [lost]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for name, x in load_file(lost[0].weights).items():
        torch.testing.assert_close(x, before[name], atol=1e-4, rtol=1e-4)


def test_a_stack_is_divided_among_workers_and_has_an_upper_bound(done: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.train("tiny", "mlp")
    alike = next(jobs for jobs in done if len(jobs) > 1)
    for workers, largest, sizes in ((1, 64, [4]), (1, 3, [2, 2]), (3, 64, [2, 1, 1]), (9, 64, [1, 1, 1, 1])):
        monkeypatch.setenv("LACUNA_JOBS", str(workers))
        monkeypatch.setattr(stage, "_STACK", largest)
        found = stage._in_stacks(alike)
        assert [len(jobs) for jobs in found] == sizes
        assert sorted(job.key for jobs in found for job in jobs) == sorted(job.key for job in alike)
