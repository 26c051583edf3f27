"""Conditions of the 50-run table: counts and scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dvae.errors import ResultError
from dvae.results import conditions
from dvae.results.conditions import FACTORS, PRIORS, RECIPES
from dvae.results.store import Store, write_result

N = 400


@pytest.fixture
def store(tmp_path):
    """A store with six runs under one condition: latents are factors turned by known angles."""
    generator = np.random.default_rng(0)
    # factors of exactly unit covariance, so that the ceiling is 1 and angles are exact
    theta = generator.standard_normal((N, 2))
    theta = (theta - theta.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(theta.T))).T
    latents = []
    for angle in (0.0, 5.0, 45.0, 30.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        latents.append(theta @ np.array([[c, -s], [s, c]]).T)
    latents += [np.full((N, 2), np.nan), theta]  # both diverged, one froze before it did
    m = len(latents)
    runs = xr.Dataset(
        {
            "latent_mean": (("trial", "sample", "latent"), np.stack(latents)),
            "rate": ("trial", [10.0, 0.1, 10.0, 10.0, np.nan, 0.1]),
            "loss_per_node": ("trial", np.arange(m, dtype=float)),
            "relative_error": ("trial", np.full(m, 0.01)),
            "seconds": ("trial", np.full(m, 2.0)),
            "diverged": ("trial", [0, 0, 0, 0, 1, 1]),
        },
        coords={
            "factors": ("trial", ["four-modes"] * m),
            "prior": ("trial", ["standard"] * m),
            "recipe": ("trial", ["annealed"] * m),
            "seed": ("trial", np.arange(m)),
        },
        attrs={"profile": "laptop"},
    )
    base = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), np.stack([theta, 2 * theta]))},
        coords={
            "factors": ("trial", ["four-modes"] * 2),
            "data_seed": ("trial", [0, 1]),
        },
    )
    store = Store(tmp_path)
    for name, data in (("disentanglement", runs), ("baselines", base)):
        store.path(name, "laptop").parent.mkdir(parents=True)
        write_result(data, store.path(name, "laptop"))
    return store


def test_scores_and_flags_are_those_of_the_known_rotations(store):
    runs = conditions.load_runs("laptop", store)
    angle = np.radians([0.0, 5.0, 45.0, 30.0])
    expected = np.cos(angle) / (np.cos(angle) + np.sin(angle))
    np.testing.assert_allclose(runs["s_d"][:4], expected, atol=1e-6)
    np.testing.assert_allclose(runs["angle"].abs()[:4], [0, 5, 45, 30], atol=1e-4)
    assert runs["ceiling"].unique() == pytest.approx([1.0])
    assert runs["disentangled"].tolist() == [True, True, False, False, False, False]
    assert runs["over_regularised"].tolist() == [False, True, False, False, False, False]
    assert runs["s_d"].isna().tolist() == runs["diverged"].tolist() == [False] * 4 + [True] * 2


def test_the_table_counts_and_keeps_conditions_without_runs(store):
    table = conditions.condition_table(conditions.load_runs("laptop", store))
    assert len(table) == len(FACTORS) * len(PRIORS) * len(RECIPES)
    assert (table["runs"] > 0).sum() == 1
    row = table.loc[("four-modes", "annealed", "standard")]
    assert (row["runs"], row["disentangled"], row["over_regularised"]) == (6, 2, 1)
    assert (row["diverged"], row["failed"], row["near_diagonal"]) == (2, 2, 1)
    assert row["seconds"] == 12
    # Wilson's interval of 2 in 6, from the closed form
    z, n, p = 1.959964, 6, 2 / 6
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (np.array([centre - half, centre + half])) / (1 + z**2 / n)
    assert row["disentangled_low"] == pytest.approx(low, abs=1e-6)
    assert row["disentangled_high"] == pytest.approx(high, abs=1e-6)


def test_count_of_nothing_has_no_share():
    counted = conditions.share_with_interval(pd.Series([], dtype=bool))
    assert counted["runs"] == 0
    assert np.isnan(counted["share"])


def test_runs_without_stored_factors_are_refused(store):
    store.path("baselines", "laptop").unlink()
    with pytest.raises(ResultError, match="baselines"):
        conditions.load_runs("laptop", store)


def table_of(counts):
    """A table of cells with 10 runs each, of which so many are disentangled (None: not run)."""
    rows = {
        ("four-modes", "annealed", prior): {"runs": 0 if n is None else 10, "disentangled": n or 0}
        for prior, n in zip(PRIORS, counts, strict=True)
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["factors", "recipe", "prior"])


def test_priors_are_compared_within_a_cell_and_corrected_for_each_other():
    found = conditions.compare_priors(table_of([0, 5, 10])).droplevel(["factors", "recipe"])
    assert len(found) == 3
    # 0 of 10 against 10 of 10: 2 tables of C(20, 10); against 5 of 10 (a total of 5 that all fall
    # to one of the two): 2 C(10, 5) / C(20, 5)
    extreme = found.loc[("hierarchical-rectified", "standard")]
    assert extreme["difference"] == 1
    assert extreme["p_value"] == pytest.approx(2 / 184756)
    assert extreme["p_holm"] == pytest.approx(3 * 2 / 184756)
    half = found.loc[("hierarchical", "standard")]
    assert half["difference"] == pytest.approx(0.5)
    assert half["p_value"] == pytest.approx(2 * 252 / 15504)
    assert half["p_holm"] == pytest.approx(2 * half["p_value"])


def test_comparisons_with_a_cell_that_has_not_run_are_empty_and_cost_nothing():
    found = conditions.compare_priors(table_of([0, None, 10])).droplevel(["factors", "recipe"])
    assert found["p_value"].notna().sum() == 1
    done = found.loc[("hierarchical-rectified", "standard")]
    assert done["p_holm"] == done["p_value"]
    assert conditions.compare_priors(table_of([None, None, None]))["p_holm"].isna().all()


def test_angles_of_a_cell(store):
    found = conditions.angle_table(conditions.load_runs("laptop", store))
    row = found.loc[("four-modes", "annealed", "standard")]
    # 0, 45 and 30 degrees; the run turned by 5 is over-regularised
    assert (row["runs"], row["near_diagonal"]) == (3, 1)
    # mean of exp(4 i angle): (1 - 1 + exp(i 120)) / 3
    assert row["concentration"] == pytest.approx(1 / 3, abs=1e-6)
    assert row["center"] == pytest.approx(30, abs=1e-3)


def test_no_angles_give_an_empty_table(store):
    runs = conditions.load_runs("laptop", store).assign(over_regularised=True)
    found = conditions.angle_table(runs)
    assert len(found) == 0
    assert found.index.names == ["factors", "recipe", "prior"]
    assert "p_holm" in found


def runs_at(angles):
    """Runs with given angles: prior -> one angle for every seed."""
    rows = [
        {
            "factors": "four-modes",
            "recipe": "annealed",
            "prior": prior,
            "seed": seed,
            "angle": angle,
        }
        for prior, values in angles.items()
        for seed, angle in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(over_regularised=False)


def test_angles_of_over_regularised_and_diverged_runs_do_not_count():
    runs = runs_at({"standard": [-20.0, np.nan, 5.0]})
    runs.loc[2, "over_regularised"] = True
    kept = conditions.angles_kept(runs)
    assert kept["distance"].tolist() == [20]


def test_angles_of_two_priors_that_do_not_overlap_differ():
    spread = np.linspace(0, 9, 10)
    angles = {"standard": spread, "hierarchical": -spread, "hierarchical-rectified": 20 + spread}
    found = conditions.compare_angles(runs_at(angles)).droplevel(["factors", "recipe"])
    # equal distances; and of the C(20, 10) orders of ten and ten, two keep them apart
    assert found["hierarchical"] == pytest.approx(1)
    assert found["hierarchical-rectified"] == pytest.approx(2 * 2 / 184756)


def test_angles_are_compared_with_the_standard_prior_only():
    assert conditions.compare_angles(runs_at({"hierarchical": [1.0, 2.0]})).empty


def test_crowding_counts_seeds_and_not_runs():
    once = runs_at({"standard": [10.0, 20.0]})
    often = pd.concat([once] * 5)
    # two seeds: their samples are (10, 10), (10, 20), (20, 10), (20, 20)
    assert conditions.crowding(once) == pytest.approx((15, 10, 20))
    assert conditions.crowding(often) == pytest.approx((15, 10, 20))
    assert conditions.crowding(runs_at({"standard": [-2.0, 88.0]})) == pytest.approx((88, 88, 88))


def test_trend_of_a_shape_score_that_falls():
    s_d = np.linspace(0.5, 0.9, 9)
    result = xr.Dataset(
        {
            "disentanglement": ("trial", np.append(s_d, [0.1, 0.1])),
            "shape": ("trial", np.append(1 - s_d, [np.nan, 0.0])),
            "rate": ("trial", np.append(np.ones(10), 0.1)),
        },
        coords={
            "factors": ("trial", ["four-modes"] * 11),
            "recipe": ("trial", ["annealed"] * 11),
        },
        attrs={"profile": "laptop"},
    )
    shapes = conditions.shape_runs(result)  # without the diverged and the over-regularised run
    assert shapes.attrs["profile"] == "laptop"
    row = conditions.shape_trends(shapes).loc[("four-modes", "annealed")]
    assert row["runs"] == 9
    assert (row["entangled"], row["disentangled"]) == pytest.approx((0.45, 0.15))
    assert row["tau"] == pytest.approx(-1)
    assert row["p_holm"] == pytest.approx(2 / 362880)  # two of 9! orders
