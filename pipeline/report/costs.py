"""What training cost: the one table whose numbers vary from run to run."""

from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.report.table import Cell, Table, count

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
