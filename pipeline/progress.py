"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_LOG_EVERY_S = 20.0
tqdm.monitor_interval = 0  # its thread would run while worker processes are forked


def track(items: Iterable[T], label: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, showing how many are done, the rate and the remaining time on stderr."""
    terminal = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=label,
        unit=f" {unit}",
        total=total,
        mininterval=0.2 if terminal else _LOG_EVERY_S,
        maxinterval=_LOG_EVERY_S,
        dynamic_ncols=terminal,
        leave=True,
        bar_format=None if terminal else "{desc}: {n_fmt}/{total_fmt} in {elapsed}, {rate_fmt}, {remaining} left\n",
    )
