"""What a benchmark is, as its report tells it: counts, protocol, provenance, and the planted optimum if known."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.predictions import PredictionStore
from pipeline.errors import DataError
from pipeline.evaluation.classification import classification
from pipeline.evaluation.measures import Measures, Truth
from pipeline.evaluation.regression import regression
from pipeline.evaluation.scores import ScoredRun, number
from pipeline.files import read_csv, read_json

_PLANTED, _ABSENT, _PARTS = "planted_", "absent_", ("train", "valid", "test")


@dataclass(frozen=True)
class Benchmark:
    """The parts of a benchmark folder that scoring needs.

    Args:
        name: of the benchmark.
        folder: where it is.
        rows: labels.csv by utterance id.
        task: task.json.
        folds: folds.json.
    """

    name: str
    folder: Path
    rows: dict[str, dict[str, str]]
    task: dict[str, Any]
    folds: dict[str, Any]

    @property
    def labels(self) -> list[str]:
        """Names of the K classes, by index; none in a regression."""
        return list(self.task["labels"])

    @property
    def measures(self) -> Measures:
        """What the task is measured by."""
        if self.task["kind"] == "regression":
            return regression(self.task["positive_from"])
        return classification(len(self.labels))

    def truth(self, ids: Iterable[str]) -> Truth:
        """True classes `(n,)` int64 of some utterances, or true values `(n,)` float32."""
        if self.task["kind"] == "regression":
            return np.asarray([float(self.rows[utt_id]["value"]) for utt_id in ids], np.float32)
        return np.asarray([int(self.rows[utt_id]["label_index"]) for utt_id in ids], np.int64)

    def durations(self) -> dict[str, float | None]:
        """Seconds by utterance; None where they are not known."""
        return {utt_id: float(row["duration"]) if row["duration"] else None for utt_id, row in self.rows.items()}

    def check(self, store: PredictionStore) -> None:
        """See that predictions were made for exactly the test parts of this benchmark.

        Raises:
            DataError: folds, ids or labels differ; names the fold and the first utterance.
        """
        fix = "run evaluate again for this method (`dvc repro`)"
        tests = {fold["name"]: fold["test"] for fold in self.folds["folds"]}
        found = {fold.name: fold for fold in store.folds}
        if list(found) != list(tests):
            raise DataError(f"{store.path}: folds are {list(found)}, folds.json has {list(tests)}; {fix}")
        for name, fold in found.items():
            where = f"{store.path}: fold '{name}'"
            unknown = [utt_id for utt_id in fold.utt_ids if utt_id not in self.rows]
            if unknown:
                raise DataError(f"{where}: utterance '{unknown[0]}' is not in {self.folder / 'labels.csv'}; {fix}")
            different = sorted(set(fold.utt_ids) ^ set(tests[name]))
            if different:
                raise DataError(
                    f"{where}: {len(fold.utt_ids)} utterances, folds.json tests {len(tests[name])}, first that differs "
                    f"'{different[0]}'; {fix}"
                )
            true = self.truth(fold.utt_ids)
            wrong = np.flatnonzero(fold.labels.astype(true.dtype) != true)
            if len(wrong):
                first = wrong[0]
                raise DataError(
                    f"{where}: utterance '{fold.utt_ids[first]}' has label {fold.labels[first]}, labels.csv says "
                    f"{true[first]}; {fix}"
                )

    def planted(self) -> tuple[list[str], list[ScoredRun], Measures]:
        """The decisions of the best reader of the planted symbols: modality sets, one run per fold, and its measures.

        A class that the benchmark leaves out counts as a wrong answer. Empty where the corpus plants nothing.
        """
        first = next(iter(self.rows.values()))
        columns = [name for name in first if name.startswith(_PLANTED)]
        if not columns:
            return [], [], self.measures
        others = {row[c] for row in self.rows.values() for c in columns} - set(self.labels)
        classes = {name: index for index, name in enumerate([*self.labels, *sorted(others)])}
        runs, measures = [], classification(len(classes))
        for fold in self.folds["folds"]:
            decided = [[[classes[self.rows[utt_id][c]] for utt_id in fold["test"]]] for c in columns]
            counts = measures.sums(self.truth(fold["test"]), np.asarray(decided))  # (sets, 1, K, K)
            runs.append(ScoredRun(fold["name"], fold["seed"] or 0, counts))
        return [c.removeprefix(_PLANTED) for c in columns], runs, measures

    def facts(self) -> dict[str, Any]:
        """All that the report says about the benchmark, as JSON values."""
        rows = list(self.rows.values())
        folds = self.folds["folds"]
        known = [seconds for seconds in self.durations().values() if seconds is not None]
        absent = [name for name in rows[0] if name.startswith(_ABSENT)]
        true = self.truth(self.rows)
        return {
            "benchmark": self.name,
            "corpus": self.task["corpus"],
            "synthetic": self.task["synthetic"],
            "random_weights": any(f.get("random_weights", False) for f in self.task["features"].values()),
            "kind": self.task["kind"],
            "labels": self.labels,
            "features": self.task["features"],
            "max_lengths": self.task["max_lengths"],
            "counts": {**self.task["counts"], "tested": len({utt_id for fold in folds for utt_id in fold["test"]})},
            "classes": {name: int((true == index).sum()) for index, name in enumerate(self.labels)},
            "values": None if self.labels else _spread(true, self.task["positive_from"]),
            "absent": {name.removeprefix(_ABSENT): sum(row[name] == "1" for row in rows) for name in absent},
            "speakers": len({row["speaker"] for row in rows}),
            "hours": None if len(known) < len(rows) else round(sum(known) / 3600, 4),
            "protocol": self.folds["protocol"],
            "speaker_independent": self.folds["speaker_independent"],
            "note": self.folds["note"],
            "folds": [
                {"name": fold["name"], **{part: len(fold[part]) for part in ("train", "valid", "test")}}
                for fold in folds
            ],
        }


def _spread(true: Truth, positive_from: float) -> dict[str, float | None]:
    values = np.asarray(true, np.float64)
    found = {"mean": values.mean(), "sd": values.std(), "low": values.min(), "high": values.max()}
    found |= {"positive_from": positive_from, "positive": (values >= positive_from).mean()}
    return {name: number(value) for name, value in found.items()}


def load_benchmark(name: str, folder: Path) -> Benchmark:
    """Read what scoring needs of a benchmark folder.

    Raises:
        DataError: a part is missing or damaged, or it holds no utterance.
    """
    rows = {row["utt_id"]: row for row in read_csv(folder / "labels.csv")}
    if not rows:
        raise DataError(f"{folder / 'labels.csv'}: no utterance, expected at least one; run the split stage again")
    return Benchmark(name, folder, rows, read_json(folder / "task.json"), read_json(folder / "folds.json"))
