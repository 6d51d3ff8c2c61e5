"""A benchmark folder: labels mapped, sequences cut, everything counted, written whole or not at all."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.data.dataset import load_dataset
from pipeline.data.manifest import Manifest, Utterance
from pipeline.data.modalities import MODALITIES, MODALITY_SETS
from pipeline.data.store import FeatureStore, Provenance, write_store
from pipeline.data.task import Task
from pipeline.errors import DataError, ParamsError
from pipeline.files import read_csv, read_json
from pipeline.params import parse_params
from pipeline.schema import Benchmark
from pipeline.splits.benchmark import build_benchmark

TINY = Path("data/benchmarks/tiny")


@pytest.fixture
def build(
    workplace: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> Callable[..., dict[str, int]]:
    """`build(change to the benchmark's params, manifest=...)` makes the folder of the tiny study."""

    def make(change: dict[str, Any] | None = None, manifest: Manifest | None = None) -> dict[str, int]:
        study["benchmarks"]["tiny"] |= change or {}
        protocol: Benchmark = parse_params(write_params(study, Path("changed.yaml")).read_text()).benchmarks["tiny"]
        return build_benchmark(
            TINY,
            manifest or Manifest.read(paths.manifest("tiny")),
            {m: paths.features(f"tiny_{m}") for m in MODALITIES},
            protocol,
            "benchmarks.tiny",
            7,
        )

    return make


def test_everything_is_counted(build: Callable[..., dict[str, int]]) -> None:
    counts = build()
    assert counts == {"manifest": 64, "quarantined": 1, "label_left_out": 1, "used": 62}
    assert counts["manifest"] == counts["used"] + counts["quarantined"] + counts["label_left_out"]
    assert read_json(TINY / "task.json")["counts"] == counts
    ids = [row["utt_id"] for row in read_csv(TINY / "labels.csv")]
    assert len(ids) == 62
    assert not {"s2_M_1", "s3_F_2"} & set(ids)


def test_the_owners_labels_become_classes_in_alphabetical_order(build: Callable[..., dict[str, int]]) -> None:
    build({"task": {"labels": {"happy": "joy", "merry": "glee", "sad": "sadness", "unsure": "joy"}}})
    assert read_json(TINY / "task.json")["labels"] == ["glee", "joy", "sadness"]
    raw = {u.utt_id: u.label_raw for u in Manifest.read(paths.manifest("tiny")).utterances}
    mapping = {"happy": ("joy", "1"), "merry": ("glee", "0"), "sad": ("sadness", "2"), "unsure": ("joy", "1")}
    for row in read_csv(TINY / "labels.csv"):
        assert (row["label"], row["label_index"]) == mapping[raw[row["utt_id"]]]


def test_a_label_outside_the_mapping_is_refused_with_the_fix(build: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(ParamsError) as caught:
        build({"task": {"labels": {"happy": "joy", "sad": "sadness", "unsure": None}}})
    assert str(caught.value) == (
        "params.yaml: benchmarks.tiny.task.labels: the corpus has the label 'merry', the mapping has happy, sad, "
        "unsure; map it to a class, or to null to leave it out"
    )
    assert not TINY.exists()


def test_a_benchmark_that_leaves_everything_out_is_refused(build: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(DataError, match=r"benchmarks\.tiny: no utterance is left; none has a label here"):
        build({"task": {"labels": dict.fromkeys(("happy", "merry", "sad", "unsure"))}})


def test_a_single_class_is_no_task(build: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(ParamsError, match=r"benchmarks\.tiny\.task\.labels: one class 'a', expected two or more"):
        build({"task": {"labels": dict.fromkeys(("happy", "merry", "sad", "unsure"), "a")}})


def test_a_class_that_no_utterance_has_is_refused(build: Callable[..., dict[str, int]]) -> None:
    labels = {"happy": "joy", "merry": "joy", "sad": "sadness", "unsure": None, "bored": "boredom"}
    with pytest.raises(DataError, match="no training utterance of class 'boredom'"):
        build({"task": {"labels": labels}})


def test_sequences_are_cut_at_their_end(build: Callable[..., dict[str, int]]) -> None:
    build({"max_lengths": {"text": 2, "audio": 9, "vision": 50}})
    lengths = {row["utt_id"]: row for row in read_csv(TINY / "lengths.csv")}
    limits = {"text": 2, "audio": 9, "vision": 50}
    for m in MODALITIES:
        with FeatureStore(TINY / f"{m}.h5") as cut, FeatureStore(paths.features(f"tiny_{m}")) as whole:
            assert cut.provenance == whole.provenance
            assert any(len(whole.row(utt_id)[0]) > limits[m] for utt_id in cut.ids) == (m != "vision")
            for utt_id in cut.ids:
                expected = whole.row(utt_id)[0][: limits[m]]
                assert np.array_equal(cut.row(utt_id)[0], expected)
                assert lengths[utt_id][m] == str(len(expected))


def test_facts_of_an_utterance_stand_beside_its_label(build: Callable[..., dict[str, int]]) -> None:
    build()
    row = {row["utt_id"]: row for row in read_csv(TINY / "labels.csv")}["s1_F_0"]
    facts = {
        "utt_id": "s1_F_0", "label": "joy", "label_index": "0", "speaker": "1F", "sex": "F", "session": "ses1",
        "dialogue": "s1", "turn": "0", "duration": "1.5", "absent_text": "1", "absent_audio": "0", "absent_vision": "1",
    }  # fmt: skip
    assert {key: row[key] for key in facts} == facts
    assert {key for key in row if key.startswith("planted_")} == {f"planted_{name}" for name in MODALITY_SETS}


def test_a_corpus_that_plants_nothing_has_no_such_columns(
    build: Callable[..., dict[str, int]], workplace: Path
) -> None:
    rows = [replace(u, extras={}, end=None) for u in Manifest.read(paths.manifest("tiny")).utterances]
    build(manifest=Manifest(rows))
    row = read_csv(TINY / "labels.csv")[0]
    assert not [key for key in row if key.startswith("planted_")]
    assert row["duration"] == ""
    assert read_json(TINY / "task.json")["synthetic"] is False


def test_the_task_says_what_the_features_are_and_that_the_corpus_is_synthetic(
    build: Callable[..., dict[str, int]], made_by: Callable[..., Provenance]
) -> None:
    build()
    task = read_json(TINY / "task.json")
    assert (task["kind"], task["corpus"], task["synthetic"]) == ("classification", "tiny", True)
    assert task["max_lengths"] == {"text": 6, "audio": 9, "vision": 5}
    for m in MODALITIES:
        assert task["features"][m] == {"feature_set": f"tiny_{m}", **vars(made_by(m))}


def test_the_same_inputs_give_the_same_bytes(build: Callable[..., dict[str, int]]) -> None:
    build()
    before = {path.name: path.read_bytes() for path in TINY.iterdir()}
    build()
    assert {path.name: path.read_bytes() for path in TINY.iterdir()} == before
    assert sorted(before) == [
        "audio.h5", "folds.json", "labels.csv", "lengths.csv", "task.json", "text.h5", "vision.h5",
    ]  # fmt: skip


def test_a_store_that_lacks_an_utterance_or_has_a_foreign_one_is_refused(
    build: Callable[..., dict[str, int]], utterance: Callable[..., Utterance]
) -> None:
    rows = Manifest.read(paths.manifest("tiny")).utterances
    with pytest.raises(DataError, match=r"tiny_text\.h5: 1 utterances of the manifest are not in it, first 'x'"):
        build(manifest=Manifest([*rows, utterance("x", extras=rows[0].extras)]))
    with pytest.raises(DataError, match=r"tiny_text\.h5: 2 are foreign, first 's1_F_0'; extract this feature set"):
        build(manifest=Manifest(rows[2:]))
    assert not TINY.exists()


def test_what_any_store_lacks_by_quarantine_is_left_out_everywhere(
    build: Callable[..., dict[str, int]], made_by: Callable[..., Provenance]
) -> None:
    with FeatureStore(paths.features("tiny_text")) as store:
        rows = [(utt_id, *store.row(utt_id)) for utt_id in store.ids if utt_id != "s4_M_7"]
    write_store(paths.features("tiny_text"), rows, made_by("text"), ["s4_M_7"])
    assert build() == {"manifest": 64, "quarantined": 2, "label_left_out": 1, "used": 61}
    for m in MODALITIES:
        with FeatureStore(TINY / f"{m}.h5") as store:
            assert not {"s4_M_7", "s2_M_1"} & set(store.ids)


def test_a_store_of_another_modality_is_refused(
    build: Callable[..., dict[str, int]], made_by: Callable[..., Provenance]
) -> None:
    write_store(paths.features("tiny_audio"), [], made_by("vision"))
    with pytest.raises(DataError, match=r"tiny_audio\.h5: holds vision, expected audio; mend features in params"):
        build()


def test_a_class_that_some_fold_never_trains_on_is_refused(build: Callable[..., dict[str, int]]) -> None:
    rows = [
        replace(u, label_raw="merry" if u.session == "ses2" and u.turn == 0 else "sad")
        for u in Manifest.read(paths.manifest("tiny")).utterances
    ]
    with pytest.raises(DataError, match="fold ses2: no training utterance of class 'joy'"):
        build(manifest=Manifest(rows))
    assert not TINY.exists()


@pytest.mark.parametrize("kind", ["disk", "damage", "interrupt"])
def test_a_failure_leaves_the_earlier_folder_as_it_was(
    build: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    build()
    before = {path.name: path.read_bytes() for path in TINY.iterdir()}
    if kind == "damage":
        with h5py.File(paths.features("tiny_vision")) as file:
            place = file["values"].id.get_chunk_info(0).byte_offset
        damaged = bytearray(paths.features("tiny_vision").read_bytes())
        damaged[place + 5] ^= 1
        paths.features("tiny_vision").write_bytes(damaged)
    else:
        problem: BaseException = OSError(errno.ENOSPC, "full") if kind == "disk" else KeyboardInterrupt()

        def fail(*_: object) -> None:
            raise problem

        monkeypatch.setattr("pipeline.splits.benchmark._write_labels", fail)
    expected = KeyboardInterrupt if kind == "interrupt" else DataError
    with pytest.raises(expected, match={"disk": "disk is full", "damage": "values is damaged"}.get(kind)):
        build()
    assert {path.name: path.read_bytes() for path in TINY.iterdir()} == before
    assert [path.name for path in TINY.parent.iterdir()] == ["tiny"]


def test_the_folds_are_those_of_the_protocol(build: Callable[..., dict[str, int]]) -> None:
    build({"folds": {"protocol": "official"}})
    folds = read_json(TINY / "folds.json")
    assert (folds["protocol"], folds["speaker_independent"]) == ("official", True)
    (fold,) = folds["folds"]
    assert set(fold["test"]) == {row["utt_id"] for row in read_csv(TINY / "labels.csv") if row["session"] == "ses4"}


def test_in_a_regression_labels_are_numbers(build: Callable[..., dict[str, int]]) -> None:
    rows = [
        replace(u, extras=u.extras | {"score": "" if u.turn == 7 else str(u.turn / 2)})
        for u in Manifest.read(paths.manifest("tiny")).utterances
    ]
    counts = build({"task": {"kind": "regression", "label": "score", "positive_from": 1.5}}, Manifest(rows))
    assert counts["label_left_out"] == 8
    description = read_json(TINY / "task.json")
    assert (description["kind"], description["labels"], description["positive_from"]) == ("regression", [], 1.5)
    for row in read_csv(TINY / "labels.csv"):
        assert float(row["value"]) == float(row["label"]) == int(row["turn"]) / 2
    data = load_dataset(TINY)
    assert data.task == Task((), "regression", 1.5)
    assert data.labels.dtype == torch.float32
    assert data.labels.tolist() == [int(row["turn"]) / 2 for row in data.rows]


@pytest.mark.parametrize("score", ["high", "nan", "inf"])
def test_a_label_that_is_no_number_is_refused(build: Callable[..., dict[str, int]], score: str) -> None:
    rows = [replace(u, extras=u.extras | {"score": score}) for u in Manifest.read(paths.manifest("tiny")).utterances]
    with pytest.raises(DataError, match=f"utterance 's1_F_0' has the label '{score}', expected a finite number"):
        build({"task": {"kind": "regression", "label": "score"}}, Manifest(rows))


def test_a_column_that_the_manifest_lacks_is_named(build: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(ParamsError, match=r"task\.label: the manifest has no column 'score', expected one of utt_id"):
        build({"task": {"kind": "regression", "label": "score"}})


def test_a_column_of_parts_that_the_manifest_lacks_is_named(build: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(DataError, match=r"has no column 'part', the protocol official needs train, valid or test"):
        build({"folds": {"protocol": "official", "column": "part"}})


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"kind": "regression", "labels": {"a": "b"}}, "found labels given, expected none in a regression"),
        ({"kind": "classification"}, "found labels null, expected the owner's labels and their classes"),
    ],
)
def test_labels_belong_to_classes(build: Callable[..., dict[str, int]], task: dict[str, Any], expected: str) -> None:
    with pytest.raises(ParamsError, match=expected):
        build({"task": task})
