"""Trainings are named by all that they depend on, and by nothing else; the test part is out of their reach."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.store import Provenance, write_store
from pipeline.evaluation.inference import load_method
from pipeline.files import read_json, write_json
from pipeline.methods.protocol import Needs, variants
from pipeline.registry import import_closure
from pipeline.training import jobs as module
from pipeline.training.jobs import TrainingJob, filler_jobs, refusal, train_one, training_jobs
from pipeline.training.results import costs, gather_models, model_file
from stages.split import split

FOLDER = Path("data/benchmarks/tiny")
MLP = {"hidden": (4,), "epochs": 2, "batch_size": 16}
Jobs = Callable[..., list[TrainingJob]]


@pytest.fixture
def jobs(workplace: Path) -> Jobs:
    """`jobs({parameters of the mlp}, seeds=..., words=...)` of the tiny study, after its split."""
    split("tiny")

    def make(block: dict[str, Any] | None = None, **known: Any) -> list[TrainingJob]:
        module.benchmark_fingerprint.cache_clear()
        module.benchmark_dataset.cache_clear()
        rows = variants("mlp", {**MLP, **(block or {})})
        seeds, words = known.get("seeds", (1, 2)), known.get("words", (7, "tiny"))
        return list(training_jobs(FOLDER, rows, seeds, words, Path("scratch")))

    return make


def keys(found: list[TrainingJob]) -> list[str]:
    return [job.key for job in found]


def test_there_is_one_job_per_row_fold_and_seed(jobs: Jobs) -> None:
    found = jobs({"variants": {"mean": {"filler": "mean"}, "wide": {"hidden": (9,)}}})
    assert [(job.variant.row, job.fold["name"], job.seed) for job in found] == [
        (row, fold, seed)
        for row in ("mlp", "mlp:mean", "mlp:wide")
        for fold in ("ses1", "ses2", "ses3", "ses4")
        for seed in (1, 2)
    ]


def test_variants_that_differ_at_test_time_only_share_their_trainings(jobs: Jobs) -> None:
    found = jobs({"variants": {"mean": {"filler": "mean"}, "wide": {"hidden": (9,)}}})
    base, mean, wide = keys(found)[:8], keys(found)[8:16], keys(found)[16:]
    assert base == mean
    assert len(set(base)) == 8
    assert not set(base) & set(wide)


@pytest.mark.parametrize(
    ("changed", "refitted"),
    [
        ({"vae": {"epochs": 3}}, "mlp:vae"),
        ({"gan": {"output": "tanh"}}, "mlp:gan"),
        ({"neighbours": {"k": 5}, "votes": 3, "splice": False}, None),
        ({"hidden": (9,), "epochs": 5, "regime": "moddrop"}, None),
        ({"variants": {"uniform": {"filler": "uniform"}}}, None),
    ],
    ids=["vae", "gan", "test time", "classifier", "another filler"],
)
def test_only_the_filler_whose_parameters_change_is_fitted_again(
    jobs: Jobs, changed: dict[str, Any], refitted: str | None
) -> None:
    rows = {name: {"filler": name} for name in ("vae", "gan", "neighbours", "gaussian_mixture", "class_mean")}
    before = filler_jobs(jobs({"variants": rows}))
    after = filler_jobs(jobs({**changed, "variants": rows | changed.get("variants", {})}))
    differ = {b.variant.row for a, b in zip(before, after, strict=False) if a.key != b.key}
    assert differ == ({refitted} if refitted else set())
    assert len(keys(after)) == len(keys(before)) + 8 * len(changed.get("variants", {}))


@pytest.mark.parametrize("changed", [{"filler": "vae"}, {"vae": {"epochs": 3}}, {"votes": 3}, {"splice": False}])
def test_no_parameter_of_a_filler_trains_the_classifier_again(jobs: Jobs, changed: dict[str, Any]) -> None:
    assert keys(jobs(changed)) == keys(jobs())


def test_the_training_does_not_depend_on_the_code_of_fillers(jobs: Jobs) -> None:
    folders = {path.parent.name + "/" + path.name for path in import_closure("pipeline.methods.mlp")}
    assert "imputation/params.py" in folders
    assert not {f"imputation/{name}.py" for name in ("gan", "vae", "oracle", "constant", "noise")} & folders
    assert len({job.fingerprint for job in [*jobs(), *filler_jobs(jobs({"filler": "vae"}))]}) == 2


def test_a_filler_is_fitted_alike_whether_or_not_the_classifier_was_trained_before(jobs: Jobs) -> None:
    found = []
    for place in ("before", "after"):
        job = replace(jobs({"filler": "vae", "vae": {"epochs": 2, "hidden": 4}})[0], scratch=Path(place))
        if place == "after":
            train_one(job)
        (filler,) = filler_jobs([job])
        train_one(filler)
        found.append(filler.weights.read_bytes())
    assert found[0] == found[1]


def test_a_filler_of_intermediate_vectors_depends_on_its_training(workplace: Path) -> None:
    split("tiny")
    block = {"hidden": 4, "heads": 2, "epochs": 1, "filler": "neighbours"}
    first, second = (
        next(training_jobs(FOLDER, variants("intra_attention", {**block, **more}), (1,), (7, "tiny"), Path("scratch")))
        for more in ({}, {"epochs": 2})
    )
    (one,), (other,) = filler_jobs([first]), filler_jobs([second])
    assert one.trained == first
    assert (first.epochs, one.epochs) == (1, 0)  # nothing is trained in epochs where vectors are stored
    assert one.key != other.key
    data = load_dataset(FOLDER)
    method, scaler = load_method(gathered([first]), first.variant, data)
    stored = read_json(one.record)["history"]["stored"]
    whole = torch.stack([c.lengths > 0 for c in data.columns.values()]).all(0)
    assert stored == int(whole[data.positions(first.fold["train"])].sum())
    keep = {m: torch.full((len(c.values),), m == "text") for m, c in data.columns.items()}
    assert torch.isfinite(method.predict(scaler.apply(data).batch(torch.arange(len(data)), keep)).scores).all()


@pytest.mark.parametrize("regime", ["complete", "dynamic"])
def test_a_shared_training_is_the_same_whichever_variant_asks_for_it(jobs: Jobs, regime: str) -> None:
    results = []
    for filler in ("zero", "mean"):
        block = {"regime": regime, "p_miss": 0.9, "ramp_epochs": 1, "monitor": "loss", "filler": filler}
        job = replace(jobs(block)[0], scratch=Path(filler))
        record = read_json(train_one(job))
        results.append((job.key, job.weights.read_bytes(), record["history"]))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "block", [{"learning_rate": 0.5}, {"hidden": (5,)}, {"regime": "dynamic"}, {"standardize": True}, {"epochs": 3}]
)
def test_a_parameter_of_the_training_renames_every_training(jobs: Jobs, block: dict[str, Any]) -> None:
    assert not set(keys(jobs())) & set(keys(jobs(block)))


def test_seeds_and_words_rename_and_a_further_seed_does_not(jobs: Jobs) -> None:
    assert not set(keys(jobs())) & set(keys(jobs(words=(8, "tiny"))))
    assert set(keys(jobs())) < set(keys(jobs(seeds=(1, 2, 3))))


def test_folds_may_carry_their_seeds(jobs: Jobs) -> None:
    description = read_json(FOLDER / "folds.json")
    for number, fold in enumerate(description["folds"]):
        fold["seed"] = 40 + number
    write_json(FOLDER / "folds.json", description)
    assert [job.seed for job in jobs(seeds="from_fold")] == [40, 41, 42, 43]


def test_a_fold_renames_its_own_trainings_only(jobs: Jobs) -> None:
    before = keys(jobs())
    description = read_json(FOLDER / "folds.json")
    description["folds"][1]["train"] = description["folds"][1]["train"][1:]
    write_json(FOLDER / "folds.json", description)
    after = keys(jobs())
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False, True, True, True, True]


def test_which_utterances_are_tested_renames_nothing(jobs: Jobs) -> None:
    before = jobs()
    description = read_json(FOLDER / "folds.json")
    for fold in description["folds"]:
        fold["test"] = fold["test"][:1]
    write_json(FOLDER / "folds.json", description)
    assert keys(jobs()) == keys(before)
    assert all(set(job.fold) == {"name", "train", "valid"} for job in before)


def test_features_labels_and_code_rename_every_training(
    jobs: Jobs, made_by: Callable[..., Provenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [set(keys(jobs()))]
    column = (data := load_dataset(FOLDER)).columns["audio"]
    parts = (1.001 * column.values).split(column.lengths.tolist())
    rows = [(utt_id, part.numpy(), None) for utt_id, part in zip(data.ids, parts, strict=True)]
    write_store(FOLDER / "audio.h5", rows, made_by("audio"))
    seen.append(set(keys(jobs())))
    labels = FOLDER / "labels.csv"
    labels.write_text(labels.read_text().replace(",joy,0,", ",joy,1,", 1))
    seen.append(set(keys(jobs())))
    monkeypatch.setattr(module, "sources_sha256", lambda *names: "other code")
    seen.append(set(keys(jobs())))
    assert len(set.union(*seen)) == sum(map(len, seen))


def test_a_finished_training_is_not_done_again(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs()[0]
    assert not job.finished
    assert train_one(job) == job.record
    assert job.finished
    monkeypatch.setattr(module, "build", lambda *_: pytest.fail("trained again"))
    assert train_one(job) == job.record


def test_weights_without_their_record_are_not_a_finished_training(jobs: Jobs) -> None:
    job = jobs()[0]
    train_one(job)
    before = job.weights.read_bytes()
    job.record.unlink()
    assert not job.finished
    train_one(job)
    assert job.weights.read_bytes() == before


def test_the_record_says_history_facts_and_cost(jobs: Jobs) -> None:
    job = jobs()[0]
    record = read_json(train_one(job))
    assert len(record["history"]["epochs"]) == 2
    assert record["facts"] == {"parameters": 14 + 7 * 4 + 4 + 4 * 2 + 2, "macs": 7 * 4 + 4 * 2}
    assert record["cost"]["device"] == "cpu"
    assert record["cost"]["seconds"] > 0
    assert sorted(path.name for path in Path("scratch").iterdir()) == [f"{job.key}.json", f"{job.key}.safetensors"]


def test_a_job_can_be_sent_to_another_process(jobs: Jobs) -> None:
    job = jobs()[0]
    assert pickle.loads(pickle.dumps(job)).key == job.key


def gathered(found: list[TrainingJob]) -> Path:
    """Where the first of some models is after the train stage, its filler beside it."""
    every = [*found, *filler_jobs(found)]
    for job in every:
        train_one(job)
    gather_models(every, {}, costs(every), Path("models"))
    return model_file(Path("models") / found[0].variant.folder / found[0].fold["name"], found[0].seed, "")


@pytest.mark.parametrize("standardize", [True, False])
def test_a_trained_method_comes_back_with_its_scaler(jobs: Jobs, standardize: bool) -> None:
    job = jobs({"standardize": standardize, "variants": {"mean": {"filler": "mean"}}})[8]
    data = load_dataset(FOLDER)
    method, scaler = load_method(gathered([job]), job.variant, data)
    assert all(bool(scaler.mean[m].any()) == standardize for m in MODALITIES)
    scores = method.predict(scaler.apply(data).batch(torch.arange(len(data)))).scores
    assert torch.allclose(scores.sum(1), torch.ones(len(data)))


def poisoned(data: Dataset, ids: set[str]) -> Dataset:
    """The dataset with NaN for features and wrong labels where an utterance is one of `ids`."""
    rows = torch.tensor([utt_id in ids for utt_id in data.ids])
    columns = {}
    for m, column in data.columns.items():
        steps = torch.repeat_interleave(rows, column.lengths)
        columns[m] = replace(column, values=column.values.masked_fill(steps[:, None], float("nan")))
    return replace(data, columns=columns, labels=torch.where(rows, 1 - data.labels, data.labels))


@pytest.mark.parametrize(
    ("method", "block"),
    [
        ("mlp", {**MLP, "monitor": "loss", "standardize": True, "regime": "dynamic"}),
        ("mlp", MLP),
        ("majority", {}),
    ],
)
def test_the_test_part_cannot_reach_what_is_trained(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, method: str, block: dict[str, Any]
) -> None:
    split("tiny")
    rows = variants(method, block)
    results = []
    for place in ("clean", "odd"):
        job = next(training_jobs(FOLDER, rows, (1,), (7, "tiny"), Path(place)))
        record = read_json(train_one(job))
        state = load_file(job.weights)
        assert all(x.isfinite().all() for x in state.values())
        results.append((job.weights.read_bytes(), json.dumps(record["history"])))
        tested = set(read_json(FOLDER / "folds.json")["folds"][0]["test"])
        odd = poisoned(load_dataset(FOLDER), tested)
        monkeypatch.setattr(module, "benchmark_dataset", lambda folder, odd=odd: odd)
    assert results[0] == results[1]


def test_training_does_depend_on_the_training_part(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split("tiny")
    results = []
    for place in ("clean", "odd"):
        job = next(training_jobs(FOLDER, variants("majority", {}), (1,), (7, "tiny"), Path(place)))
        train_one(job)
        results.append(job.weights.read_bytes())
        odd = poisoned(load_dataset(FOLDER), set(job.fold["train"][:1]))
        monkeypatch.setattr(module, "benchmark_dataset", lambda folder, odd=odd: odd)
    assert results[0] != results[1]


def test_a_row_that_the_benchmark_cannot_have_is_refused_with_the_reason(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split("tiny")
    (row,) = variants("mlp", MLP)
    assert refusal(row, FOLDER) is None
    from pipeline.methods.mlp import MLP as Method

    monkeypatch.setattr(Method, "needs", Needs(modalities=4))
    assert refusal(row, FOLDER) == "needs 4 modalities, the benchmark has text, audio, vision"
