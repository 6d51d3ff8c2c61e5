"""What extraction and training cost: the tables whose numbers vary from run to run."""

from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.report.table import NOTHING, Cell, Table, count

_HEADER = [
    "row",
    "seconds",
    "seconds per model",
    "peak memory of a worker (MiB)",
    "models",
    "epochs",
    "workers",
    "device",
]

_EXTRACTION_HEADER = [
    "feature set",
    "extractor",
    "clips",
    "hours",
    "seconds",
    "clips/s",
    "hours/hour",
    "absent",
    "quarantined",
    "workers",
    "device",
    "precision",
    "batch",
]


def extraction_table(files: dict[str, Path]) -> Table:
    """Speed of the extraction of every feature set.

    Args:
        files: by feature set, what the extract stage wrote.

    Raises:
        DataError: a file is missing or lacks a value.
    """
    lines = []
    for name, file in files.items():
        try:
            lines.append([Cell(name), *map(Cell, _speed(read_json(file)))])
        except (KeyError, TypeError, ValueError) as error:
            wanted = ", ".join(_EXTRACTION_HEADER[1:])
            raise DataError(f"{file}: {error!r}, expected {wanted}; extract again") from None
    caption = (
        "Extraction: what the last run computed, from its start to the finished store; clips that an interrupted run "
        "had left are not counted again. Hours are of media, hours/hour of media per hour; a batch is in padded steps."
    )
    return Table(caption, _EXTRACTION_HEADER, lines)


def _speed(found: dict[str, Any]) -> list[str]:
    clips, hours, seconds = found["clips"], found["hours"], found["seconds"]
    media = [NOTHING, NOTHING] if hours is None else [f"{hours:.3f}", f"{hours * 3600 / seconds:.0f}"]
    batch = NOTHING if found["batch"] is None else count(found["batch"])
    return [
        found["extractor"],
        count(clips),
        media[0],
        f"{seconds:.1f}",
        f"{clips / seconds:.1f}",
        media[1],
        count(found["absent"]),
        count(found["quarantined"]),
        str(found["workers"]),
        found["device"],
        found["precision"] or NOTHING,
        batch,
    ]


def cost_table(benchmark: str, files: list[Path]) -> Table:
    """Seconds and memory of every row of a benchmark.

    Args:
        benchmark: its name.
        files: what the train stage wrote, one per method.

    Raises:
        DataError: a file is missing or lacks a value.
    """
    lines, total = [], 0.0
    for file in files:
        try:
            for row, cost in sorted(read_json(file)["rows"].items()):
                lines.append(_line(row, cost))
                total += 0.0 if cost["trained_with"] else cost["seconds"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: {error!r}, expected {', '.join(_HEADER[1:])}; train again") from None
    return Table(
        f"Training on {benchmark}: {total:.1f} s in all, summed over models (those of several rows once); workers "
        "train them side by side.",
        _HEADER,
        lines,
    )


def _line(row: str, cost: dict[str, Any]) -> list[Cell]:
    seconds, models = cost["seconds"], cost["models"]
    cells = [f"{seconds:.1f}", f"{seconds / max(models, 1):.2f}", f"{cost['peak_memory_mib']:.0f}"]
    texts = [*cells, count(models), count(cost["epochs"]), str(cost["workers"]), cost["device"]]
    shared = f"the same models as {cost['trained_with']}" if cost["trained_with"] else ""
    return [Cell(row, shared), *map(Cell, texts)]
