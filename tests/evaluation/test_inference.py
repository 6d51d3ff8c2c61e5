"""Prediction under masks: in packed batches, and the same as one utterance at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.scaling import Scaler
from pipeline.data.spec import Spec
from pipeline.errors import DataError
from pipeline.evaluation import inference
from pipeline.evaluation.inference import load_method, predict_masked
from pipeline.methods.protocol import Method, Output, Variant, build, variants
from pipeline.missing.masks import Masks
from pipeline.training.run import Run

Make = Callable[..., Dataset]


class Pooled:
    """A stand-in for a method: scores from the mean of what is observed; counts the utterances that it predicts."""

    network = None

    def __init__(self, data: Dataset) -> None:
        self.task, self.rows = data.task, 0
        self.weights = {m: torch.randn(2, d, generator=torch.Generator().manual_seed(3)) for m, d in
                        Spec.of(data).dims.items()}  # fmt: skip

    def predict(self, batch: Batch) -> Output:
        self.rows += len(batch)
        scores = torch.zeros(len(batch), 2)
        for m, x in batch.features.items():
            mean = x.sum(1) / batch.observed[m].sum(1).clamp(min=1)[:, None]
            scores += mean @ self.weights[m].T
        return Output(self.task.predict(scores))


def masks_of(data: Dataset, conditions: int, repeats: int, seed: int = 0) -> Masks:
    """Random masks, the first condition complete in every repeat."""
    rng = np.random.default_rng(seed)
    keep = {m: rng.random((conditions, repeats, len(c.values))) < 0.6 for m, c in data.columns.items()}
    for m in keep:
        keep[m][0] = True
    return Masks(data.ids, [str(i) for i in range(conditions)], keep)


def naive(method: Any, data: Dataset, masks: Masks) -> npt.NDArray[np.float32]:
    """Every condition, repeat and utterance alone."""
    conditions, repeats = masks.keep["text"].shape[:2]
    scores = np.empty((conditions, repeats, len(data), 2), np.float32)
    for c in range(conditions):
        for r in range(repeats):
            for row in range(len(data)):
                keep = {m: torch.from_numpy(masks.keep[m][c, r]) for m in MODALITIES}
                scores[c, r, row] = method.predict(data.batch(torch.tensor([row]), keep)).scores[0].numpy()
    return scores


@pytest.fixture
def mlp(make_data: Make) -> tuple[Method, Variant]:
    """A trained MLP whose filler is the mean."""
    data = make_data(24, absent_steps=0.2, lift=1.0)
    (variant,) = variants("mlp", {"hidden": (5,), "epochs": 2, "filler": "mean"})
    Run(("test",)).seed_weights()
    method = build(variant, Spec.of(data))
    method.fit(data, None, Run(("test",)))
    method.fit_filler(data, Run(("test",)))
    return method, variant


@pytest.mark.parametrize("steps", [1, 60, 16_384])
def test_packed_prediction_equals_one_utterance_at_a_time(
    make_data: Make, monkeypatch: pytest.MonkeyPatch, mlp: tuple[Method, Variant], steps: int
) -> None:
    monkeypatch.setattr(inference, "_STEPS", {"cpu": steps})
    data = make_data(9, absent_steps=0.2)
    masks = [masks_of(data, 3, 2), masks_of(data, 2, 1, seed=1)]
    for method in (Pooled(data), mlp[0]):
        for found, pattern in zip(predict_masked(method, data, masks), masks, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, naive(method, data, pattern), atol=1e-6)


@pytest.mark.parametrize(
    "lengths",
    [
        {"text": [0, 3, 0], "audio": [0, 2, 0], "vision": [0, 1, 0]},  # nothing at all is there
        {"text": [0, 0], "audio": [2, 1], "vision": [0, 0]},  # nobody has text or vision
        {"text": [5], "audio": [4], "vision": [3]},  # one utterance
    ],
)
def test_absence_is_predicted_too(make_data: Make, mlp: tuple[Method, Variant], lengths: dict[str, list[int]]) -> None:
    data = make_data(lengths)
    masks = masks_of(data, 2, 2)
    for method in (Pooled(data), mlp[0]):
        (found,) = predict_masked(method, data, [masks])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, naive(method, data, masks), atol=1e-6)


def test_equal_masks_are_predicted_once(make_data: Make) -> None:
    data = make_data(9)
    masks = [masks_of(data, 3, 4), masks_of(data, 1, 5, seed=1), masks_of(data, 3, 4)]
    method = Pooled(data)
    found = predict_masked(method, data, masks)
    assert method.rows == 9 * (1 + 2 * 4)  # the complete view, and two conditions of four repeats
    assert np.array_equal(found[0], found[2])
    assert (found[1] == found[0][0, 0]).all()


def test_a_mask_that_hides_a_step_changes_the_prediction(make_data: Make) -> None:
    data = make_data(9)
    masks = masks_of(data, 2, 1)
    (found,) = predict_masked(Pooled(data), data, [masks])
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("change", [-1, 2])
def test_masks_for_sequences_of_other_lengths_are_refused(make_data: Make, change: int) -> None:
    data = make_data(9)
    masks = masks_of(data, 2, 1)
    count = len(data.columns["audio"].values)
    masks.keep["audio"] = np.ones((2, 1, count + change), bool)
    with pytest.raises(DataError, match=f"masks: {count + change} steps of audio, the test part has {count}; run the"):
        predict_masked(Pooled(data), data, [masks])


def saved(path: Path, method: Method, data: Dataset) -> Path:
    state = {f"method.{k}": v for k, v in method.state().items()}
    filler = {k: state.pop(k) for k in list(state) if k.startswith("method.filler")}
    save_file(filler, path.with_name(f"{path.stem}.filler.safetensors"))
    save_file(state | {f"scaler.{k}": v for k, v in Scaler.fit(data).state().items()}, path)
    return path


def test_a_saved_method_predicts_the_same(tmp_path: Path, make_data: Make, mlp: tuple[Method, Variant]) -> None:
    data = make_data(9)
    method, scaler = load_method(saved(tmp_path / "m.safetensors", mlp[0], data), mlp[1], data)
    batch = scaler.apply(data).batch(torch.arange(9))
    assert torch.equal(
        method.predict(batch).scores, mlp[0].predict(Scaler.fit(data).apply(data).batch(torch.arange(9))).scores
    )


@pytest.mark.parametrize("damage", ["gone", "truncated", "not weights", "of another network", "without a filler"])
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, make_data: Make, mlp: tuple[Method, Variant], damage: str
) -> None:
    data, (method, variant) = make_data(9), mlp
    path = saved(tmp_path / "m.safetensors", method, data)
    if damage == "gone":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "not weights":
        path.write_text("hello")
    elif damage == "of another network":
        (variant,) = variants("mlp", {"hidden": (6,)})
    else:
        save_file({"method.network.0.weight": torch.zeros(2)}, path)
    with pytest.raises(DataError) as caught:
        load_method(path, variant, data)
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be loaded (")
    assert message.endswith("); delete it and run `dvc repro`")
    assert len(message.splitlines()) == 1
