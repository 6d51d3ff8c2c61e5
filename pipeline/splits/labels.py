"""The labels of a benchmark: classes through a mapping, or numbers as they are."""

import math

from pipeline.data.manifest import Utterance
from pipeline.errors import DataError, ParamsError
from pipeline.schema import TaskParams

Labels = dict[str, str] | dict[str, float]
"""By utterance, for those that have a label here."""


def find_labels(utterances: list[Utterance], task: TaskParams, where: str) -> Labels:
    """The label of every utterance that has one in this benchmark.

    Args:
        utterances: of the corpus, those with features.
        task: which column, and its mapping to classes.
        where: the benchmark's key, for messages.

    Raises:
        ParamsError: no such column, or a label outside the mapping.
        DataError: in a regression, a label that is no finite number.
    """
    key = f"params.yaml: {where}.task"
    if unknown := [u for u in utterances if task.label not in u.columns]:
        raise ParamsError(
            f"{key}.label: the manifest has no column '{task.label}', expected one of {', '.join(unknown[0].columns)}"
        )
    raw = {u.utt_id: u.columns[task.label] for u in utterances}
    return _numbers(raw, key) if task.labels is None else _classes(raw, task.labels, key)


def class_names(task: TaskParams, where: str) -> list[str]:
    """The classes by their index; none in a regression.

    Raises:
        ParamsError: a single class.
    """
    classes = sorted({label for label in (task.labels or {}).values() if label is not None})
    if len(classes) == 1:
        raise ParamsError(f"params.yaml: {where}.task.labels: one class '{classes[0]}', expected two or more")
    return classes


def _classes(raw: dict[str, str], mapping: dict[str, str | None], key: str) -> dict[str, str]:
    outside = sorted(set(raw.values()) - set(mapping))
    if outside:
        raise ParamsError(
            f"{key}.labels: the corpus has the label '{outside[0]}', the mapping has "
            f"{', '.join(sorted(mapping))}; map it to a class, or to null to leave it out"
        )
    return {utt_id: label for utt_id, found in raw.items() if (label := mapping[found]) is not None}


def _numbers(raw: dict[str, str], key: str) -> dict[str, float]:
    """Numbers; an empty label leaves its utterance out."""
    numbers: dict[str, float] = {}
    for utt_id, text in raw.items():
        try:
            number = float(text or "nan")
        except ValueError:
            number = math.inf
        if text and not math.isfinite(number):
            raise DataError(f"{key}: utterance '{utt_id}' has the label '{text}', expected a finite number or nothing")
        if text:
            numbers[utt_id] = number
    return numbers
