"""A benchmark folder: the labelled utterances of a corpus with their three feature sets, cut to length and divided."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data.manifest import Manifest, Utterance
from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.data.store import FeatureStore, Row, write_store
from pipeline.errors import DataError, ParamsError
from pipeline.files import atomic, write_csv, write_json
from pipeline.schema import Benchmark
from pipeline.splits.folds import check_classes, description, make_folds

_COLUMNS = ("utt_id", "label", "label_index", "speaker", "sex", "session", "dialogue", "turn", "duration")


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
        ParamsError: a label outside the mapping.
    """
    opened = {m: FeatureStore(path) for m, path in stores.items()}
    excluded = _check_ids(manifest, opened)
    known = [u for u in manifest.utterances if u.utt_id not in excluded]
    labels = _labels(known, benchmark.task.labels, where)
    used = [u for u in known if u.utt_id in labels]
    if not used:
        raise DataError(f"{where}: no utterance is left; task.labels maps every label to null or all are quarantined")
    classes = sorted({label for label in benchmark.task.labels.values() if label is not None})
    if len(classes) < 2:
        raise ParamsError(f"params.yaml: {where}.task.labels: one class '{classes[0]}', expected two or more")
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
        _write_labels(target / "labels.csv", used, labels, classes, benchmark.task.labels, lengths)
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


def _labels(utterances: list[Utterance], mapping: dict[str, str | None], where: str) -> dict[str, str]:
    outside = sorted({u.label_raw for u in utterances} - set(mapping))
    if outside:
        raise ParamsError(
            f"params.yaml: {where}.task.labels: the corpus has the label '{outside[0]}', the mapping has "
            f"{', '.join(sorted(mapping))}; map it to a class, or to null to leave it out"
        )
    return {u.utt_id: label for u in utterances if (label := mapping[u.label_raw]) is not None}


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
        "max_lengths": limits,
        "synthetic": any(u.extras.get("synthetic") == "yes" for u in used),
        "corpus": benchmark.corpus,
        "features": {m: {"feature_set": sets[m], **store.attrs} for m, store in stores.items()},
        "counts": counts,
    }


def _write_labels(
    path: Path,
    used: list[Utterance],
    labels: dict[str, str],
    classes: list[str],
    mapping: dict[str, str | None],
    lengths: dict[str, dict[str, int]],
) -> None:
    planted = [f"planted_{name}" for name in MODALITY_SETS if f"planted_{name}" in used[0].extras]
    absent = [f"absent_{m}" for m in MODALITIES]

    def row(u: Utterance) -> dict[str, Any]:
        label = labels[u.utt_id]
        own = {c: getattr(u, c) for c in ("utt_id", "speaker", "sex", "session", "dialogue", "turn")}
        duration = "" if u.end is None else round(u.end - u.start, 6)
        missing = {f"absent_{m}": int(lengths[m][u.utt_id] == 0) for m in MODALITIES}
        known = {"label": label, "label_index": classes.index(label), "duration": duration}
        return own | known | missing | {name: mapping.get(u.extras[name]) or u.extras[name] for name in planted}

    write_csv(path, [*_COLUMNS, *absent, *planted], map(row, used))
