"""How far filled vectors are from the truth: known fillers have known errors."""

from collections.abc import Callable

import pytest
import torch

from pipeline.data.batch import Batch
from pipeline.data.dataset import Dataset
from pipeline.data.spec import Spec
from pipeline.evaluation.reconstruction import Reconstructs, reconstruction
from pipeline.imputation.vectors import Vectors, utterance_vectors, whole_vectors
from pipeline.methods.protocol import build, variants
from pipeline.training.run import Run

Make = Callable[..., Dataset]
SUBSETS = {
    "text", "audio", "vision", "text+audio", "text+vision", "audio+vision", "text+audio+vision",
}  # fmt: skip


class Shift:
    """Fills with the truth plus some deviations of the test part, twice."""

    def __init__(self, deviations: float) -> None:
        self.deviations = deviations

    def reconstruct(self, batch: Batch, test: Dataset) -> Vectors:
        vectors, have = whole_vectors(test)
        rows = torch.stack([own for own in have.values() if own.any()]).all(0)
        _, observed = utterance_vectors(batch)
        spread = {m: x[rows].std(0, correction=0) for m, x in vectors.items()}
        found = {m: x[batch.index] for m, x in vectors.items()}
        moved = {m: x + ~observed[m][:, None] * self.deviations * spread[m] for m, x in found.items()}
        return {m: x.expand(2, *x.shape) for m, x in moved.items()}


@pytest.mark.parametrize("deviations", [0.0, 2.5])
def test_the_error_is_in_deviations_of_the_test_part(make_data: Make, deviations: float) -> None:
    found = reconstruction(Shift(deviations), make_data(40))
    assert found is not None
    assert set(found["errors"]) == set(found["filled"]) == SUBSETS
    for missing, errors in found["errors"].items():
        assert set(errors) == set(missing.split("+"))
        assert all(error == pytest.approx(deviations, abs=1e-5) for error in errors.values())
    if not deviations:
        assert all(points == found["real"] for points in found["filled"].values())
    assert len(found["labels"]) == len(found["real"])


def test_a_modality_that_nobody_has_is_left_out(make_data: Make) -> None:
    found = reconstruction(Shift(1.0), make_data({"text": [0] * 6, "audio": [2, 3] * 3, "vision": [1] * 6}))
    assert found is not None
    assert set(found["errors"]) == {"audio", "vision", "audio+vision"}


def test_without_whole_utterances_there_is_nothing_to_compare(make_data: Make) -> None:
    assert reconstruction(Shift(1.0), make_data({"text": [0, 1], "audio": [1, 0], "vision": [1, 1]})) is None


def test_a_feature_that_does_not_vary_is_left_out(make_data: Make) -> None:
    data = make_data({"text": [0] * 6, "audio": [2] * 6, "vision": [1] * 6})
    data.columns["audio"].values[:, 0] = 7.0
    found = reconstruction(Shift(1.0), data)
    assert found is not None
    assert found["errors"]["audio"]["audio"] == pytest.approx(1.0, abs=1e-5)


def test_a_modality_that_does_not_vary_has_no_error(make_data: Make) -> None:
    data = make_data({"text": [0] * 6, "audio": [2] * 6, "vision": [1] * 6})
    data.columns["audio"].values[:] = 7.0
    found = reconstruction(Shift(1.0), data)
    assert found is not None
    assert found["errors"] == {"audio": {}, "vision": {"vision": 1.0}, "audio+vision": {"vision": 1.0}}


@pytest.mark.parametrize("filler", ["mean", "same_class", "neighbours"])
def test_methods_with_a_filler_reconstruct(make_data: Make, filler: str) -> None:
    data = make_data(60, lift=1.0)
    (variant,) = variants("mlp", {"filler": filler, "epochs": 1, "hidden": (4,), "decay_every": None})
    method = build(variant, Spec.of(data))
    run = Run(("test",))
    method.fit(data, None, run)
    method.fit_filler(data, run)  # type: ignore[attr-defined]
    assert isinstance(method, Reconstructs)
    found = reconstruction(method, data)
    assert found is not None
    if filler == "mean":
        assert found["errors"]["vision"]["vision"] == pytest.approx(1.0, abs=0.1)
    else:
        assert 0 < found["errors"]["vision"]["vision"] < 2
