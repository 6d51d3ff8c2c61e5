"""A benchmark folder: the labelled utterances of a corpus with their three feature sets, cut to length and divided."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data.manifest import Manifest, Utterance
from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.data.store import FeatureStore, Row, write_store
from pipeline.errors import DataError
from pipeline.files import atomic, write_csv, write_json
from pipeline.schema import Benchmark, TaskParams
from pipeline.splits.folds import check_classes, description, make_folds
from pipeline.splits.labels import Labels, class_names, find_labels

_FACTS = ("speaker", "sex", "session", "dialogue", "turn", "duration")


def build_benchmark(
    folder: Path, manifest: Manifest, stores: dict[str, Path], benchmark: Benchmark, where: str, seed: int
) -> dict[str, int]:
    """Write the folder, whole or not at all.

    Args:
        folder: to make.
        manifest: of the corpus.
        stores: file of the feature set per modality.
        benchmark: protocol.
        where: the benchmark's key, for messages.
        seed: root seed.

    Returns:
        How many utterances the manifest has, were quarantined, have no label here, and are used.

    Raises:
        DataError: stores do not fit the manifest or one another; nothing is left; a class is missing from training.
        ParamsError: a label outside the mapping, or a column that the manifest does not have.
    """
    opened = {m: FeatureStore(path) for m, path in stores.items()}
    excluded = _check_ids(manifest, opened)
    known = [u for u in manifest.utterances if u.utt_id not in excluded]
    labels, classes = find_labels(known, benchmark.task, where), class_names(benchmark.task, where)
    used = [u for u in known if u.utt_id in labels]
    if not used:
        raise DataError(f"{where}: no utterance is left; none has a label here, or all are quarantined")
    try:
        folds = make_folds(used, benchmark.folds, seed)
    except DataError as error:
        raise DataError(f"params.yaml: {where}.folds: {error}") from None
    check_classes(folds, labels, classes)
    counts = {
        "manifest": len(manifest),
        "quarantined": len(excluded),
        "label_left_out": len(known) - len(used),
        "used": len(used),
    }
    limits = dict(benchmark.max_lengths)
    with atomic(folder) as target:
        target.mkdir()
        lengths = {m: _cut(target / f"{m}.h5", opened[m], used, limits[m]) for m in MODALITIES}
        write_json(target / "folds.json", description(folds, used, benchmark.folds))
        write_json(target / "task.json", _facts(benchmark, classes, limits, opened, counts, used))
        write_csv(
            target / "lengths.csv",
            ["utt_id", *MODALITIES],
            ({"utt_id": u.utt_id} | {m: lengths[m][u.utt_id] for m in MODALITIES} for u in used),
        )
        _write_labels(target / "labels.csv", used, labels, classes, benchmark.task, lengths)
    for store in opened.values():
        store.__exit__()
    return counts


def _check_ids(manifest: Manifest, stores: dict[str, FeatureStore]) -> set[str]:
    wanted = set(manifest.ids)
    excluded: set[str] = set()
    for m, store in stores.items():
        if store.provenance.modality != m:
            raise DataError(
                f"{store.path}: holds {store.provenance.modality}, expected {m}; mend features in params.yaml"
            )
        lost = sorted(wanted - set(store.ids) - set(store.excluded))
        foreign = sorted((set(store.ids) | set(store.excluded)) - wanted)
        if lost or foreign:
            odd = f"{len(lost)} utterances of the manifest are not in it" if lost else f"{len(foreign)} are foreign"
            raise DataError(f"{store.path}: {odd}, first '{(lost or foreign)[0]}'; extract this feature set again")
        excluded |= set(store.excluded)
    return excluded


def _cut(path: Path, store: FeatureStore, used: list[Utterance], limit: int) -> dict[str, int]:
    lengths: dict[str, int] = {}

    def rows() -> Iterator[Row]:
        for u in used:
            values, present = (part[:limit] for part in store.row(u.utt_id))
            steps = len(values) if present.any() else 0  # nothing is there before the cut: absent
            lengths[u.utt_id] = steps
            tokens = store.tokens(u.utt_id)
            yield Row(u.utt_id, values[:steps], present[:steps], None if tokens is None else tokens[:steps])

    write_store(path, rows(), store.provenance)
    return lengths


def _facts(
    benchmark: Benchmark,
    classes: list[str],
    limits: dict[str, int],
    stores: dict[str, FeatureStore],
    counts: dict[str, int],
    used: list[Utterance],
) -> dict[str, Any]:
    sets = dict(benchmark.features)
    return {
        "kind": benchmark.task.kind,
        "labels": classes,
        "positive_from": benchmark.task.positive_from if benchmark.task.kind == "regression" else None,
        "max_lengths": limits,
        "synthetic": any(u.extras.get("synthetic") == "yes" for u in used),
        "corpus": benchmark.corpus,
        "features": {m: {"feature_set": sets[m], **store.attrs} for m, store in stores.items()},
        "counts": counts,
    }


def _write_labels(
    path: Path,
    used: list[Utterance],
    labels: Labels,
    classes: list[str],
    task: TaskParams,
    lengths: dict[str, dict[str, int]],
) -> None:
    planted = [f"planted_{name}" for name in MODALITY_SETS if f"planted_{name}" in used[0].extras]
    absent = [f"absent_{m}" for m in MODALITIES]
    target = "label_index" if classes else "value"

    def row(u: Utterance) -> dict[str, Any]:
        label = labels[u.utt_id]
        own = {c: getattr(u, c) for c in ("utt_id", "speaker", "sex", "session", "dialogue", "turn")}
        duration = "" if u.end is None else round(u.end - u.start, 6)
        missing = {f"absent_{m}": int(lengths[m][u.utt_id] == 0) for m in MODALITIES}
        known = {"label": u.columns[task.label], target: label, "duration": duration}
        if classes:
            known |= {"label": label, target: classes.index(str(label))}
        best = {name: (task.labels or {}).get(u.extras[name]) or u.extras[name] for name in planted}
        return own | known | missing | best

    write_csv(path, ["utt_id", "label", target, *_FACTS, *absent, *planted], map(row, used))
