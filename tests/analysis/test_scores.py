"""One contract suite over every score, then each score against a value known by other means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import spearmanr
from sklearn.feature_selection import mutual_info_regression
from sklearn.linear_model import LinearRegression

from dvae import analysis
from dvae.analysis.shape import shape_score
from dvae.errors import DataError
from dvae.physics import factor_distribution

ALL = {"shift and scale", "sign", "order"}


def four_modes(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], (n_samples, 2)) + 0.5 * rng.standard_normal((n_samples, 2))


def rotated(z: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return z @ np.array([[c, -s], [s, c]]).T


@dataclass(frozen=True)
class Claim:
    """What a score claims: ranges of its value for each kind of code, and what it ignores."""

    score: Callable[[np.ndarray, np.ndarray], float]
    ideal: tuple[float, float]  # z = theta, 512 samples
    entangled: tuple[float, float]  # rotated by 45 degrees
    useless: tuple[float, float]  # independent of theta
    repeated: tuple[float, float] | None  # both latents twice; None where n = s is needed
    collapsed: float  # both latents constant: exact
    half: tuple[float, float]  # one latent ideal, one constant
    ignores: set[str] = field(default_factory=lambda: ALL)
    tolerance: float = 1e-9  # of the invariances
    small: float = 0.05  # change of the ideal score from 512 to 64 samples


any_share = (0.5, 1.0)  # a ratio of two noises
SCORES = {
    "S_D": Claim(
        analysis.disentanglement_score,
        ideal=(0.93, 1.0),
        entangled=(0.5, 0.54),
        useless=any_share,
        repeated=(0.93, 1.0),
        collapsed=0.5,
        half=(0.7, 0.75),
        small=0.15,  # the sample correlation of the factors, of order 1/sqrt(N)
    ),
    "S_D correlation": Claim(
        lambda z, theta: analysis.disentanglement_score(z, theta, correlation=True),
        ideal=(0.93, 1.0),
        entangled=(0.5, 0.54),
        useless=any_share,
        repeated=(0.93, 1.0),
        collapsed=0.5,
        half=(0.7, 0.75),
        small=0.15,
    ),
    "S_KL": Claim(
        shape_score,
        ideal=(-0.12, 0.0),
        entangled=(0.3, 0.6),
        useless=(0.1, np.inf),  # a standard normal has another shape than four modes
        repeated=None,
        collapsed=np.inf,
        half=(np.inf, np.inf),
        tolerance=0.03,  # of the optimiser
        small=0.3,
    ),
    "MIG": Claim(
        analysis.mutual_information_gap,
        ideal=(0.95, 1.0),
        entangled=(0.0, 0.1),
        useless=(0.0, 0.05),
        repeated=(0.0, 1e-12),
        collapsed=0.0,
        half=(0.48, 0.53),
        ignores={*ALL, "monotone"},
        small=0.1,  # the bias of the second latent's information
    ),
    "DCI disentanglement": Claim(
        lambda z, theta: analysis.dci_scores(z, theta).disentanglement,
        ideal=(0.97, 1.0),
        entangled=(0.0, 0.1),
        useless=(0.0, 0.2),
        repeated=(0.97, 1.0),
        collapsed=0.0,
        half=(0.0, 0.1),  # the one latent serves the regressors of both factors
        tolerance=0.02,
    ),
    "DCI completeness": Claim(
        lambda z, theta: analysis.dci_scores(z, theta).completeness,
        ideal=(0.97, 1.0),
        entangled=(0.0, 0.1),
        useless=(0.0, 0.2),
        repeated=(0.4, 0.7),
        collapsed=0.0,
        half=(1.0, 1.0),
        tolerance=0.02,
    ),
    "DCI informativeness": Claim(
        lambda z, theta: analysis.dci_scores(z, theta).informativeness,
        ideal=(0.98, 1.0),
        entangled=(0.95, 1.0),
        useless=(0.0, 0.05),
        repeated=(0.98, 1.0),
        collapsed=0.0,
        half=(0.48, 0.52),
        ignores={*ALL, "rotation"},
        tolerance=0.02,
    ),
    "SAP": Claim(
        analysis.sap_score,
        ideal=(0.98, 1.0),
        entangled=(0.0, 0.15),
        useless=(0.0, 0.05),
        repeated=(0.0, 1e-12),
        collapsed=0.0,
        half=(0.48, 0.52),
    ),
    "MCC": Claim(
        analysis.mean_correlation_coefficient,
        ideal=(1 - 1e-9, 1.0),
        entangled=(0.69, 0.73),
        useless=(0.0, 0.1),
        repeated=(1 - 1e-9, 1.0),
        collapsed=0.0,
        half=(0.5 - 1e-9, 0.5 + 1e-9),
    ),
    "MCC rank": Claim(
        lambda z, theta: analysis.mean_correlation_coefficient(z, theta, rank=True),
        ideal=(1 - 1e-9, 1.0),
        entangled=(0.6, 0.75),
        useless=(0.0, 0.1),
        repeated=(1 - 1e-9, 1.0),
        collapsed=0.0,
        half=(0.5 - 1e-9, 0.5 + 1e-9),
        ignores={*ALL, "monotone"},
    ),
    "modularity": Claim(
        analysis.modularity_score,
        ideal=(0.98, 1.0),
        entangled=(0.0, 0.3),
        useless=(0.0, 1.0),  # a ratio of two noises
        repeated=(0.98, 1.0),
        collapsed=0.0,
        half=(0.49, 0.5),
        ignores={*ALL, "monotone"},
    ),
    "explicitness": Claim(
        analysis.explicitness_score,
        ideal=(0.97, 1.0),
        entangled=(0.97, 1.0),
        useless=(-0.15, 0.15),
        repeated=(0.97, 1.0),
        collapsed=0.0,
        half=(0.4, 0.6),
        ignores={*ALL, "rotation"},
        tolerance=0.01,
        small=0.25,  # the penalised classifier learns from 8 samples per bin
    ),
    "FactorVAE": Claim(
        analysis.factor_vae_score,
        ideal=(0.99, 1.0),
        entangled=(0.3, 0.7),
        useless=(0.3, 0.7),
        repeated=(0.99, 1.0),
        collapsed=0.5,
        half=(0.5, 0.5),
    ),
    "beta-VAE": Claim(
        analysis.beta_vae_score,
        ideal=(0.99, 1.0),
        entangled=(0.3, 0.7),
        useless=(0.3, 0.7),
        repeated=(0.99, 1.0),
        collapsed=0.5,
        half=(0.95, 1.0),  # one latent is enough to tell two factors apart
        tolerance=0.01,
    ),
}
each = pytest.mark.parametrize("claim", SCORES.values(), ids=list(SCORES))
THETA = four_modes(512)


def within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1] + 1e-12


@each
def test_ideal_latents_score_high(claim):
    assert within(claim.score(THETA, THETA), claim.ideal)


@each
def test_rotation_by_45_degrees(claim):
    entangled = claim.score(rotated(THETA, 45), THETA)
    assert within(entangled, claim.entangled)
    if "rotation" in claim.ignores:
        assert entangled == pytest.approx(claim.score(THETA, THETA), abs=claim.tolerance)


@each
def test_useless_latents(claim):
    z = np.random.default_rng(9).standard_normal(THETA.shape)
    assert within(claim.score(z, THETA), claim.useless)


@each
def test_repeated_latents(claim):
    z = np.hstack([THETA, THETA])
    if claim.repeated is None:
        with pytest.raises(DataError, match="equal dimension"):
            claim.score(z, THETA)
    else:
        assert within(claim.score(z, THETA), claim.repeated)


@each
def test_collapsed_latents_have_a_defined_value(claim):
    assert claim.score(np.full(THETA.shape, 0.1), THETA) == claim.collapsed
    half = np.column_stack([np.full(len(THETA), -3.7), THETA[:, 1]])
    assert within(claim.score(half, THETA), claim.half)


CHANGES = {
    "shift and scale": lambda z: z * [3.0, 0.02] + [1.0, -7.0],
    "sign": lambda z: z * [-1.0, 1.0],
    "order": lambda z: z[:, ::-1],
    "monotone": lambda z: np.exp(2 * z),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in SCORES for change in CHANGES if change in SCORES[name].ignores],
)
def test_invariances_claimed(name, change):
    claim = SCORES[name]
    z = rotated(THETA, 12) + 0.1 * np.random.default_rng(3).standard_normal(THETA.shape)
    expected = claim.score(z, THETA)
    assert claim.score(CHANGES[change](z), THETA) == pytest.approx(expected, abs=claim.tolerance)


@each
def test_sample_size_changes_little(claim):
    ideal = claim.score(THETA, THETA)
    for seed in (1, 2):
        small = four_modes(64, seed)
        assert claim.score(small, small) == pytest.approx(ideal, abs=claim.small)


@each
def test_tensors_and_arrays_agree_and_inputs_are_not_changed(claim):
    z = torch.tensor(rotated(THETA, 12), requires_grad=True)
    before = z.detach().clone()
    assert claim.score(z, torch.tensor(THETA)) == claim.score(z.detach().numpy(), THETA)
    assert torch.equal(z, before)


@each
@pytest.mark.parametrize(
    ("z", "theta", "message"),
    [
        (THETA[:, 0], THETA, "shape"),
        (THETA[:-1], THETA, "same samples"),
        (np.where(np.arange(512)[:, None] == 7, np.nan, THETA), THETA, "sample 7"),
        (THETA[:1], THETA[:1], "at least"),
        (THETA, np.column_stack([THETA[:, 0], np.ones(512)]), "factor 1"),
        (THETA.astype(str), np.full(THETA.shape, "a"), "real numbers"),
    ],
    ids=["shape", "length", "nan", "few", "constant factor", "text"],
)
@pytest.mark.wrong_types
def test_bad_input_is_refused_with_a_reason(claim, z, theta, message):
    with pytest.raises(DataError, match=message):
        claim.score(z, theta)


def test_all_scores_calls_every_score_once():
    found = analysis.all_scores(rotated(THETA, 10), THETA, seed=4)
    assert found["s_d"] == analysis.disentanglement_score(rotated(THETA, 10), THETA)
    assert found["s_d_ceiling"] == analysis.disentanglement_score(THETA, THETA)
    assert (
        found["dci_completeness"]
        == analysis.dci_scores(rotated(THETA, 10), THETA, seed=4).completeness
    )
    assert found["factor_vae"] == analysis.factor_vae_score(rotated(THETA, 10), THETA, seed=4)
    assert len(found) == 15
    assert all(type(value) is float for value in found.values())
    assert np.isnan(analysis.all_scores(THETA[:, :1], THETA)["s_kl"])


# --- Values known by other means ------------------------------------------------------------

# Two orthogonal factors of unit variance, and z1 = 3 theta1 + theta2, z2 = theta2: covariances
# (3, 1) and (0, 1), correlations (3, 1) / sqrt(10) and (0, 1).
SIGNS = np.tile([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], (16, 1))
MIXED = SIGNS @ np.array([[3.0, 0.0], [1.0, 1.0]])


def test_disentanglement_score_by_hand():
    assert analysis.disentanglement_score(MIXED, SIGNS) == pytest.approx((3 / 4 + 1) / 2)
    assert analysis.disentanglement_score(-5 * MIXED + 2, SIGNS) == pytest.approx(7 / 8)


def test_runs_scored_at_once_have_the_numbers_of_single_runs():
    runs = np.stack([rotated(THETA, angle) for angle in (0, 10, 45)] + [0 * THETA, np.nan * THETA])
    found = analysis.disentanglement_scores(runs, THETA)
    single = [analysis.disentanglement_score(z, THETA) for z in runs[:-1]]
    assert found[:-1].tolist() == single
    assert found[3] == 0.5 and np.isnan(found[4])  # collapsed, diverged


@pytest.mark.parametrize(
    ("shape", "message"), [((512, 2), "runs, samples, latents"), ((3, 9, 2), "same samples")]
)
@pytest.mark.wrong_types
def test_runs_of_another_shape_are_refused(shape, message):
    with pytest.raises(DataError, match=message):
        analysis.disentanglement_scores(np.ones(shape), THETA)


def test_covariances_weigh_factors_by_their_scale_and_correlations_do_not():
    unequal = SIGNS * [1.0, 10.0]  # covariances (3, 10) and (0, 10)
    assert analysis.disentanglement_score(MIXED, unequal) == pytest.approx((10 / 13 + 1) / 2)
    assert analysis.disentanglement_score(MIXED, unequal, correlation=True) == pytest.approx(7 / 8)


def test_ceiling_is_that_of_the_sample_correlation():
    theta = SIGNS @ np.array([[1.0, 0.25], [0.0, 1.0]])  # variances 1 and 17/16, covariance 1/4
    assert analysis.ceiling(theta) == pytest.approx((1 / 1.25 + (17 / 16) / (17 / 16 + 1 / 4)) / 2)
    assert analysis.ceiling(SIGNS) == 1.0


def test_disentanglement_score_needs_only_two_samples_and_any_number_of_factors():
    z, theta = np.array([[0.0], [1.0]]), np.array([[0.0, 0.0], [1.0, 3.0]])
    assert analysis.disentanglement_score(z, theta) == 0.75


def test_latents_follow_rows_not_columns():
    """A transpose in the wrong place would score 2 latents of 3 factors differently."""
    theta = np.random.default_rng(0).standard_normal((4000, 3))
    z = theta[:, [2, 0]]
    assert analysis.disentanglement_score(z, theta) > 0.9
    assert analysis.mean_correlation_coefficient(z, theta) == pytest.approx(2 / 3, abs=0.02)
    assert analysis.mutual_information(z, theta).argmax(1).tolist() == [2, 0]
    assert analysis.dci_scores(z, theta).importance.argmax(1).tolist() == [2, 0]


def test_sap_and_mcc_by_hand():
    assert analysis.sap_score(MIXED, SIGNS) == pytest.approx(((0.9 - 0) + (1 - 0.1)) / 2)
    expected = (np.sqrt(0.9) + 1) / 2
    assert analysis.mean_correlation_coefficient(MIXED, SIGNS) == pytest.approx(expected)


def test_rank_correlation_is_spearmans():
    z = rotated(THETA, 15) ** 3
    matched = [abs(spearmanr(z[:, i], THETA[:, i]).statistic) for i in (0, 1)]
    found = analysis.mean_correlation_coefficient(z, THETA, rank=True)
    assert found == pytest.approx(np.mean(matched))


# z = (theta1, theta1 and theta2) of two fair coins. I(and; coin) = H(1/4) - H(1/2) / 2.
BOTH = np.column_stack([SIGNS[:, 0], SIGNS.min(1)])
I_AND = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) - 0.5 * np.log(2)


def test_binned_information_modularity_and_gap_by_hand():
    information = analysis.mutual_information(BOTH, SIGNS, n_bins=2)
    assert_allclose(information, [[np.log(2), 0], [I_AND, I_AND]], atol=1e-12)
    assert analysis.modularity_score(BOTH, SIGNS, n_bins=2) == pytest.approx((1 + 0) / 2)
    gap = ((np.log(2) - I_AND) + (I_AND - 0)) / 2 / np.log(2)
    assert analysis.mutual_information_gap(BOTH, SIGNS, n_bins=2) == pytest.approx(gap)


@pytest.mark.parametrize(("method", "tolerance"), [("knn", 0.04), ("binned", 0.12)])
def test_information_of_a_gaussian_pair(method, tolerance):
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((4000, 1))
    z = 0.8 * theta + 0.6 * rng.standard_normal((4000, 1))
    expected = -0.5 * np.log(1 - 0.8**2)
    found = analysis.mutual_information(z, theta, method).item()
    assert found == pytest.approx(expected, abs=tolerance)


def test_knn_information_is_zero_for_independent_latents_where_bins_are_biased():
    z = np.random.default_rng(5).standard_normal(THETA.shape)
    assert analysis.mutual_information(z, THETA, "knn").max() < 0.05
    bias = 7**2 / (2 * 512)  # (bins - 1)^2 / 2N
    assert analysis.mutual_information(z, THETA).mean() == pytest.approx(bias, rel=0.35)


def test_dci_of_a_linear_code_by_hand():
    """theta1 = z1 and theta2 = z1 + z2 give importances (1, 0) and (1/2, 1/2)."""
    z = np.random.default_rng(0).standard_normal((4000, 2))
    theta = z @ np.array([[1.0, 1.0], [0.0, 1.0]])
    found = analysis.dci_scores(z, theta, "lasso")
    assert_allclose(found.importance, [[1.0, 0.5], [0.0, 0.5]], atol=0.02)
    first = 1 + (2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))  # of weight 3/4; the other is 1
    assert found.disentanglement == pytest.approx(0.75 * first + 0.25, abs=0.02)
    assert found.completeness == pytest.approx((1 + 0) / 2, abs=0.02)
    assert found.informativeness == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("regressor", ["boosting", "forest", "lasso"])
def test_informativeness_agrees_with_least_squares_on_linear_data(regressor):
    rng = np.random.default_rng(1)
    z = rng.standard_normal((1000, 2))
    theta = z @ np.array([[1.0, 0.3], [0.2, 1.0]]) + 0.5 * rng.standard_normal((1000, 2))
    expected = LinearRegression().fit(z, theta).score(z, theta)
    found = analysis.dci_scores(z, theta, regressor).informativeness
    assert found == pytest.approx(expected, abs=0.08)


def test_single_latent_and_single_factor():
    theta = THETA[:, :1]
    assert analysis.disentanglement_score(theta, theta) == 1
    assert analysis.sap_score(theta, theta) == pytest.approx(1)
    assert analysis.mutual_information_gap(theta, theta) == pytest.approx(1)
    assert analysis.modularity_score(theta, theta) == 1
    assert analysis.dci_scores(theta, theta)[:2] == (1, 1)
    assert analysis.factor_vae_score(theta, theta) == analysis.beta_vae_score(theta, theta) == 1


def test_gaussian_total_correlation_is_the_closed_form():
    z = SIGNS @ np.array([[1.0, 0.75], [0.0, 1.0]])  # correlation 0.75 / sqrt(1 + 0.75^2) = 0.6
    assert analysis.total_correlation(z) == pytest.approx(-0.5 * np.log(1 - 0.6**2))
    assert analysis.total_correlation(np.column_stack([z, np.ones(64)])) == pytest.approx(
        analysis.total_correlation(z)
    )
    assert analysis.total_correlation(np.hstack([z, z])) == np.inf
    assert analysis.total_correlation(np.ones((9, 3))) == 0


def test_knn_total_correlation_of_a_pair_is_scikit_learns_information():
    z = rotated(THETA, 20) * [1.0, 4.0]
    expected = mutual_info_regression(z[:, :1], z[:, 1], n_neighbors=3)[0]
    assert analysis.total_correlation(z, "knn") == pytest.approx(expected, abs=1e-3)


def test_knn_total_correlation_of_three_gaussians():
    covariance = np.array([[1.0, 0.6, 0.3], [0.6, 1.0, 0.5], [0.3, 0.5, 1.0]])
    z = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, 4000)
    expected = -0.5 * np.linalg.slogdet(covariance)[1]
    assert analysis.total_correlation(z, "knn") == pytest.approx(expected, abs=0.04)
    assert analysis.total_correlation(z) == pytest.approx(expected, abs=0.03)


@pytest.mark.wrong_types
def test_total_correlation_refuses_what_it_cannot_score():
    with pytest.raises(DataError, match="method"):
        analysis.total_correlation(THETA, "other")
    with pytest.raises(DataError, match="coincide"):
        analysis.total_correlation(np.repeat(THETA, 9, axis=0), "knn")
    with pytest.raises(DataError, match="n_neighbors"):
        analysis.total_correlation(THETA, "knn", n_neighbors=512)


@pytest.mark.parametrize("score", [analysis.factor_vae_score, analysis.beta_vae_score])
@pytest.mark.parametrize(("samples", "share"), [(200, 0.5), (200, 0.2), (512, 0.2)])
def test_held_factors_of_two_values_are_held(score, samples, share):
    """A bin that held both values would not hold the factor."""
    theta = (np.random.default_rng(0).random((samples, 2)) < share).astype(float)
    assert score(theta, theta) == 1


@pytest.mark.parametrize("score", [analysis.factor_vae_score, analysis.beta_vae_score])
def test_interventions_on_three_factors(score):
    """With two, the latent that varies most would tell the factor as well as the one that least."""
    theta = np.random.default_rng(0).standard_normal((512, 3))
    assert score(theta, theta) > 0.98
    assert score(np.random.default_rng(1).standard_normal((512, 3)), theta) == pytest.approx(
        1 / 3, abs=0.12
    )


@pytest.mark.parametrize("score", [analysis.factor_vae_score, analysis.beta_vae_score])
def test_intervention_scores_depend_on_the_seed_only_through_their_draws(score):
    z = rotated(THETA, 40)
    assert score(z, THETA, seed=1) == score(z, THETA, seed=1)
    assert score(z, THETA, seed=1) != score(z, THETA, seed=2)
    assert score(z, THETA, seed=1) == pytest.approx(score(z, THETA, seed=2), abs=0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: analysis.mutual_information(THETA, THETA, "other"),
        lambda: analysis.mutual_information_gap(THETA, THETA, n_bins=1),
        lambda: analysis.modularity_score(THETA, THETA, n_bins=400),
        lambda: analysis.dci_scores(THETA, THETA, "other"),
        lambda: analysis.explicitness_score(THETA, THETA, n_bins=65),
        lambda: analysis.explicitness_score(THETA, np.isin(THETA, THETA.max(0))),  # one sample
        lambda: analysis.factor_vae_score(THETA, THETA, n_votes=1),
        lambda: analysis.beta_vae_score(THETA, THETA, batch_size=1),
    ],
)
@pytest.mark.wrong_types
def test_options_out_of_range_are_refused(call):
    with pytest.raises(DataError):
        call()


def noisy(theta, seed=0):
    """Latents that follow one factor each, with a little noise."""
    return theta + 0.05 * np.random.default_rng(seed).normal(size=theta.shape)


@pytest.mark.parametrize("levels", [(2, 2), (3, 5), (2, 30)])
def test_discrete_factors_get_every_score_but_that_of_densities(levels):
    rng = np.random.default_rng(1)
    theta = np.stack([rng.integers(0, n, 600) for n in levels], 1).astype(float)
    found = analysis.all_scores(noisy(theta), theta)
    assert list(found.reasons) == ["s_kl"] and "coincide" in found.reasons["s_kl"]
    assert np.isnan(found["s_kl"])
    rest = {name: value for name, value in found.items() if name != "s_kl"}
    assert np.isfinite(list(rest.values())).all()
    for name in ("s_d", "mcc", "dci_disentanglement", "factor_vae", "beta_vae", "modularity"):
        assert rest[name] > 0.9, name
    assert rest["explicitness"] > 0.9  # classes are values, or bins of many values


def test_one_hot_columns_are_one_factor():
    kind = np.random.default_rng(1).integers(0, 3, 300)
    z = noisy(np.c_[kind, np.zeros(300)])
    hot, one = analysis.all_scores(z, np.eye(3)[kind]), analysis.all_scores(z, kind[:, None])
    for name in ("mig", "factor_vae", "beta_vae", "modularity", "explicitness"):
        assert hot[name] == one[name]
    assert {"s_d", "mcc", "sap", "s_kl", "dci_completeness"} <= set(hot.reasons)
    assert all(np.isnan(hot[name]) and "one-hot" in hot.reasons[name] for name in hot.reasons)
    assert hot["mig"] > 0.5


# ----------------------------------------------------------- what "disentangled" means in this book


@pytest.mark.parametrize("degrees", [0.0, 6.0, -6.0, 6.7, 20.0, 45.0, 84.0, 90.0])
def test_disentangled_is_an_angle_whatever_the_draw(degrees):
    edge = np.degrees(np.arctan(1 / 9))  # 6.34 degrees: a map that scores 0.9
    away = abs((degrees + 45) % 90 - 45)
    for seed in range(5):
        theta = four_modes(200, seed)
        theta = (theta - theta.mean(0)) / theta.std(0)  # correlated by chance nevertheless
        latents = np.stack([rotated(theta, degrees), -2 * rotated(theta, degrees)[:, ::-1] + 5])
        assert analysis.are_disentangled(latents, theta).tolist() == [away < edge] * 2


def test_latents_that_follow_no_factor_of_their_own_are_not_disentangled():
    theta = four_modes(512)
    twisted = np.stack([theta[:, 0], theta[:, 0] * theta[:, 1]], 1)
    repeated = np.stack([theta[:, 0], theta[:, 0] + 0.01 * theta[:, 1]], 1)
    assert analysis.disentanglement_score(repeated, theta) > 0.9
    assert not analysis.are_disentangled(np.stack([twisted, repeated]), theta).any()


def test_a_spare_latent_does_not_count_and_noise_does_not_matter():
    theta = four_modes(512)
    noise = np.random.default_rng(5).standard_normal((512, 3))
    spare = np.concatenate([theta, np.zeros((512, 1))], 1)
    noisy = np.concatenate([theta, noise[:, :1]], 1) + 0.3 * noise
    lost = np.full((512, 3), np.nan)
    found = analysis.are_disentangled(np.stack([spare, noisy, lost]), theta)
    assert found.tolist() == [True, True, False]


def test_factors_that_determine_each_other_have_no_map():
    theta = np.random.default_rng(0).standard_normal((64, 1)) * [1.0, 2.0]
    with pytest.raises(DataError, match="determined by the others"):
        analysis.are_disentangled(np.zeros((1, 64, 2)), theta)


@pytest.mark.parametrize("size", [512, 256])
@pytest.mark.parametrize("name", ["standard-normal", "shifted-normal", "four-modes"])
def test_chance_of_disentangled_is_the_same_for_every_set(name, size):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        theta = factor_distribution(name).sample((size,)).numpy()
    expected = np.arctan(1 / 9) / (np.pi / 4)  # 14.1 %
    assert analysis.chance_of_disentangled(theta) == pytest.approx(expected, rel=0.01)


def test_chance_needs_two_factors():
    with pytest.raises(DataError, match="2 factors"):
        analysis.chance_of_disentangled(np.random.default_rng(0).standard_normal((64, 3)))


def test_one_hot_columns_beside_other_factors_are_one_factor_among_them():
    rng = np.random.default_rng(2)
    kind, shade, flag = rng.integers(0, 3, 300), rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    size = rng.standard_normal(300)
    z = noisy(np.c_[size, kind, shade, flag])
    theta = np.c_[size, np.eye(3)[kind], np.eye(2)[shade], flag]
    mixed = analysis.all_scores(z, theta)
    joined = analysis.all_scores(z, np.c_[size, kind, shade, flag])
    for name in ("mig", "factor_vae", "beta_vae", "modularity", "explicitness"):
        assert mixed[name] == joined[name] and mixed[name] > 0.5
    assert not np.isnan(mixed["total_correlation"])
    assert set(mixed.reasons) == {name for name, value in mixed.items() if np.isnan(value)}
    assert {"s_d", "s_d_ceiling", "mcc", "sap", "s_kl", "dci_completeness"} <= set(mixed.reasons)
    for reason in mixed.reasons.values():
        assert reason.startswith("columns 2 to 4 and 5 to 6 are the classes of one factor")
    # binary factors of their own, and columns that lie apart, are no classes
    apart = analysis.all_scores(z, np.c_[np.eye(2)[shade][:, 0], size, np.eye(2)[shade][:, 1]])
    assert not np.isnan(apart["s_d"])
    two = analysis.all_scores(z, np.c_[flag, shade, size, kind])
    assert not two.reasons


def test_a_latent_that_is_constant_but_for_rounding_scores_as_a_constant():
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((200, 2))
    constant = np.stack([theta[:, 0], np.ones(200)], 1)
    rounded = constant.copy()
    rounded[:, 1] += np.finfo(float).eps * rng.integers(0, 3, 200)
    for score in (
        lambda z: analysis.mutual_information(z, theta, method="binned"),
        lambda z: analysis.mutual_information_gap(z, theta),
        lambda z: analysis.mean_correlation_coefficient(z, theta, rank=True),
    ):
        assert_allclose(score(rounded), score(constant), atol=1e-12)


def test_a_value_of_a_factor_that_one_sample_has_spoils_no_score():
    theta = np.random.default_rng(0).integers(0, 3, (200, 2)).astype(float)
    theta[0, 0] = 7.0
    assert analysis.factor_vae_score(theta, theta) == 1


@pytest.mark.wrong_types
@pytest.mark.parametrize("values", [THETA + 1j, torch.tensor(THETA) + 1j, THETA.astype(str)])
def test_what_is_no_real_number_is_refused(values):
    with pytest.raises(DataError, match="real numbers"):
        analysis.disentanglement_score(values, THETA)


@pytest.mark.wrong_types
def test_tensors_of_any_precision_with_or_without_a_graph_are_read():
    z = torch.tensor(THETA, requires_grad=True)
    expected = analysis.disentanglement_score(THETA, THETA)
    assert analysis.disentanglement_scores(z[None], THETA) == [expected]
    assert analysis.disentanglement_score(z.bfloat16(), THETA) == pytest.approx(expected, abs=0.01)
