"""Hierarchical priors fitted alone: levels, variances, rectifier, rotation (section 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from dvae.analysis.rotation import rotate
from dvae.models import HierarchicalPrior, count_parameters
from dvae.models.priors import diagonal_normal
from dvae.physics import factor_distribution
from dvae.results.trials import Experiment, Group

__all__ = ["PLANS", "PRIOR_FITS", "fit_prior"]

PLANS: dict[str, dict[str, Any]] = {
    "as described, no warm-up": {"warm_up": 0.0},
    "as described": {},
    "as coded": {"rectified": True},
    "variance by network": {"variance": "network"},
    "two levels": {"levels": 2},
    "two levels, by network": {"levels": 2, "variance": "network"},
    "as described, turned by 30": {"turn": 30.0},
}
DRAWS, FRESH = 4096, 2000  # of the four modes: to fit to, to measure on
AXIS = np.linspace(-3.0, 3.0, 49)  # of the stored densities


class _WarmBound(torch.nn.Module):
    """Mean bound on log p(z) with the divergence of xi weighted."""

    def __init__(self, prior: HierarchicalPrior):
        super().__init__()
        self.prior = prior

    def forward(self, z, noise, weight):
        prior, n = self.prior, self.prior.n_latents
        mean, log_variance = prior.encoder(z)
        xi = mean + torch.exp(0.5 * log_variance) * noise[:, :n]
        rate = prior.parent.rate(diagonal_normal(mean, log_variance), xi, noise[:, n:])
        decoded = diagonal_normal(*prior.decoder(xi))
        return (decoded.log_prob(z) - weight * rate).mean()


def fit_prior(
    make: Callable[[], HierarchicalPrior],
    samples: Float[torch.Tensor, "sample latent"],
    steps: int = 400,
    tries: int = 3,
    warm_up: float = 0.5,
    seed: int = 0,
) -> HierarchicalPrior:
    """Fit a hierarchical prior alone to samples of z, by the bound of eq. 12.

    Parameters
    ----------
    make : callable
        Makes a prior with fresh weights.
    samples : Tensor (sample, latent)
        What the prior is to be the density of.
    steps : int
        Adam steps of 256 samples at a learning rate that rises to 0.02 and falls again.
    tries : int
        Priors that are fitted at once from different weights; the one with the best bound wins.
    warm_up : float
        Share of the steps in which the weight of KL[q(xi|z) || p(xi)] rises from 0 to 1.
    seed : int
        Of weights, batches and noise.

    Returns
    -------
    HierarchicalPrior
        The best of the tries.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bounds = [_WarmBound(make()) for _ in range(tries)]
        parameters, buffers = torch.func.stack_module_state(bounds)
        size = bounds[0].prior.noise_size

        def bound(weights, fixed, z, noise, weight):
            return torch.func.functional_call(bounds[0], (weights, fixed), (z, noise, weight))

        together = torch.func.vmap(bound, in_dims=(0, 0, None, 0, None))
        adam = torch.optim.Adam(parameters.values())
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-2, total_steps=max(steps, 2))
        for step in range(steps):
            weight = min(1.0, step / (warm_up * steps)) if warm_up else 1.0
            z = samples[torch.randint(len(samples), (256,))]
            noise = torch.randn(tries, len(z), size)
            adam.zero_grad()
            (-together(parameters, buffers, z, noise, weight).sum()).backward()
            adam.step()
            rate.step()
        with torch.no_grad():
            noise = torch.randn(tries, len(samples), size)
            best = int(together(parameters, buffers, samples, noise, 1.0).argmax())
        state = {k: v[best].detach() for k, v in {**parameters, **buffers}.items()}
        bounds[best].load_state_dict(state)
    return bounds[best].prior


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    budget = {"steps": 40 if smoke else 400, "tries": 2 if smoke else 3, "warm_up": 0.5}
    seeds = tuple({"seed": seed} for seed in range({"smoke": 1, "laptop": 5, "paper": 20}[profile]))
    prior = {"rectified": False, "variance": "constant", "levels": 1, "turn": 0.0}
    return [Group({"plan": name} | budget | prior | plan, seeds) for name, plan in PLANS.items()]


def _compute(group: Group, **arguments) -> xr.Dataset:
    fits = [_fit(settings) for settings in group.settings()]
    labels = {name: [s[name] for s in group.settings()] for name in ("plan", "seed")}
    data = xr.concat(fits, "trial")
    return data.assign_coords(
        {name: ("trial", values) for name, values in labels.items()} | {"axis": AXIS}
    )


def _fit(settings: dict[str, Any]) -> xr.Dataset:
    """One prior, fitted to draws of the four modes and measured on fresh ones."""
    target, seed = factor_distribution("four-modes"), settings["seed"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + seed)
        plain = target.sample((DRAWS + FRESH,)).float()
        noise = torch.randn(10, FRESH, 2 * (1 + settings["levels"]))
    turned = torch.as_tensor(rotate(plain.numpy(), settings["turn"])).float()
    draws, fresh = turned[:DRAWS], turned[DRAWS:]
    options = {name: settings[name] for name in ("rectified", "variance", "levels")}
    prior = fit_prior(
        lambda: HierarchicalPrior(2, **options),
        draws,
        settings["steps"],
        settings["tries"],
        settings["warm_up"],
        seed,
    )
    truth = target.log_prob(plain[DRAWS:]).mean()
    gaussian = torch.distributions.MultivariateNormal(draws.mean(0), draws.T.cov())
    square = torch.cartesian_prod(*2 * [torch.as_tensor(AXIS).float()])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        exact = prior.log_prob(fresh, 500, generator).mean()
        many = fresh.expand(10, *fresh.shape)
        bound = prior.log_prob_bound(many, noise[..., : prior.noise_size]).mean()
        density = prior.log_prob(square, 128, generator).exp().view(len(AXIS), -1).numpy()
    return xr.Dataset(
        {
            "divergence": float(truth - exact),
            "gap": float(exact - bound),
            "gaussian_divergence": float(truth - gaussian.log_prob(fresh).mean()),
            "parameters": count_parameters(prior),
            "density": (("axis", "axis2"), density.astype(np.float32)),
        }
    )


PRIOR_FITS = Experiment(
    "prior_fits",
    "hierarchical priors fitted alone to the four modes: levels, variances, rectifier (2.3)",
    1,
    _groups,
    _compute,
)
