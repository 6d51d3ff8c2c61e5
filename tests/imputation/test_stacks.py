"""Fillers that are fitted together end as if each had been fitted alone."""

from typing import Any

import pytest
import torch

from pipeline.errors import ContractError
from pipeline.imputation import conditional
from pipeline.imputation.conditional import ConditionalFiller
from pipeline.imputation.protocol import Fit
from pipeline.imputation.vectors import Vectors
from pipeline.training.run import CPU, Run
from tests.imputation.conftest import everything, make, make_vectors

SMALL: dict[str, dict[str, Any]] = {
    "gan": {"latent": 3, "epochs": 4, "batch_size": 15},
    "vae": {"latent": 3, "hidden": 8, "epochs": 6, "batch_size": 15, "learning_rate": 1e-3},
}
NORMALISED = ("2.bias", "5.bias", "8.bias", "running_mean")
"""Of the GAN: biases before a batch normalisation, which takes them away again. Their gradient is nothing but rounding,
which Adam makes large, and the running mean follows them."""
KINDS = [("gan", {}), ("gan", {"output": "tanh"}), ("vae", {}), ("vae", {"standardize": True})]


def a_fit(name: str, seed: int, n: int = 40, device: torch.device = CPU, **params: Any) -> Fit[ConditionalFiller]:
    """The fit of a filler to vectors of its own, not done."""
    filler = make(name, **{name: {**SMALL[name], **params}})
    assert isinstance(filler, ConditionalFiller)
    vectors = make_vectors(n, seed)[0]
    return Fit(filler, vectors, everything(vectors), Run(("test", seed), device))


def alone(fit: Fit[ConditionalFiller]) -> dict[str, Any]:
    return fit.filler.fit(fit.vectors, fit.have, fit.run)


def assert_alike(
    one: Fit[ConditionalFiller], other: Fit[ConditionalFiller], *histories: dict[str, Any], rounding: float = 1e-5
) -> None:
    """Histories and states are equal up to rounding."""
    first, second = histories
    assert first["parameters"] == second["parameters"]
    assert first["losses"].keys() == second["losses"].keys()
    for key, losses in first["losses"].items():
        for loss, values in losses.items():
            assert second["losses"][key][loss] == pytest.approx(values, rel=rounding)
    state, again = one.filler.state(), other.filler.state()
    assert list(state) == list(again)
    normalises = any(name.endswith("running_mean") for name in state)
    for name, x in state.items():
        tolerance = 1e-3 if normalises and name.endswith(NORMALISED) else rounding
        torch.testing.assert_close(again[name].cpu(), x.cpu(), atol=tolerance, rtol=rounding, msg=name)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fits were trained as one, in turn."""
    found: list[int] = []
    trained = conditional._fit_stack

    def counted(fits: Any, scores: Any) -> list[dict[str, Any]]:
        found.append(len(fits))
        return trained(fits, scores)

    monkeypatch.setattr(conditional, "_fit_stack", counted)
    return found


@pytest.mark.parametrize(("name", "params"), KINDS)
def test_every_member_ends_as_if_fitted_alone(name: str, params: dict[str, Any], sizes: list[int]) -> None:
    single, stacked = ([a_fit(name, seed, **params) for seed in range(3)] for _ in range(2))
    expected = [alone(fit) for fit in single]
    found = ConditionalFiller.fit_together(stacked)
    assert sizes == [1, 1, 1, 3]
    for pair in zip(single, stacked, expected, found, strict=True):
        assert_alike(*pair)
    means = [name for name in single[0].filler.state() if name.endswith("running_mean")]
    assert len(means) == (9 if name == "gan" else 0)
    weights = [fit.filler.state()["network.audio.0.weight"] for fit in stacked]
    assert not torch.allclose(weights[0], weights[1], atol=0.01)


def test_what_differs_in_size_widths_or_parameters_is_fitted_but_not_stacked(sizes: list[int]) -> None:
    def mixed() -> list[Fit[ConditionalFiller]]:
        narrow = a_fit("vae", 3)
        cut: Vectors = {m: x[:, :2] for m, x in narrow.vectors.items()}
        return [
            a_fit("vae", 0),
            a_fit("vae", 1, n=39),
            a_fit("vae", 2, latent=2),
            Fit(narrow.filler, cut, narrow.have, narrow.run),
            a_fit("vae", 4),
            a_fit("gan", 5),
            a_fit("vae", 6, n=39),
        ]

    single, stacked = mixed(), mixed()
    expected = [alone(fit) for fit in single]
    sizes.clear()
    found = ConditionalFiller.fit_together(stacked)
    assert sizes == [2, 2, 1, 1, 1]
    for pair in zip(single, stacked, expected, found, strict=True):
        assert_alike(*pair)


def test_a_training_part_with_holes_is_as_large_as_what_is_complete(sizes: list[int]) -> None:
    fit = a_fit("vae", 0, n=50)
    fit.have["audio"][10:20] = False
    assert len(ConditionalFiller.fit_together([fit, a_fit("vae", 1)])) == 2
    assert sizes == [2]


@pytest.mark.parametrize("name", SMALL)
def test_a_member_that_diverges_is_said_as_if_alone(name: str) -> None:
    fits = [a_fit(name, seed) for seed in range(3)]
    fits[1].vectors["audio"][0, 0] = float("inf")
    with pytest.raises(ContractError, match=rf"filler '{name}': the loss \w+ of \w+ is nan, expected finite numbers"):
        ConditionalFiller.fit_together(fits)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
@pytest.mark.parametrize(("name", "params"), KINDS)
def test_on_a_gpu_a_stack_ends_like_single_fits(name: str, params: dict[str, Any]) -> None:
    cuda = torch.device("cuda")
    single, stacked = ([a_fit(name, seed, device=cuda, **params) for seed in range(3)] for _ in range(2))
    expected = [alone(fit) for fit in single]
    for pair in zip(single, stacked, expected, ConditionalFiller.fit_together(stacked), strict=True):
        assert_alike(*pair, rounding=1e-3)
