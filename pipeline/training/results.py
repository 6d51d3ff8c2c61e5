"""What the train stage makes of finished trainings: the folder of models, the page of costs, a tidy scratch."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.execution.device import jobs_at_once
from pipeline.execution.jobs import workers
from pipeline.files import read_json, write_json
from pipeline.training.jobs import FILLER, TrainingJob


def model_file(folder: Path, seed: int, model: str, part: str = "") -> Path:
    """Where a model's weights are, or with `filler` its filler's: `SEED[@RATE][.filler].safetensors`."""
    return folder / f"{seed}{model}{'.' + part if part else ''}.safetensors"


def gather_models(
    jobs: Iterable[TrainingJob],
    refused: Mapping[str, str | None],
    spent: Mapping[str, Mapping[str, Any]],
    target: Path,
) -> None:
    """Copy weights and histories to {row}/{fold}/ and write the facts of every row.

    Its parameters are those of network and filler together; a filler's history has its own.

    Args:
        jobs: finished.
        refused: by folder of a row, why the benchmark cannot have it, or None.
        spent: `costs` of the jobs; models and epochs are facts, what varies from run to run is not.
        target: an empty folder.
    """
    facts: dict[str, dict[str, Any]] = {row: {"not_applicable": why} for row, why in refused.items() if why}
    for job in jobs:
        place = target / job.variant.folder / job.fold["name"]
        place.mkdir(parents=True, exist_ok=True)
        file = model_file(place, job.seed, job.model, job.part)
        shutil.copyfile(job.weights, file)
        record = read_json(job.record)
        write_json(file.with_suffix(".json"), record["history"])
        effort = {name: spent[job.variant.row][name] for name in ("models", "epochs")}
        facts.setdefault(job.variant.folder, {}).update(record["facts"] | effort)
    for row, known in facts.items():
        known |= {"parameters": known["parameters"] + known.pop(FILLER)} if FILLER in known else {}
        write_json(target / row / "facts.json", known)


def costs(jobs: Iterable[TrainingJob]) -> dict[str, dict[str, Any]]:
    """Seconds and memory by row, fillers apart; a row whose models are those of an earlier one names it."""
    rows: dict[str, tuple[list[TrainingJob], list[TrainingJob]]] = {}
    for job in jobs:
        rows.setdefault(job.variant.row, ([], []))[bool(job.part)].append(job)
    found: dict[str, dict[str, Any]] = {}
    for row, (own, fillers) in rows.items():
        records = [read_json(job.record) for job in own]
        fitted = [read_json(job.record) for job in {job.key: job for job in fillers}.values()]
        same = [other for other in found if [job.key for job in rows[other][0]] == [job.key for job in own]]
        found[row] = {
            "trained_with": same[0] if same else None,
            "seconds": round(sum(record["cost"]["seconds"] for record in records), 3),
            "filler_seconds": round(sum(record["cost"]["seconds"] for record in fitted), 3),
            "peak_memory_mib": round(max(record["cost"]["peak_memory_mib"] for record in [*records, *fitted]), 1),
            "models": len(records),
            "epochs": sum(len(record["history"].get("epochs", [])) for record in records),
            "device": records[0]["cost"]["device"],
            "workers": workers(jobs_at_once()),
        }
    return found


def forget_others(scratch: Path, current: Iterable[TrainingJob]) -> None:
    """Remove results of earlier parameters; DVC's run cache keeps those."""
    keys = {job.key for job in current}
    for path in scratch.iterdir():
        if path.name != "lock" and path.stem not in keys:
            path.unlink()
