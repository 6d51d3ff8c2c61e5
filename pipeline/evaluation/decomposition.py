"""Accuracy where whole modalities drop out, divided by how many of an utterance's modalities did.

With masks that are independent of the labels, accuracy at drop-out probability p of two modalities is
(1-p)^2 A0 + 2p(1-p) A1 + p^2 A2, where A0, A1 and A2 are the accuracies with none, one and both missing. The same masks
that were predicted under decide which utterance is counted where, so the parts add up to the accuracy exactly.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.modalities import MODALITIES
from pipeline.data.predictions import PredictionStore, RowInfo
from pipeline.errors import DataError
from pipeline.evaluation.measures import Measures
from pipeline.files import read_csv
from pipeline.missing.masks import MaskBank, Masks

PATTERN = "bernoulli"
"""The only pattern whose parts have a name."""


def decompose(
    store: PredictionStore, info: RowInfo, measures: Measures, bank: Path, lengths: Path
) -> list[dict[str, Any]]:
    """Right answers by the number of missing modalities, as JSON values; empty where the row has no such accuracy.

    Args:
        store: predictions.
        info: the row.
        measures: of the task; a regression has no accuracy of this kind.
        bank: file of the masks.
        lengths: lengths.csv of the benchmark.

    Returns:
        Per condition its name and the `parts`: how many modalities are `missing`, `n` predictions of all runs and
        repeats, and `hits` among them. A modality that an utterance never had does not count as missing.

    Raises:
        DataError: the masks are not those of the predictions.
    """
    if not measures.probabilities or info.not_applicable is not None or PATTERN not in store.patterns(info.row):
        return []
    steps = {row["utt_id"]: {m: int(row[m]) for m in MODALITIES} for row in read_csv(lengths)}
    masks, names = MaskBank(bank), list[str]()
    n: list[npt.NDArray[np.int64]] = []
    hits: list[npt.NDArray[np.int64]] = []
    for fold in store.folds:
        drawn = masks.masks(fold.name, PATTERN)
        if drawn.utt_ids != fold.utt_ids:
            raise DataError(f"{bank}: fold '{fold.name}' has masks of other utterances than {store.path}; `dvc repro`")
        gone = missing_modalities(drawn, steps)  # (C, R, n)
        for seed in store.seeds(info.row, fold.name):
            names, scores = store.scores(info.row, fold.name, seed, PATTERN)
            right = measures.decide(scores) == fold.labels
            parts = gone == np.arange(len(MODALITIES) + 1)[:, None, None, None]  # (4, C, R, n)
            n.append(parts.sum((2, 3)))
            hits.append((parts & right).sum((2, 3)))
    counts, right_counts = np.sum(n, axis=0), np.sum(hits, axis=0)  # (4, C)
    return [
        {
            "condition": name,
            "parts": [
                {"missing": k, "n": int(counts[k, c]), "hits": int(right_counts[k, c])}
                for k in range(len(counts))
                if counts[k, c]
            ],
        }
        for c, name in enumerate(names)
    ]


def missing_modalities(masks: Masks, lengths: dict[str, dict[str, int]]) -> npt.NDArray[np.int64]:
    """How many of its modalities each utterance loses, `(C, R, n)`; a mask of whole modalities is told by a first step.

    Args:
        masks: of one fold.
        lengths: steps per modality of every utterance.
    """
    gone = np.zeros((*masks.keep[MODALITIES[0]].shape[:2], len(masks.utt_ids)), np.int64)
    for m in MODALITIES:
        steps = np.asarray([lengths[utt_id][m] for utt_id in masks.utt_ids])
        there = np.flatnonzero(steps)
        first = (np.cumsum(steps) - steps)[there]
        gone[:, :, there] += ~masks.keep[m][:, :, first]
    return gone
