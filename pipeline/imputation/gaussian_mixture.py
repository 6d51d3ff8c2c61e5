"""Gaussian mixture: a variational Bayesian mixture of diagonal Gaussians of the joint training vectors, sampled.

Jhamb, UC Berkeley Technical Report EECS-2022-85, 2022, section 3.3; the fit is scikit-learn's BayesianGaussianMixture
(https://scikit-learn.org/stable/modules/generated/sklearn.mixture.BayesianGaussianMixture.html), its other arguments at
their defaults. A joint sample is drawn, whatever is there, and the missing block is cut out of it: the report
describes no conditioning. One draw, no vote.
"""

import warnings
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor

from pipeline.imputation.chance import Chance
from pipeline.imputation.params import FillerParams
from pipeline.imputation.protocol import unfitted
from pipeline.imputation.vectors import JOINT_ORDER, Vectors, complete_rows
from pipeline.seeding import stream_seed
from pipeline.training.run import Run


class GaussianMixtureFiller:
    """Draws joint vectors from a mixture."""

    def __init__(self, params: FillerParams) -> None:
        """Keep the number of components."""
        self._components = params.gaussian_mixture.components
        self._state: dict[str, Tensor] = {}

    def fit(self, vectors: Vectors, have: Vectors, run: Run) -> dict[str, Any]:
        """Fit to the training utterances that have every modality; see the protocol.

        Raises:
            DataError: there are too few.
        """
        own = complete_rows(vectors, have, "gaussian_mixture", max(self._components, 2))
        joint = torch.cat(list(own.values()), dim=1).double().cpu().numpy()
        seed = stream_seed(*run.words, "filler", "gaussian_mixture") % 2**32
        mixture = BayesianGaussianMixture(n_components=self._components, covariance_type="diag", random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the history says it
            mixture.fit(joint)
        self._state = {
            "weights": torch.from_numpy(mixture.weights_).cumsum(0),
            "means": torch.from_numpy(mixture.means_),
            "deviations": torch.from_numpy(mixture.covariances_).sqrt(),
        }
        self._state |= {f"width.{m}": torch.tensor(x.shape[1]) for m, x in own.items()}
        return {"iterations": int(mixture.n_iter_), "converged": bool(mixture.converged_)}

    def sample(self, vectors: Vectors, have: Vectors, chance: Chance, n: int) -> Vectors:
        """Draw a component, then every coordinate; see the protocol."""
        if not self._state:
            raise unfitted("gaussian_mixture")
        device = chance.keys.device
        weights, means, deviations = (self._state[name].to(device) for name in ("weights", "means", "deviations"))
        component = torch.searchsorted(weights, chance.uniforms("component", n, 1)[..., 0])  # (n, B)
        component = component.clamp(max=len(weights) - 1)
        noise = chance.normals("joint", n, means.shape[1])
        joint = (means[component] + deviations[component] * noise).float()
        widths = {m: int(self._state[f"width.{m}"]) for m in JOINT_ORDER if f"width.{m}" in self._state}
        return dict(zip(widths, torch.split(joint, list(widths.values()), dim=-1), strict=True))

    def state(self) -> dict[str, Tensor]:
        """Cumulative weights, means and deviations, and the widths of the blocks."""
        return dict(self._state)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the mixture."""
        self._state = dict(state)
