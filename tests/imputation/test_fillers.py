"""Each filler does what its source says; parameter counts are those of the specification at vision 400, audio 512."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.mixture import BayesianGaussianMixture
from torch import nn

from pipeline.errors import DataError
from pipeline.imputation.gan import discriminator, generator
from pipeline.imputation.gaussian_mixture import GaussianMixtureFiller
from pipeline.imputation.oracle import Seeing
from pipeline.imputation.params import FillerParams, GanParams, VaeParams
from pipeline.imputation.protocol import Donors, Filler, fill
from pipeline.imputation.vae import Autoencoder
from pipeline.seeding import stream_seed
from pipeline.training.run import Run
from tests.imputation.conftest import chance_for, everything, make_vectors
from tests.networks import count

Fitted = Callable[..., Filler]
JOINT, CONDITIONS = 912, {"AV": 0, "V": 512, "A": 400}


def width(network: nn.Module) -> int:
    return next(layer.in_features for layer in network.modules() if isinstance(layer, nn.Linear))


@pytest.mark.parametrize(
    ("model", "made", "judged", "coded", "inputs"),
    [
        ("AV", 1_641_232, 599_041, 1_329_553, (100, 912, 256)),
        ("V", 1_706_768, 861_185, 1_591_697, (612, 1424, 768)),
        ("A", 1_692_432, 803_841, 1_534_353, (500, 1312, 656)),
    ],
)
def test_networks_have_the_sizes_of_the_specification(
    model: str, made: int, judged: int, coded: int, inputs: tuple[int, ...]
) -> None:
    condition = CONDITIONS[model]
    maker, judge = generator(JOINT, condition, GanParams()), discriminator(JOINT, condition)
    coder = Autoencoder(JOINT, condition, VaeParams())
    assert (count(maker), count(judge), count(coder)) == (made, judged, coded)
    assert (width(maker), width(judge), width(coder.decoder)) == inputs
    maker.eval()
    assert maker(torch.zeros(2, inputs[0])).shape == coder.decoder(torch.zeros(2, inputs[2])).shape == (2, JOINT)


def test_constants_are_zero_and_the_mean_of_what_is_there() -> None:
    own, _ = make_vectors()
    have = everything(own) | {"audio": torch.arange(40) < 30}
    for name, expected in (("zero", torch.zeros(5)), ("mean", own["audio"][:30].mean(0))):
        filler = make_filler_of(name)
        filler.fit(own, have, Run(("test",)))
        assert torch.equal(filler.sample(own, have, chance_for(40), 1)["audio"][0, 3], expected)


def make_filler_of(name: str) -> Filler:
    from pipeline.imputation.params import make_filler

    return make_filler(FillerParams.model_validate({"filler": name}))


def test_noise_is_uniform_in_the_unit_interval(fitted: Fitted) -> None:
    drawn = fitted("uniform").sample(*[make_vectors()[0]] * 2, chance_for(40), 500)["audio"]
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=4 / np.sqrt(12 * drawn.numel()))


def test_the_mixture_is_scikit_learns_own(fitted: Fitted) -> None:
    own, _ = make_vectors(60)
    filler = fitted("gaussian_mixture", own)
    joint = torch.cat([own["vision"], own["audio"]], dim=1).double().numpy()
    seed = stream_seed("test", "filler", "gaussian_mixture") % 2**32
    theirs = BayesianGaussianMixture(n_components=2, covariance_type="diag", random_state=seed).fit(joint)
    state = filler.state()
    assert np.array_equal(state["means"].numpy(), theirs.means_)
    assert np.array_equal(state["deviations"].numpy(), np.sqrt(theirs.covariances_))
    assert np.array_equal(state["weights"].numpy(), np.cumsum(theirs.weights_))


def test_samples_of_the_mixture_have_its_moments(fitted: Fitted) -> None:
    own, _ = make_vectors(60)
    filler = fitted("gaussian_mixture", own)
    assert isinstance(filler, GaussianMixtureFiller)
    drawn = filler.sample(own, everything(own), chance_for(60), 400)
    joint = torch.cat([drawn["vision"], drawn["audio"]], dim=-1).flatten(0, 1).double()
    weights = filler.state()["weights"].diff(prepend=torch.zeros(1, dtype=torch.float64))
    means, variances = filler.state()["means"], filler.state()["deviations"].square()
    expected = weights @ means
    spread = (weights @ (variances + means.square()) - expected.square()).sqrt()
    error = spread / np.sqrt(len(joint))
    assert ((joint.mean(0) - expected).abs() < 5 * error).all()
    torch.testing.assert_close(joint.std(0), spread, rtol=0.05, atol=0)


def test_a_conditional_vae_predicts_what_is_linear_in_its_condition() -> None:
    draw = torch.Generator().manual_seed(0)
    audio = torch.randn(300, 3, generator=draw)
    own = {"audio": audio, "vision": audio @ torch.randn(3, 4, generator=draw)}
    params = {"latent": 4, "hidden": 64, "epochs": 150, "learning_rate": 3e-3}
    from pipeline.imputation.params import make_filler

    filler = make_filler(FillerParams.model_validate({"filler": "vae", "vae": params}))
    train, test = ({m: x[part] for m, x in own.items()} for part in (slice(0, 200), slice(200, 300)))
    history = filler.fit(train, everything(train), Run(("test",)))
    losses = history["losses"]["vision"]["bound"]
    assert losses[-1] < losses[0]
    have = everything(test) | {"vision": torch.zeros(100, dtype=torch.bool)}
    drawn = filler.sample(test, have, chance_for(100), 20)["vision"].mean(0)
    error = (drawn - test["vision"]).square().mean()
    assert error < 0.5 * (train["vision"].mean(0) - test["vision"]).square().mean()


@pytest.mark.parametrize(("output", "low"), [("linear", 2.0), ("tanh", 0.0)])
def test_tanh_squeezes_samples_and_linear_gives_the_features_scale_back(
    output: str, low: float, fitted: Fitted
) -> None:
    own = {m: 10 * x + 50 for m, x in make_vectors()[0].items()}
    filler = fitted("gan", own, gan={"latent": 3, "epochs": 1, "output": output})
    drawn = filler.sample(own, {m: torch.zeros(40, dtype=torch.bool) for m in own}, chance_for(40), 2)["audio"]
    assert (drawn.abs().max() <= 1) == (output == "tanh")
    assert drawn.abs().min() > low or output == "tanh"


def test_the_nearest_neighbour_of_a_stored_vector_is_itself(fitted: Fitted) -> None:
    own, _ = make_vectors()
    filler = fitted("neighbours", own, neighbours={"k": 1})
    have = everything(own) | {"audio": torch.zeros(40, dtype=torch.bool)}
    assert torch.equal(filler.sample(own, have, chance_for(40), 1)["audio"][0], own["audio"])


def test_k_neighbours_are_averaged_and_all_where_nothing_is_there(fitted: Fitted) -> None:
    own, _ = make_vectors()
    filler = fitted("neighbours", own, neighbours={"k": 4})
    test, _ = make_vectors(6, seed=8)
    have = {"audio": torch.zeros(6, dtype=torch.bool), "vision": torch.arange(6) < 5}
    found = filler.sample(test, have, chance_for(6), 1)["audio"][0]
    distance = (test["vision"][:5, None] - own["vision"]).square().sum(-1).numpy()
    nearest = np.argsort(distance, axis=1)[:, :4]
    np.testing.assert_allclose(found[:5].numpy(), own["audio"].numpy()[nearest].mean(1), rtol=1e-5)
    torch.testing.assert_close(found[5], own["audio"].mean(0))


def test_more_neighbours_than_are_stored_are_refused(fitted: Fitted) -> None:
    filler = fitted("neighbours", neighbours={"k": 41})
    own, _ = make_vectors(5)
    with pytest.raises(
        DataError, match=r"k is 41, but 40 training utterances have every modality; lower neighbours\.k"
    ):
        filler.sample(own, everything(own), chance_for(5), 1)


def oracle(name: str, labels: torch.Tensor | None = None, n: int = 12) -> tuple[Seeing, Donors]:
    test, own = make_vectors(n, seed=3)
    donors = Donors(test, everything(test), own if labels is None else labels, chance_for(n).keys)
    return Seeing(name, donors, donors.labels), donors


def donors_of(found: dict[str, torch.Tensor], donors: Donors) -> torch.Tensor:
    """Whose vectors `(n, B)` stand in, the same for every modality."""
    chosen = [(found[m][:, :, None] == x).all(-1).int().argmax(-1) for m, x in donors.vectors.items()]
    assert torch.equal(chosen[0], chosen[1])
    assert torch.equal(found["audio"], donors.vectors["audio"][chosen[0]])
    return chosen[0]


@pytest.mark.parametrize(("name", "alike"), [("same_class", True), ("other_class", False)])
def test_a_donor_is_another_utterance_of_the_right_kind_and_gives_all_vectors(name: str, alike: bool) -> None:
    seeing, donors = oracle(name)
    found = seeing.sample(donors.vectors, everything(donors.vectors), chance_for(12), 400)
    chosen = donors_of(found, donors)
    assert ((donors.labels[chosen] == donors.labels) == alike).all()
    assert (chosen != torch.arange(12)).all()
    candidates = 2 if alike else 9
    shares = torch.stack([torch.bincount(chosen[:, i], minlength=12) for i in range(12)]) / 400
    assert ((shares > 0).sum(1) == candidates).all()
    assert (shares[shares > 0] - 1 / candidates).abs().max() < 5 * np.sqrt(0.25 / 400)


def test_the_only_utterance_of_its_class_gets_the_mean_of_the_class() -> None:
    labels = torch.tensor([0] + [1] * 11)
    seeing, donors = oracle("same_class", labels)
    found = seeing.sample(donors.vectors, everything(donors.vectors), chance_for(12), 1)
    assert torch.equal(found["audio"][0, 0], donors.vectors["audio"][0])


def test_class_means_are_those_of_the_test_part_and_alike_within_a_class() -> None:
    seeing, donors = oracle("class_mean")
    found = seeing.sample(donors.vectors, everything(donors.vectors), chance_for(12), 1)
    for label in range(4):
        of_class = donors.labels == label
        expected = donors.vectors["vision"][of_class].mean(0)
        torch.testing.assert_close(found["vision"][0, of_class], expected.expand(3, -1))


def test_the_order_of_the_test_part_is_irrelevant_to_oracles() -> None:
    for name in ("same_class", "other_class", "class_mean"):
        _, donors = oracle(name)
        order = torch.tensor([5, 3, 1, 0, 2, 4, 11, 10, 9, 8, 7, 6])
        turned = Donors(
            {m: x[order] for m, x in donors.vectors.items()}, donors.have, donors.labels[order], donors.keys[order]
        )
        make = make_filler_of(name)
        make.fit(donors.vectors, donors.have, Run(("test",)))
        have = {m: torch.zeros(12, dtype=torch.bool) for m in donors.vectors}
        one, other = (
            fill(make.seeing(part, donors.labels), name, donors.vectors, have, chance_for(12), 2, splice=True)  # type: ignore[attr-defined]
            for part in (donors, turned)
        )
        for m in one:
            torch.testing.assert_close(one[m], other[m])
