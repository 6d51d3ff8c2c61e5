"""Stages train and evaluate: every row, fold and seed once; resumable; the same bytes however they ran."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.data.dataset import load_dataset
from pipeline.data.predictions import PredictionStore
from pipeline.errors import DataError, ParamsError
from pipeline.evaluation import jobs as predictions
from pipeline.evaluation.inference import load_method
from pipeline.execution.lock import exclusive
from pipeline.files import read_json
from pipeline.methods.mlp import MLP
from pipeline.methods.protocol import Needs, variants
from pipeline.missing.masks import MaskBank
from pipeline.training import jobs
from pipeline.training.jobs import benchmark_dataset
from stages.evaluate import evaluate
from stages.mask import mask
from stages.split import split
from stages.train import train

ROOT = Path(__file__).parents[2]
SCRATCH = Path(".scratch/train/tiny/mlp")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PARTS = ("", ".filler")


@pytest.fixture
def benchmark(workplace: Path) -> Path:
    """A working folder with the tiny benchmark and its masks."""
    split("tiny")
    mask("tiny")
    return workplace


def test_there_is_one_model_per_row_fold_and_seed(benchmark: Path) -> None:
    train("tiny", "mlp")
    names = set(contents(paths.models("tiny", "mlp")))
    models = {f"{row}/ses{k}/{seed}" for row in ("base", "mean") for k in (1, 2, 3, 4) for seed in (1, 2)}
    assert names == {
        *(f"{model}{part}.{kind}" for model in models for part in PARTS for kind in ("safetensors", "json")),
        "base/facts.json",
        "mean/facts.json",
    }
    costs = read_json(paths.costs("tiny", "mlp"))["rows"]
    assert [(cost["models"], cost["epochs"]) for cost in costs.values()] == [(8, 24), (8, 24)]
    assert {row: cost["trained_with"] for row, cost in costs.items()} == {"mlp": None, "mlp:mean": "mlp"}


def test_variants_of_one_training_share_its_weights(benchmark: Path) -> None:
    train("tiny", "mlp")
    found = contents(paths.models("tiny", "mlp"))
    assert found["base/ses1/1.safetensors"] == found["mean/ses1/1.safetensors"]
    assert found["base/ses1/1.safetensors"] != found["base/ses1/2.safetensors"]
    assert found["base/ses1/1.filler.safetensors"] != found["mean/ses1/1.filler.safetensors"]
    assert len(list(SCRATCH.glob("*.safetensors"))) == 8 + 2 * 8  # and a filler for each of two rows


def test_the_number_of_workers_changes_no_byte(benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for count in ("1", "2"):
        monkeypatch.setenv("LACUNA_JOBS", count)
        monkeypatch.setenv("LACUNA_SCRATCH", f"scratch{count}")
        train("tiny", "mlp")
        evaluate("tiny", "mlp")
        results.append((contents(paths.models("tiny", "mlp")), paths.predictions("tiny", "mlp").read_bytes()))
    assert results[0] == results[1]


def test_a_second_run_trains_nothing_and_gives_the_same_bytes(
    benchmark: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train("tiny", "mlp")
    before = contents(paths.models("tiny", "mlp"))
    monkeypatch.setattr(jobs, "build", lambda *_: pytest.fail("trained again"))
    train("tiny", "mlp")
    assert contents(paths.models("tiny", "mlp")) == before
    assert "mlp: 24 of 24 trainings are already done" in capsys.readouterr().out


def test_a_changed_variant_trains_alone_and_its_earlier_results_are_forgotten(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    variants_of = study["methods"]["mlp"]["variants"]
    variants_of["wide"] = {"hidden": [6]}
    write_params(study, paths.PARAMS)
    train("tiny", "mlp")
    before = {path.name: path.stat().st_mtime_ns for path in SCRATCH.glob("*.json")}
    assert len(before) == 16 + 16
    variants_of["wide"] = {"hidden": [7]}
    write_params(study, paths.PARAMS)
    train("tiny", "mlp")
    after = {path.name: path.stat().st_mtime_ns for path in SCRATCH.glob("*.json")}
    assert len(after) == 16 + 16
    assert len(set(before.items()) & set(after.items())) == 8 + 16  # fillers do not depend on the classifier


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was_and_ends_in_the_same_bytes(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    study["methods"]["mlp"] |= {"epochs": 60, "batch_size": 8}
    write_params(study, paths.PARAMS)
    command = [sys.executable, "-m", "stages.train", "--benchmark", "tiny", "--method", "mlp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LACUNA_JOBS": "2"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(SCRATCH.glob("*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    time.sleep(0.2)  # the workers follow
    finished = {path: path.stat().st_mtime_ns for path in SCRATCH.glob("*.json")}
    assert 2 <= len(finished) < 8
    assert not paths.models("tiny", "mlp").exists()

    train("tiny", "mlp")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    resumed = contents(paths.models("tiny", "mlp"))
    assert sorted(path.suffix for path in SCRATCH.iterdir()) == ["", *[".json"] * 24, *[".safetensors"] * 24]

    monkeypatch.setenv("LACUNA_SCRATCH", "fresh")
    train("tiny", "mlp")
    assert contents(paths.models("tiny", "mlp")) == resumed


def test_a_parameter_retrains_only_the_variants_that_look_at_it(
    benchmark: Path,
    study: dict[str, Any],
    write_params: Callable[[Any, Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = {"width": 4, "heads": 1, "ffn": 4, "layers": 1, "lfi_depth": 1, "epochs": 1}
    rows = {"complete": {"regime": "complete"}, "mct": {"lfi": False, "gfa": False}, "mct_gfa": {"lfi": False}}
    study["methods"]["mct_hfr"] = {**small, "variants": rows}
    write_params(study, paths.PARAMS)
    train("tiny", "mct_hfr")
    capsys.readouterr()
    for change, kept in (({"alpha": 0.9}, 16), ({"beta": 0.9}, 24), ({"p_miss": 0.3}, 8), ({"layers": 2}, 0)):
        study["methods"]["mct_hfr"] |= change
        write_params(study, paths.PARAMS)
        train("tiny", "mct_hfr")
        said = capsys.readouterr().out
        assert (f"mct_hfr: {kept} of 32 trainings are already done" in said) == (kept > 0), change


def test_a_failure_leaves_the_earlier_models(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train("tiny", "mlp")
    before = contents(paths.models("tiny", "mlp"))
    study["methods"]["mlp"]["learning_rate"] = 0.5
    write_params(study, paths.PARAMS)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.training.results.shutil.copyfile", fail)
    with pytest.raises(KeyboardInterrupt):
        train("tiny", "mlp")
    assert contents(paths.models("tiny", "mlp")) == before
    assert [path.name for path in paths.models("tiny", "mlp").parent.iterdir()] == ["mlp"]


def test_two_runs_at_once_are_refused(benchmark: Path) -> None:
    with exclusive(SCRATCH), pytest.raises(DataError, match=f"process {os.getpid()} is working on it"):
        train("tiny", "mlp")
    assert not paths.models("tiny", "mlp").exists()


def test_predictions_are_those_of_the_models_under_the_masks(benchmark: Path) -> None:
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    data = load_dataset(paths.benchmark("tiny"))
    bank = MaskBank(paths.masks("tiny"))
    rows = variants("mlp", {"hidden": (4,), "variants": {"mean": {"filler": "mean"}}})
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        assert [info.row for info in store.rows] == ["mlp", "mlp:mean"]
        assert store.rows[0].parameters == 14 + 7 * 4 + 4 + 4 * 2 + 2
        assert store.rows[1].params["filler"] == "mean"
        known = read_json(paths.costs("tiny", "mlp"))["rows"]
        for info in store.rows:
            assert (info.models, info.epochs) == (known[info.row]["models"], known[info.row]["epochs"])
            assert info.models > 0 < info.epochs
        assert [fold.name for fold in store.folds] == ["ses1", "ses2", "ses3", "ses4"]
        for variant in rows:
            folder = paths.models("tiny", "mlp") / variant.folder / "ses3"
            method, scaler = load_method(folder / "2.safetensors", variant, data)
            part = data.positions(store.folds[2].utt_ids)
            assert store.folds[2].labels.tolist() == data.labels[part].tolist()
            for pattern in ("frames", "modalities"):
                conditions, scores = store.scores(variant.row, "ses3", 2, pattern)
                masks = bank.masks("ses3", pattern)
                assert conditions == masks.conditions
                test = scaler.apply(data.take(part))
                for c in range(len(conditions)):
                    for r in range(scores.shape[1]):
                        keep = {m: torch.from_numpy(k[c, r]) for m, k in masks.keep.items()}
                        expected = method.predict(test.batch(torch.arange(len(part)), keep)).scores
                        np.testing.assert_allclose(scores[c, r], expected.numpy(), atol=1e-6)


def test_an_evaluation_says_what_each_row_cost(benchmark: Path) -> None:
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    costs = read_json(paths.evaluation_costs("tiny", "mlp"))["rows"]
    assert list(costs) == ["mlp", "mlp:mean"]
    for cost in costs.values():
        assert set(cost) == {"seconds", "peak_memory_mib", "device", "workers"}
        assert cost["seconds"] > 0
        assert 20 < cost["peak_memory_mib"] < 2**17
        assert (cost["device"], cost["workers"]) == ("cpu", 1)


def test_the_fillers_differ_only_where_a_modality_is_missing(benchmark: Path) -> None:
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        conditions, zero = store.scores("mlp", "ses3", 1, "modalities")
        _, mean = store.scores("mlp:mean", "ses3", 1, "modalities")
    assert np.array_equal(zero[conditions.index("tav")], mean[conditions.index("tav")])
    assert not np.allclose(zero[conditions.index("t")], mean[conditions.index("t")])


def test_a_row_that_the_benchmark_cannot_have_is_said_and_not_trained(
    benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MLP, "needs", Needs(modalities=4))
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    assert set(contents(paths.models("tiny", "mlp"))) == {"base/facts.json", "mean/facts.json"}
    assert read_json(paths.costs("tiny", "mlp")) == {"rows": {}}
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        assert [info.not_applicable for info in store.rows] == [
            "needs 4 modalities, the benchmark has text, audio, vision"
        ] * 2


def test_seeds_may_come_from_the_folds(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    study["benchmarks"]["tiny"] |= {"seeds": "from_fold", "folds": {"protocol": "random_by_clip", "seeds": [42, 1]}}
    write_params(study, paths.PARAMS)
    split("tiny")
    mask("tiny")
    train("tiny", "majority")
    evaluate("tiny", "majority")
    assert {name for name in contents(paths.models("tiny", "majority")) if name.endswith("safetensors")} == {
        "base/seed_42/42.safetensors",
        "base/seed_1/1.safetensors",
    }
    with PredictionStore(paths.predictions("tiny", "majority")) as store:
        assert store.seeds("majority", "seed_42") == [42]


def test_a_changed_grid_of_masks_needs_no_training(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train("tiny", "mlp")
    study["benchmarks"]["tiny"]["missing"]["test"]["frames"]["rates"] = [0.0, 0.25, 0.5]
    write_params(study, paths.PARAMS)
    mask("tiny")
    monkeypatch.setattr(jobs, "build", lambda *_: pytest.fail("trained again"))
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        assert store.scores("mlp", "ses1", 1, "frames")[0] == ["0.0", "0.25", "0.5"]


@pytest.mark.parametrize("gone", ["model", "masks", "facts"])
def test_evaluation_without_its_inputs_is_refused_and_leaves_the_earlier_predictions(
    benchmark: Path, gone: str
) -> None:
    train("tiny", "majority")
    evaluate("tiny", "majority")
    before = paths.predictions("tiny", "majority").read_bytes()
    models = paths.models("tiny", "majority") / "base"
    {
        "model": models / "ses2" / "1.safetensors",
        "masks": paths.masks("tiny"),
        "facts": models / "facts.json",
    }[gone].unlink()
    with pytest.raises(DataError, match="dvc repro"):
        evaluate("tiny", "majority")
    assert paths.predictions("tiny", "majority").read_bytes() == before
    assert [path.name for path in paths.predictions("tiny", "majority").parent.iterdir()] == ["majority.h5"]


def test_masks_drawn_for_other_sequences_are_refused(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    train("tiny", "majority")
    study["benchmarks"]["tiny"]["max_lengths"]["audio"] = 3
    write_params(study, paths.PARAMS)
    split("tiny")
    benchmark_dataset.cache_clear()  # another process would evaluate
    with pytest.raises(DataError, match=r"steps of audio, the test part has .* run the mask stage again"):
        evaluate("tiny", "majority")


def test_an_evaluation_that_was_interrupted_goes_on_where_it_was(
    benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("tiny", "majority")
    evaluate("tiny", "majority")
    whole = paths.predictions("tiny", "majority").read_bytes()
    monkeypatch.setenv("LACUNA_JOBS", "1")
    predicted: list[Path] = []
    original = predictions.predict_masked

    def counted(*arguments: Any) -> Any:
        if len(predicted) == 3:
            raise KeyboardInterrupt
        predicted.append(paths.scratch())
        return original(*arguments)

    monkeypatch.setattr(predictions, "predict_masked", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate("tiny", "majority")
    assert paths.predictions("tiny", "majority").read_bytes() == whole
    monkeypatch.setattr(predictions, "predict_masked", lambda *a: (predicted.append(paths.scratch()), original(*a))[1])
    evaluate("tiny", "majority")
    assert len(predicted) == 4  # one per fold: the seeds make no difference to a majority
    assert paths.predictions("tiny", "majority").read_bytes() == whole


def one_to_one(study: dict[str, Any], rates: list[float]) -> None:
    study["training"] = {"rates": rates}
    study["methods"]["mlp"] = {
        "hidden": [4], "epochs": 3, "batch_size": 8, "learning_rate": 0.01,
        "variants": {"each": {"regime": "one_to_one"}},
    }  # fmt: skip


def frames(row: str, seed: int = 1) -> tuple[list[str], np.ndarray]:
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        return store.scores(row, "ses1", seed, "frames")


def test_one_to_one_has_a_model_per_rate_and_at_rate_0_is_complete_training(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    one_to_one(study, [0.0, 0.5, 0.9])
    write_params(study, benchmark / "params.yaml")
    train("tiny", "mlp")
    folder = paths.models("tiny", "mlp")
    names = {path.name for path in (folder / "each" / "ses1").glob("*.safetensors")}
    assert names == {
        f"{seed}@{rate}{part}.safetensors" for seed in (1, 2) for rate in (0.0, 0.5, 0.9) for part in PARTS
    }
    complete = (folder / "base" / "ses1" / "1.safetensors").read_bytes()
    assert (folder / "each" / "ses1" / "1@0.0.safetensors").read_bytes() == complete
    assert (folder / "each" / "ses1" / "1@0.5.safetensors").read_bytes() != complete
    costs = read_json(paths.costs("tiny", "mlp"))["rows"]
    assert (costs["mlp"]["models"], costs["mlp:each"]["models"]) == (8, 24)


def test_every_rate_is_predicted_by_the_model_that_was_trained_at_it(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    one_to_one(study, [0.0, 0.5, 0.9])
    write_params(study, benchmark / "params.yaml")
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    conditions, each = frames("mlp:each")
    _, base = frames("mlp")
    assert conditions == ["0.0", "0.5"]
    np.testing.assert_allclose(each[0], base[0], rtol=0, atol=1e-6)  # other batches, other last bits
    assert np.abs(each[1] - base[1]).max() > 1e-4
    data, bank = load_dataset(paths.benchmark("tiny")), MaskBank(paths.masks("tiny"))
    (variant,) = variants("mlp", {"hidden": (4,), "regime": "one_to_one", "p_miss": 0.5})
    method, scaler = load_method(paths.models("tiny", "mlp") / "each/ses1/1@0.5.safetensors", variant, data)
    masks = bank.masks("ses1", "frames")
    test = scaler.apply(data.take(data.positions(masks.utt_ids)))
    np.testing.assert_allclose(each[1], predictions.predict_masked(method, test, [masks])[0][1], rtol=0, atol=1e-6)
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        alike = [store.scores(row, "ses1", 1, "modalities")[1] for row in ("mlp", "mlp:each")]
    np.testing.assert_allclose(*alike, rtol=0, atol=1e-6)  # no rates: the lowest one's model


def test_a_rate_that_is_tested_and_not_trained_is_refused(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    one_to_one(study, [0.0, 0.9])
    write_params(study, benchmark / "params.yaml")
    train("tiny", "mlp")
    with pytest.raises(
        ParamsError, match=r"training\.rates: 0\.5 is tested under frames, but mlp:each is trained one_to"
    ):
        evaluate("tiny", "mlp")


def test_one_to_one_without_rates_is_refused(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    one_to_one(study, [])
    write_params(study, benchmark / "params.yaml")
    with pytest.raises(ParamsError, match=r"training\.rates: empty, but mlp:each trains one_to_one"):
        train("tiny", "mlp")


FILLERS: dict[str, Any] = {
    "vae": {"filler": "vae", "vae": {"latent": 2, "hidden": 4, "epochs": 4}},
    "class_mean": {"filler": "class_mean"},
}


def test_an_oracle_sees_the_test_part_in_evaluate_and_is_marked(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    study["methods"]["mlp"]["variants"] = FILLERS
    write_params(study, paths.PARAMS)
    train("tiny", "mlp")
    evaluate("tiny", "mlp")
    with PredictionStore(paths.predictions("tiny", "mlp")) as store:
        assert {info.row: info.oracle for info in store.rows} == {
            "mlp": False, "mlp:vae": False, "mlp:class_mean": True,
        }  # fmt: skip
        parameters = {info.row: info.parameters for info in store.rows}
        scores = {row: store.scores(row, "ses1", 1, "modalities")[1] for row in parameters}
        complete = store.scores("mlp", "ses1", 1, "modalities")[0].index("tav")
    assert parameters["mlp:class_mean"] == parameters["mlp"]
    fitted = read_json(paths.models("tiny", "mlp") / "vae/ses1/1.filler.json")
    assert parameters["mlp:vae"] == parameters["mlp"] + fitted["parameters"]
    data = load_dataset(paths.benchmark("tiny"))
    tested = data.positions(read_json(paths.benchmark("tiny") / "folds.json")["folds"][0]["test"])
    whole = torch.stack([column.lengths > 0 for column in data.columns.values()]).all(0)[tested].numpy()
    assert whole.sum() > 0
    for found in scores.values():
        np.testing.assert_allclose(found[complete][0][whole], scores["mlp"][complete][0][whole], atol=1e-6)
    assert not np.allclose(scores["mlp:class_mean"], scores["mlp"])


def test_a_filler_whose_fit_was_killed_is_fitted_again_to_the_same_bytes_and_alone(
    benchmark: Path, study: dict[str, Any], write_params: Callable[[Any, Path], Path]
) -> None:
    study["methods"]["mlp"]["variants"] = FILLERS
    write_params(study, paths.PARAMS)
    train("tiny", "mlp")
    before = contents(paths.models("tiny", "mlp"))
    vae = [path for path in SCRATCH.glob("*.json") if "losses" in read_json(path)["history"]]
    assert len(vae) == 8
    vae[0].unlink()  # the record is written last, so a killed fit has none
    others = {path: path.stat().st_mtime_ns for path in SCRATCH.glob("*.json")}
    train("tiny", "mlp")
    assert contents(paths.models("tiny", "mlp")) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_filler_file_that_is_gone_is_refused(benchmark: Path) -> None:
    train("tiny", "mlp")
    (paths.models("tiny", "mlp") / "mean/ses2/1.filler.safetensors").unlink()
    with pytest.raises(DataError, match=r"1\.filler\.safetensors.*dvc repro"):
        evaluate("tiny", "mlp")
