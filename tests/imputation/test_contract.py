"""What holds for every filler: it fills holes alone, learns from training alone, and draws by utterance."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from pipeline.errors import ContractError, DataError
from pipeline.imputation.params import FillerParams
from pipeline.imputation.protocol import Donors, Filler, Sampler, fill
from pipeline.imputation.vectors import Vectors, constant_columns
from pipeline.training.run import Run
from tests.imputation.conftest import chance_for, everything, make, make_vectors

LEARNED = ("zero", "mean", "uniform", "gaussian_mixture", "gan", "vae", "neighbours")
ORACLES = ("same_class", "other_class", "class_mean")
DRAWING = ("uniform", "gaussian_mixture", "gan", "vae")
Fitted = Callable[..., Filler]

TEST, LABELS = make_vectors(12, seed=3)
HAVE = {
    "audio": torch.tensor([True, True, False, False] * 3),
    "vision": torch.tensor([True, False, True, False] * 3),
}


def sampler(filler: Any, name: str, rows: torch.Tensor | None = None) -> Sampler:
    """The filler, or the oracle after it was given the test part."""
    if name not in ORACLES:
        return filler
    chosen = LABELS if rows is None else LABELS[rows]
    return filler.seeing(Donors(TEST, everything(TEST), LABELS, chance_for(12).keys), chosen)


def filled(filler: Any, name: str, n: int = 1, splice: bool = True, vectors: Vectors = TEST) -> Vectors:
    return fill(sampler(filler, name), name, vectors, HAVE, chance_for(12), n, splice=splice)


@pytest.mark.parametrize("name", LEARNED + ORACLES)
def test_what_is_there_is_kept_bit_by_bit_and_holes_get_finite_numbers(name: str, fitted: Fitted) -> None:
    odd = {m: x.masked_fill(~HAVE[m][:, None], float("nan")) for m, x in TEST.items()}
    found = filled(fitted(name), name, 3, vectors=odd)
    for m, x in TEST.items():
        assert found[m].shape == (3, *x.shape)
        assert torch.equal(found[m][:, HAVE[m]], x[HAVE[m]].expand(3, -1, -1))
        assert torch.isfinite(found[m]).all()
        assert not torch.equal(found[m][0, ~HAVE[m]], x[~HAVE[m]])


@pytest.mark.parametrize("name", LEARNED + ORACLES)
def test_unused_values_change_nothing(name: str, fitted: Fitted) -> None:
    filler = fitted(name)
    garbage = {m: x.masked_fill(~HAVE[m][:, None], 1e6) for m, x in TEST.items()}
    one, other = filled(filler, name, 2), filled(filler, name, 2, vectors=garbage)
    assert all(torch.equal(one[m], other[m]) for m in one)


@pytest.mark.parametrize("name", ["zero", "mean", "gan", "vae", "uniform", "gaussian_mixture"])
def test_without_splice_the_whole_vector_of_an_utterance_with_a_hole_is_replaced(name: str, fitted: Fitted) -> None:
    holes = torch.arange(12) % 4 != 0
    own, there = {m: x[holes] for m, x in TEST.items()}, {m: x[holes] for m, x in HAVE.items()}
    filler = fitted(name)
    found = fill(filler, name, own, there, chance_for(12).of(holes), 1, splice=False)
    assert all((found[m][0] != own[m]).any(1).all() for m in own)


@pytest.mark.parametrize("name", LEARNED)
def test_use_before_fit_is_refused(name: str) -> None:
    with pytest.raises(
        ContractError, match=rf"filler '{name}': sample before fit; fit it on the training part or load"
    ):
        filled(make(name), name)


@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_without_the_test_part_is_refused(name: str, fitted: Fitted) -> None:
    with pytest.raises(
        ContractError, match=rf"filler '{name}': predict\(batch\) of an oracle, expected .* evaluate alo"
    ):
        fitted(name).sample(TEST, HAVE, chance_for(12), 1)
    with pytest.raises(ContractError, match="sample before fit"):
        sampler(make(name), name)


@pytest.mark.parametrize("name", LEARNED + ORACLES)
def test_a_saved_and_loaded_filler_gives_the_same_samples(name: str, fitted: Fitted) -> None:
    filler, other = fitted(name), make(name)
    assert make(name).state() == {}
    other.load(load(save({k: x.contiguous() for k, x in filler.state().items()})))
    before = torch.random.get_rng_state()
    one, again = filled(filler, name, 4), filled(other, name, 4)
    assert all(torch.equal(one[m], again[m]) for m in one)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_run_fits_the_same_bits_and_leaves_global_chance_alone(name: str, fitted: Fitted) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = fitted(name).state()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    again = fitted(name).state()
    assert all(torch.equal(one[key], again[key]) for key in one)


@pytest.mark.parametrize("name", LEARNED + ORACLES)
def test_a_sample_does_not_depend_on_the_other_utterances_or_their_order(name: str, fitted: Fitted) -> None:
    filler = fitted(name)
    together = filled(filler, name, 3)
    for rows in (torch.tensor([7]), torch.tensor([11, 2, 5, 3, 6])):
        own, there = {m: x[rows] for m, x in TEST.items()}, {m: x[rows] for m, x in HAVE.items()}
        alone = fill(sampler(filler, name, rows), name, own, there, chance_for(12).of(rows), 3, splice=True)
        for m in own:
            torch.testing.assert_close(alone[m], together[m][:, rows], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", DRAWING)
def test_draws_differ_between_utterances_draws_and_seeds(name: str, fitted: Fitted) -> None:
    filler = fitted(name)
    first = filled(filler, name, 3)["audio"]
    other = fill(filler, name, TEST, HAVE, chance_for(12, seed=6), 3, splice=True)["audio"]
    assert not torch.equal(first[0, 3], first[1, 3])
    assert not torch.equal(first[0, 3], first[0, 7])
    assert not torch.equal(first[0, 3], other[0, 3])


@pytest.mark.parametrize("name", DRAWING)
def test_twenty_draws_begin_with_those_of_five(name: str, fitted: Fitted) -> None:
    filler = fitted(name)
    few, many = filled(filler, name, 5), filled(filler, name, 20)
    for m in few:
        torch.testing.assert_close(many[m][:5], few[m], atol=1e-6, rtol=0)


@pytest.mark.parametrize("modalities", [("audio",), ("text", "audio", "vision")], ids=["one", "three"])
@pytest.mark.parametrize("name", LEARNED)
def test_one_and_three_modalities_follow_the_same_rule(name: str, modalities: tuple[str, ...], fitted: Fitted) -> None:
    own, _ = make_vectors(30, modalities=modalities)
    filler = fitted(name, own)
    for hole in range(2 ** len(modalities)):
        there = {m: torch.full((30,), not hole >> i & 1) for i, m in enumerate(modalities)}
        found = fill(filler, name, own, there, chance_for(30), 2, splice=True)
        for m in modalities:
            assert torch.equal(found[m][0], own[m]) == bool(there[m][0])


@pytest.mark.parametrize("name", LEARNED)
def test_a_modality_that_training_lacks_stays_zero(name: str) -> None:
    own, _ = make_vectors()
    filler = make(name)
    lacking = everything(own) | {"text": torch.zeros(40, dtype=torch.bool)}
    filler.fit(own | {"text": torch.zeros(40, 3)}, lacking, Run(("test",)))
    test = TEST | {"text": torch.ones(12, 3)}
    found = fill(filler, name, test, HAVE | {"text": torch.arange(12) < 6}, chance_for(12), 1, splice=True)
    assert found["text"][0].sum(1).tolist() == [3.0] * 6 + [0.0] * 6


@pytest.mark.parametrize("name", ["gaussian_mixture", "gan", "vae", "neighbours"])
def test_without_a_complete_training_utterance_it_says_what_is_needed(name: str) -> None:
    own, _ = make_vectors()
    there = {"audio": torch.arange(40) < 20, "vision": torch.arange(40) >= 20}
    with pytest.raises(
        DataError, match=rf"filler '{name}': 0 training utterances have vision and audio, expected at l"
    ):
        make(name).fit(own, there, Run(("test",)))


def test_a_proposal_that_is_not_finite_names_filler_and_modality(fitted: Fitted) -> None:
    filler = fitted("vae")
    filler.load(filler.state() | {"mean": torch.full((9,), float("nan"))})
    with pytest.raises(ContractError, match=r"filler 'vae': a vector of audio that is not finite, expected finite"):
        filled(filler, "vae")


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_a_training_that_diverges_is_said(name: str) -> None:
    own, _ = make_vectors()
    own["audio"][0, 0] = float("inf")
    with pytest.raises(ContractError, match=rf"filler '{name}': the loss \w+ of \w+ is nan, expected finite numbers"):
        make(name).fit(own, everything(own), Run(("test",)))


def test_constant_columns_are_listed_and_harmless(fitted: Fitted) -> None:
    own, _ = make_vectors()
    own["vision"][:, [0, 2]] = 7.5
    assert constant_columns(own, everything(own)) == {"vision": [0, 2]}
    for name in LEARNED:
        found = filled(fitted(name, own), name, 2)
        assert torch.isfinite(found["vision"]).all()
    linear = fitted("gan", own, gan={"latent": 3, "epochs": 1})
    assert (linear.state()["deviation"][[0, 2]] == 1).all()


def test_a_modality_that_is_constant_throughout_is_refused() -> None:
    own, _ = make_vectors()
    own["audio"][:] = own["audio"][0]
    with pytest.raises(DataError, match="training part: audio is the same in all 40 utterances that have it, expected"):
        constant_columns(own, everything(own))


def test_only_gan_and_vae_vote_and_only_oracles_are_marked() -> None:
    found = {name: FillerParams.model_validate({"filler": name}) for name in LEARNED + ORACLES}
    assert {name for name, params in found.items() if params.draws == 20} == {"gan", "vae"}
    assert {name for name, params in found.items() if params.oracle} == set(ORACLES)
