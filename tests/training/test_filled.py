"""One classifier with any filler: votes, oracles, what shares a training, and the identity of section 8."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.data.dataset import Column, Dataset
from pipeline.data.modalities import MODALITIES
from pipeline.data.spec import Spec
from pipeline.data.task import Task
from pipeline.errors import ContractError, DataError
from pipeline.methods.protocol import Needs, build, not_applicable, variants
from pipeline.training.filled import FilledClassifier, FilledParams, width
from pipeline.training.run import Run

Make = Callable[..., Dataset]
ORACLES = ("same_class", "other_class", "class_mean")
FILLERS = ("zero", "mean", "uniform", "gaussian_mixture", "gan", "vae", "neighbours", *ORACLES)
SMALL: dict[str, Any] = {
    "gan": {"latent": 3, "epochs": 1},
    "vae": {"latent": 3, "hidden": 8, "epochs": 2},
    "neighbours": {"k": 3},
    "votes": 4,
}


class TinyParams(FilledParams):
    """A vector method made in a test."""


class Tiny(FilledClassifier):
    """All that a second vector method needs."""

    needs = Needs()

    def __init__(self, params: TinyParams, spec: Spec) -> None:
        super().__init__(nn.Linear(width(spec), spec.task.outputs), params, spec)


def vectors(n: int, seed: int, dims: tuple[int, int] = (4, 5), noise: float = 0.6, classes: int = 3) -> Dataset:
    """Audio-visual utterances of one step each, without text; every class has its centre."""
    centres, draw = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    columns = {}
    for m, d in zip(MODALITIES, (1, *dims), strict=True):
        of_class = torch.randn(classes, d, generator=centres)
        steps = torch.full((n,), int(m != "text"))
        values = of_class[labels] + noise * torch.randn(n, d, generator=draw)
        values = values if m != "text" else values[:0]
        columns[m] = Column(values, torch.ones(len(values), dtype=torch.bool), steps.cumsum(0) - steps, steps, None)
    ids = [f"s{seed}u{i:04}" for i in range(n)]
    task = Task(tuple(f"c{i}" for i in range(classes)))
    return Dataset(columns, labels, ids, [{} for _ in ids], task, dict.fromkeys(MODALITIES, 1))


def keep(data: Dataset, audio: Tensor, vision: Tensor) -> dict[str, Tensor]:
    """Masks of utterances of one step: `audio (N,)` and `vision (N,)` bool, True where it is there."""
    return {"text": torch.zeros(0, dtype=torch.bool), "audio": audio, "vision": vision}


def trained(filler: str, train: Dataset, **more: Any) -> Tiny:
    params = TinyParams.model_validate({"filler": filler, "epochs": 20, "learning_rate": 0.02, **SMALL, **more})
    torch.manual_seed(0)
    method = Tiny(params, Spec.of(train))
    method.fit(train, None, Run(("test",)))
    method.fit_filler(train, Run(("test",)))
    return method


def predict(method: Tiny, test: Dataset, masks: dict[str, Tensor] | None = None) -> Tensor:
    seen = (test,) if method.params.oracle else ()
    return method.predict(test.batch(torch.arange(len(test)), masks), *seen).scores


TRAIN, TEST = vectors(60, 0), vectors(24, 1)
SOME = keep(TEST, torch.arange(24) % 4 < 2, torch.arange(24) % 2 < 1)


@pytest.mark.parametrize("filler", FILLERS)
def test_any_filler_goes_with_any_vector_method(filler: str) -> None:
    method = trained(filler, TRAIN)
    scores = predict(method, TEST, SOME)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(scores.sum(1), torch.ones(24))
    whole = SOME["audio"] & SOME["vision"]
    torch.testing.assert_close(scores[whole], predict(trained("zero", TRAIN), TEST)[whole])


@pytest.mark.parametrize("filler", FILLERS)
def test_all_fillers_share_the_weights_of_one_training(filler: str) -> None:
    base, other = trained("zero", TRAIN).state(), trained(filler, TRAIN).state()
    assert all(torch.equal(x, other[key]) for key, x in base.items() if key.startswith("network."))


class Scripted(nn.Module):
    """A classifier that answers with a list of classes, whatever it is given."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.answers = torch.tensor(answers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(self.answers[torch.arange(len(x)) % len(self.answers)], 3).float()


def voted(answers: list[int], n: int = 1) -> Tensor:
    """Scores of `n` utterances without audio, whose draws are answered by `answers` in turn."""
    method = trained("vae", TRAIN, votes=len(answers))
    method.network = Scripted([answer for answer in answers for _ in range(n)])
    test = TEST.take(torch.arange(n))
    return predict(method, test, keep(test, torch.zeros(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool)))


def test_scores_are_the_shares_of_votes() -> None:
    torch.testing.assert_close(voted([2, 2, 0, 2, 1], 3), torch.tensor([[0.2, 0.2, 0.6]]).expand(3, 3))


@pytest.mark.parametrize(("answers", "winner"), [([2, 1, 1, 2], 1), ([2, 0, 2, 0, 1], 0), ([2, 1, 0], 0)])
def test_of_equal_votes_the_smallest_index_wins(answers: list[int], winner: int) -> None:
    assert voted(answers)[0].argmax().item() == np.argmax(voted(answers)[0].numpy()) == winner


def test_a_constant_classifier_is_unmoved_by_votes() -> None:
    assert torch.equal(voted([1] * 20, 4), torch.tensor([[0.0, 1.0, 0.0]]).expand(4, 3))


def test_in_a_regression_draws_are_averaged() -> None:
    train = replace(TRAIN, task=Task((), "regression"), labels=TRAIN.labels.float())
    test = replace(TEST, task=train.task, labels=TEST.labels.float())
    method = trained("vae", train, votes=5)
    nothing = keep(test, torch.zeros(24, dtype=torch.bool), torch.zeros(24, dtype=torch.bool))
    found = predict(method, test, nothing)
    method.params = method.params.model_copy(update={"votes": 1})
    assert found.shape == (24, 1)
    assert not torch.allclose(found, predict(method, test, nothing))
    assert ((found - predict(method, test)).abs() > 1e-6).any()


def test_a_filler_that_is_not_fitted_is_refused_only_where_it_is_needed() -> None:
    params = TinyParams.model_validate({"filler": "vae", **SMALL, "epochs": 1})
    method = Tiny(params, Spec.of(TRAIN))
    method.fit(TRAIN, None, Run(("test",)))
    assert torch.isfinite(predict(method, TEST)).all()
    with pytest.raises(ContractError, match="filler 'vae': sample before fit"):
        predict(method, TEST, SOME)


@pytest.mark.parametrize("filler", ORACLES)
def test_an_oracle_is_refused_where_only_a_batch_is_given(filler: str) -> None:
    method = trained(filler, TRAIN)
    with pytest.raises(ContractError, match=r"predict\(batch\) of an oracle"):
        method.predict(TEST.batch(torch.arange(24), SOME))


@pytest.mark.parametrize("filler", [name for name in FILLERS if name not in ORACLES])
def test_a_method_that_is_given_the_test_part_makes_nothing_of_it(filler: str) -> None:
    method = trained(filler, TRAIN)
    batch = TEST.batch(torch.arange(24), SOME)
    assert torch.equal(method.predict(batch, TEST).scores, method.predict(batch).scores)


@pytest.mark.parametrize("filler", ORACLES)
def test_an_oracle_draws_from_the_test_part_alone(filler: str) -> None:
    method = trained(filler, TRAIN)
    moved = replace(TEST, columns={m: replace(c, values=c.values + 3) for m, c in TEST.columns.items()})
    batch = TEST.batch(torch.arange(24), SOME)
    assert not torch.allclose(method.predict(batch, moved).scores, method.predict(batch, TEST).scores)


def test_of_a_class_mean_with_nothing_there_every_utterance_of_a_class_gets_one_prediction() -> None:
    nothing = keep(TEST, torch.zeros(24, dtype=torch.bool), torch.zeros(24, dtype=torch.bool))
    decided = predict(trained("class_mean", TRAIN), TEST, nothing).argmax(-1)
    shares = [(decided[TEST.labels == c].unique().numel(), (TEST.labels == c).double().mean()) for c in range(3)]
    assert [count for count, _ in shares] == [1, 1, 1]
    right = sum(share for c, (_, share) in enumerate(shares) if decided[TEST.labels == c][0] == c)
    torch.testing.assert_close((decided == TEST.labels).double().mean(), torch.as_tensor(right))


@pytest.mark.parametrize("filler", ["zero", "vae", "same_class", "gaussian_mixture"])
def test_accuracy_splits_into_complete_one_missing_and_both_missing(filler: str) -> None:
    """acc(p) = (1-p)^2 A0 + 2p(1-p) Abar + p^2 A2 for independent masks, within three standard errors."""
    test = vectors(600, 2, noise=1.2)
    method = trained(filler, TRAIN)
    there = {
        (a, v): (
            predict(method, test, keep(test, torch.full((600,), a), torch.full((600,), v))).argmax(-1) == test.labels
        )
        for a in (True, False)
        for v in (True, False)
    }
    share = {case: hit.double().mean().item() for case, hit in there.items()}
    both, one, none = share[True, True], (share[True, False] + share[False, True]) / 2, share[False, False]
    assert both > one or filler == "same_class"
    draw = torch.Generator().manual_seed(3)
    for p in (0.25, 0.5, 0.75):
        hits = []
        for _ in range(5):
            audio, vision = torch.rand(600, generator=draw) >= p, torch.rand(600, generator=draw) >= p
            hits.append(predict(method, test, keep(test, audio, vision)).argmax(-1) == test.labels)
        found = torch.cat(hits).double()
        expected = (1 - p) ** 2 * both + 2 * p * (1 - p) * one + p**2 * none
        assert abs(found.mean().item() - expected) < 3 * found.std().item() / np.sqrt(len(found))


def test_the_mlp_has_the_parameters_of_the_specification() -> None:
    (variant,) = variants("mlp", {})
    data = vectors(16, 0, dims=(512, 400), classes=8)
    network = build(variant, Spec.of(data)).network
    assert network is not None
    assert sum(p.numel() for p in network.parameters()) == 535_976


def test_the_rate_falls_tenfold_every_250_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    original = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), original(self))[1]
    )
    (variant,) = variants("mlp", {"hidden": (2,)})
    build(variant, Spec.of(TRAIN)).fit(TRAIN.take(torch.arange(6)), None, Run(("test",)))
    assert [rates[epoch] for epoch in (0, 249, 250, 500, 750, 999)] == pytest.approx(
        [1e-4, 1e-4, 1e-5, 1e-6, 1e-7, 1e-7]
    )


def test_a_modality_that_is_constant_throughout_is_refused_and_constant_columns_are_listed() -> None:
    still = TRAIN.columns["audio"].values.clone()
    still[:, 1] = 2.0
    listed = replace(TRAIN, columns=TRAIN.columns | {"audio": replace(TRAIN.columns["audio"], values=still)})
    params = TinyParams.model_validate({"epochs": 1})
    method = Tiny(params, Spec.of(TRAIN))
    assert method.fit(listed, None, Run(("test",)))["constant_columns"] == {"audio": [1]}
    assert "constant_columns" not in method.fit(TRAIN, None, Run(("test",)))
    still[:] = 2.0
    with pytest.raises(DataError, match="audio is the same in all 60 utterances that have it"):
        method.fit(listed, None, Run(("test",)))


@pytest.mark.parametrize(
    ("filler", "reason"),
    [
        ("vae", "filler vae fills from other modalities and needs 2, the benchmark has audio"),
        ("gan", "filler gan fills from other modalities and needs 2, the benchmark has audio"),
        ("neighbours", "filler neighbours fills from other modalities and needs 2, the benchmark has audio"),
        ("zero", None),
        ("gaussian_mixture", None),
        ("same_class", None),
    ],
)
def test_a_benchmark_of_one_modality_cannot_have_what_fills_from_others(filler: str, reason: str | None) -> None:
    (variant,) = variants("mlp", {"filler": filler})
    assert not_applicable(variant, replace(Spec.of(TRAIN), available=("audio",))) == reason


def test_a_regression_has_no_oracles() -> None:
    (variant,) = variants("mlp", {"filler": "class_mean"})
    spec = replace(Spec.of(TRAIN), task=Task((), "regression"))
    assert not_applicable(variant, spec) == "filler class_mean needs classes, the benchmark is a regression"


def test_a_batch_without_keys_is_refused() -> None:
    method = trained("zero", TRAIN)
    with pytest.raises(ContractError, match=r"a batch without keys, expected one made by Dataset\.batch"):
        method.predict(replace(TEST.batch(torch.arange(24), SOME), keys=None))


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_a_modality_that_no_training_utterance_has_is_not_looked_at(name: str) -> None:
    train, test = vectors(60, 0), vectors(24, 1)
    steps = torch.ones(24, dtype=torch.int64)
    text = Column(50 * torch.randn(24, 1), torch.ones(24, dtype=torch.bool), steps.cumsum(0) - steps, steps, None)
    test = replace(test, columns=test.columns | {"text": text})
    (row,) = variants(name, {"epochs": 5})
    method = build(row, Spec.of(test))
    method.fit(train, None, Run(("test",)))
    method.fit_filler(train, Run(("test",)))
    restored = build(row, Spec.of(test))
    restored.load(method.state())
    there = {m: torch.ones(len(column.values), dtype=torch.bool) for m, column in test.columns.items()}
    everyone = torch.arange(24)
    with_text, without = (test.batch(everyone, there | {"text": there["text"] & read}) for read in (True, False))
    for own in (method, restored):
        assert torch.equal(own.predict(with_text).scores, own.predict(without).scores)
