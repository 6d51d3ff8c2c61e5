"""Scores split by how long utterances are, as in Table 5 of the MCT-HFR paper (https://arxiv.org/abs/2312.15848).

The test predictions of all folds of a seed are put together, restricted to utterances of one range of durations and
measured at every rate; the AUILC of that curve is averaged over repeats and seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.predictions import PredictionStore, RowInfo
from pipeline.evaluation.auilc import auilc
from pipeline.evaluation.intervals import summarize
from pipeline.evaluation.measures import Measures, Statistics
from pipeline.evaluation.scores import CURVES, number

UNKNOWN = "unknown"
"""Where utterances stand whose duration is not known."""


def by_duration(
    store: PredictionStore,
    info: RowInfo,
    measures: Measures,
    confidence: float,
    edges: Sequence[float],
    durations: Mapping[str, float | None],
) -> dict[str, list[dict[str, Any]]]:
    """AUILC of a row per range of durations, as JSON values.

    Args:
        store: predictions.
        info: the row.
        measures: of the task.
        confidence: of the interval over seeds, in (0, 1).
        edges: E ascending durations in seconds; none for no split.
        durations: seconds by utterance, None where unknown.

    Returns:
        Per curve pattern one mapping a range: its `name`, the `n` different utterances tested in it, their `share`, and
        per metric the estimate over seeds; None where nobody is in it. The range `unknown` is there if it is needed.
    """
    if not edges or info.not_applicable is not None:
        return {}
    tested = sorted({utt_id for fold in store.folds for utt_id in fold.utt_ids})
    place = {utt_id: _bucket(durations[utt_id], edges) for utt_id in tested}
    sizes = {name: sum(found == name for found in place.values()) for name in _names(edges)}
    found: dict[str, list[dict[str, Any]]] = {}
    for pattern in store.patterns(info.row):
        rates = _rates(store, info.row, pattern)
        for name, size in sizes.items() if len(rates) > 1 else ():
            if size or name != UNKNOWN:
                pools = _pools(store, info.row, pattern, measures, place, name)
                line = {"name": name, "n": size, "share": number(size / len(tested))}
                line["metrics"] = _areas(pools, rates, measures, confidence) if size else None
                found.setdefault(pattern, []).append(line)
    return found


def _rates(store: PredictionStore, row: str, pattern: str) -> list[float]:
    """The missing rates of a pattern; none where it is not over rates."""
    if pattern not in CURVES:
        return []
    fold = store.folds[0].name
    return [float(condition) for condition in store.scores(row, fold, store.seeds(row, fold)[0], pattern)[0]]


def _pools(
    store: PredictionStore, row: str, pattern: str, measures: Measures, place: Mapping[str, str], name: str
) -> list[Statistics]:
    """Per seed that tests someone of the range, the statistics `(C, R, *shape)` of its folds together."""
    pools: dict[int, Statistics] = {}
    for fold in store.folds:
        inside = np.asarray([place[utt_id] == name for utt_id in fold.utt_ids])
        for seed in store.seeds(row, fold.name) if inside.any() else ():
            guess = measures.decide(store.scores(row, fold.name, seed, pattern)[1])
            own = measures.sums(fold.labels[inside], guess[..., inside])
            pools[seed] = pools[seed] + own if seed in pools else own
    return list(pools.values())


def _areas(
    pools: list[Statistics], rates: list[float], measures: Measures, confidence: float
) -> dict[str, dict[str, float | None]]:
    return {name: _estimate(pools, rates, metric.value, confidence) for name, metric in measures.metrics.items()}


def _estimate(pools: list[Statistics], rates: list[float], value: Any, confidence: float) -> dict[str, Any]:
    areas: npt.NDArray[np.float64] = np.stack([auilc(rates, value(pool).mean(-1)) for pool in pools])
    found = summarize(areas, confidence)
    ends = {"mean": found.mean, "sd": found.sd, "low": found.low, "high": found.high}
    return {"n": found.n} | {key: number(float(each)) for key, each in ends.items()}


def _names(edges: Sequence[float]) -> Iterator[str]:
    yield f"up to {edges[0]:g} s"
    for low, high in pairwise(edges):
        yield f"{low:g} to {high:g} s"
    yield f"over {edges[-1]:g} s"
    yield UNKNOWN


def _bucket(duration: float | None, edges: Sequence[float]) -> str:
    """The range (low, high] that a duration falls into."""
    names = list(_names(edges))
    return UNKNOWN if duration is None else names[int(np.searchsorted(edges, duration, side="left"))]
