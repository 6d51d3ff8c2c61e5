"""What extraction, training and evaluation cost: the tables whose numbers vary from run to run."""

from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.report.quantity import quantity
from pipeline.report.results import first_area, named
from pipeline.report.table import NOTHING, Cell, Table, count

_TRAINING = [
    "seconds",
    "seconds per model",
    "peak memory of a worker (MiB)",
    "models",
    "epochs",
    "workers",
    "device",
]
_FILLERS = "fitting fillers (s)"
_EVALUATION = ["evaluation (s)", "peak memory of its workers (MiB)"]

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


def cost_table(scores: dict[str, Any], primary: str, trained: list[Path], evaluated: list[Path]) -> Table:
    """Seconds and memory of every row of a benchmark, beside what they bought.

    Args:
        scores: of the benchmark.
        primary: metric whose AUILC stands beside the costs.
        trained: what the train stage wrote, one file per method.
        evaluated: what the evaluate stage wrote, as far as it is there.

    Raises:
        DataError: a file is missing or lacks a value.
    """
    lines, total = [], 0.0
    evaluations = _rows(evaluated, ("seconds", "peak_memory_mib"), "evaluate again")
    rows = {row["row"]: row for row in scores["rows"]}
    costs = _rows(trained, _COSTS, "train again")
    fillers = any(cost["filler_seconds"] for cost in costs.values())
    for name, cost in costs.items():
        area = first_area(rows[name], primary) if name in rows else None
        bought = NOTHING if area is None else quantity(scores, primary).text(area["mean"])
        shared = f"the same models as {cost['trained_with']}" if cost["trained_with"] else ""
        said = named(rows[name]) if name in rows else name
        filled = [Cell(f"{cost['filler_seconds']:.1f}" if cost["filler_seconds"] else NOTHING)] if fillers else []
        lines.append([Cell(said), Cell(bought), *_trained(cost, shared), *filled, *_evaluated(evaluations.get(name))])
        total += 0.0 if cost["trained_with"] else cost["seconds"]
    return Table(
        f"Training on {scores['benchmark']}: {total:.1f} s in all, summed over models (those of several rows once); "
        f"workers train them side by side. AUILC is that of {quantity(scores, primary).said} in the report; evaluation "
        "is prediction under all masks." + (" Fitting fillers is not in that sum." if fillers else ""),
        ["row", f"AUILC ({primary})", *_TRAINING, *([_FILLERS] if fillers else []), *_EVALUATION],
        lines,
    )


_COSTS = ("trained_with", "seconds", "filler_seconds", "peak_memory_mib", "models", "epochs", "workers", "device")


def _rows(files: list[Path], wanted: tuple[str, ...], fix: str) -> dict[str, dict[str, Any]]:
    """What files say of rows, by row.

    Raises:
        DataError: a file is missing or lacks a value.
    """
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            for row, cost in sorted(read_json(file)["rows"].items()):
                found[row] = {name: cost[name] for name in wanted}
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: {error!r}, expected {', '.join(wanted)}; {fix}") from None
    return found


def _trained(cost: dict[str, Any], shared: str) -> list[Cell]:
    seconds, models = cost["seconds"], cost["models"]
    texts = [f"{seconds:.1f}", f"{seconds / max(models, 1):.2f}", f"{cost['peak_memory_mib']:.0f}"]
    texts += [count(models), count(cost["epochs"]), str(cost["workers"]), cost["device"]]
    return [Cell(texts[0], shared), *map(Cell, texts[1:])]


def _evaluated(cost: dict[str, Any] | None) -> list[Cell]:
    if cost is None:
        return [Cell(NOTHING)] * len(_EVALUATION)
    return [Cell(f"{cost['seconds']:.1f}"), Cell(f"{cost['peak_memory_mib']:.0f}")]
