"""The recipe for one's own fields: weight of eq. 5, and noise that follows the spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae import DataError, PodBasis
from dvae.analysis import linear_collapse
from dvae.training import Spectrum, elbo_recipe


def spectrum() -> Spectrum:
    return Spectrum(np.array([60.0, 30.0, 5.0]), 100.0, 50)


def test_the_weight_is_per_sample():
    recipe = elbo_recipe(spectrum(), total_nodes=25)
    assert recipe.beta * 25 == pytest.approx(1)  # eq. 5 with beta = 1
    assert elbo_recipe(spectrum(), 25, beta=4.0).beta * 25 == pytest.approx(4)
    assert recipe.label_weight == recipe.beta  # as in eq. 28
    with pytest.raises(DataError, match="beta"):
        elbo_recipe(spectrum(), 25, beta=float("nan"))


def test_annealing_begins_where_the_first_direction_switches_on():
    """At the data variance the linear VAE has an active latent for beta below its limit only."""
    given = spectrum()
    limit = linear_collapse(np.array([60.0, 30.0, 5.0, 5.0]), 50, 1, 1.0)[-1].exists_below
    start, end, _ = elbo_recipe(given, 25).floor
    # 50 * 60 / 100, and 50 * 5 / 100 held below a tenth
    assert start == pytest.approx(30) and end == 0.1
    assert given.noise(0, limit) == pytest.approx(1, rel=1e-9)
    assert elbo_recipe(given, 25, beta=1000.0).floor[0] == 1.0


def test_the_spectrum_holds_all_of_the_variance():
    rng = np.random.default_rng(0)
    fields = torch.as_tensor(rng.normal(size=(40, 1, 6, 6)))
    basis = PodBasis.from_fields(fields, 10)
    found = Spectrum.of(basis, fields, 36)
    scaled = ((fields - fields.mean(0)) / basis.scale).flatten(1).numpy()
    every = np.linalg.svd(scaled, compute_uv=False) ** 2 / 40
    assert found.total == pytest.approx(every.sum())
    np.testing.assert_allclose(found.leading, every[:10])
    assert found.variances().sum() == pytest.approx(every.sum())
    assert (np.diff(found.variances()) <= 0).all()
