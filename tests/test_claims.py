"""Rules of the claims, on results whose verdict is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dvae import claims
from dvae.claims import CLAIMS, VERDICTS, Results, claims_table, decide, prior_verdict
from dvae.errors import UnknownNameError
from dvae.experiments.common import load_data
from dvae.experiments.supplement import PLAIN, REFERENCE
from dvae.results.store import Store
from dvae.runner import run_experiment

PARTS = {"D": 2, "A": 1, "T": 1, "L": 5, "N": 3, "G": 1, "M": 6, "S": 4, "P": 4}
ROWS = [f"{letter}{n}" for letter, count in PARTS.items() for n in range(1, count + 1)]

SETTINGS = {  # of a small data set
    "factors": "standard-normal",
    "factor_options": {},
    "n_nodes": 9,
    "n_train": 32,
    "n_test": 32,
    "data_seed": 0,
}


def test_every_row_has_a_rule_in_words():
    assert list(CLAIMS) == ROWS
    for claim in CLAIMS.values():
        assert len(claim.rule) > 40, claim.name
        assert claim.chapter.startswith("chapter-")


def test_nothing_stored_decides_nothing_but_the_count(tmp_path):
    table = claims_table(store=Store(tmp_path))
    assert set(table["verdict"].drop("A1")) == {"not yet run"}
    assert table.loc["A1", "verdict"] in ("reproduced", "partly")


def test_a_smoke_result_decides_nothing(tmp_path):
    store = Store(tmp_path)
    run_experiment("directions", "smoke", workers=1, store=store, progress=False)
    row = claims_table(["L2"], store).loc["L2"]
    assert row["verdict"] == "not yet run"
    assert "smoke" in row["ours"]
    assert row["trials"] == 0


def test_table_of_the_stored_results():
    table = claims_table(["D1", "L2", "S1"])
    assert set(table["verdict"]) <= set(VERDICTS)
    assert json.loads(json.dumps(table.reset_index().to_dict("records")))
    text = claims.markdown(table, "A caption.", "table-x")
    assert text.startswith(":::{table} A caption.\n:name: table-x\n")
    assert text.count("\n| ") == 1 + len(table)


def test_unknown_row():
    with pytest.raises(UnknownNameError, match=r"X1.*choose one of D1"):
        decide("X1")


# ----------------------------------------------------------------------------- single rules


def darcy(order: float = 2.0, imbalance: float = 1e-14, sets=(2, 10, 100, 1000)) -> xr.Dataset:
    """Errors of a scheme of a given order on three grids, and fields of some sets."""
    nodes = np.array([17, 33, 65] + [65] * len(sets))
    error = np.where(np.arange(len(nodes)) < 3, (nodes - 1.0) ** -order, np.nan)
    kind = ["manufactured"] * 3 + ["fields"] * len(sets)
    balance = np.full((len(nodes), 4), np.nan)
    balance[3:] = imbalance
    return xr.Dataset(
        {
            "pressure_error": ("trial", error),
            "velocity_error": ("trial", error),
            "imbalance": (("trial", "sample"), balance),
            "mean_pressure": (("trial", "sample"), balance),
        },
        {
            "kind": ("trial", kind),
            "n_nodes": ("trial", nodes),
            "n_modes": ("trial", [0, 0, 0, *sets]),
        },
    )


@pytest.mark.parametrize(
    ("values", "d1", "d2"),
    [
        ({}, "reproduced", "reproduced"),
        ({"order": 1.0}, "reproduced", "partly"),
        ({"imbalance": 1e-6}, "partly", "partly"),
        ({"imbalance": 1e-12}, "reproduced", "reproduced"),  # of the order of the tolerance
        ({"imbalance": 1e-9}, "partly", "partly"),
        ({"order": 1.0, "imbalance": 1e-6}, "partly", "not reproduced"),
        ({"sets": (2, 10)}, "partly", "reproduced"),
    ],
)
def test_order_and_conservation(values, d1, d2):
    results = {"darcy": darcy(**values)}
    assert decide("D1", results).verdict == d1
    assert decide("D2", results).verdict == d2


def test_order_is_stated():
    assert "pressure: order 1.50 to 1.50" in decide("D2", {"darcy": darcy(order=1.5)}).ours


def lines(alpha: float, rate: float) -> xr.Dataset:
    """Ten lines with one minimum each."""
    names = {"case": "main", "statistics": "stored", "variance": "stored"}
    return xr.Dataset(
        {
            "minimum_alpha": (("trial", "minimum"), np.full((10, 1), alpha)),
            "minimum_rate": (("trial", "minimum"), np.full((10, 1), rate)),
        },
        {name: ("trial", [value] * 10) for name, value in names.items()},
    )


@pytest.mark.parametrize(
    ("alpha", "rate", "verdict"),
    [(0.5, 0.1, "reproduced"), (0.5, 3.0, "partly"), (1.0, 0.1, "not reproduced")],
)
def test_lines_need_an_over_regularised_minimum_inside(alpha, rate, verdict):
    assert decide("L1", {"lines": lines(alpha, rate)}).verdict == verdict


@pytest.mark.parametrize(
    ("count", "loss", "verdict"),
    [
        (0, 5.0, "reproduced"),
        (50, 5000.0, "reproduced"),
        (5, 5.0, "partly"),
        (20, 5.0, "not reproduced"),
    ],
)
def test_random_directions_below_the_cut(count, loss, verdict):
    least = np.full((100, 1), np.nan)
    least[:count] = loss
    data = xr.Dataset(
        {
            "minimum_loss": (("trial", "minimum"), least),
            "loss_per_node": (("trial", "point"), np.geomspace(1, 1e6, 7) * np.ones((100, 1))),
        },
        {"normalisation": ("trial", ["norm"] * 100)},
    )
    assert decide("L2", {"directions": data}).verdict == verdict


def paths(passing: dict[str, int], ending: dict[str, int]) -> xr.Dataset:
    """Fifty runs of every arm; the first of them pass through zero rate, or end there."""
    arms = ("phase 1", "phase 0.25", "constant beta")
    rate = np.full((3, 50, 100), 5.0)
    rate[1:, :, 20:] = 4.0  # apart after a fifth
    final = np.full((3, 50), 5.0)
    for i, arm in enumerate(arms):
        rate[i, : passing.get(arm, 0), 50] = 0.0
        final[i, : ending.get(arm, 0)] = 0.0
    step = np.tile(np.arange(100.0), (150, 1))
    return xr.Dataset(
        {
            "history_rate": (("trial", "entry"), rate.reshape(150, 100)),
            "history_distortion": (("trial", "entry"), np.ones((150, 100))),
            "history_step": (("trial", "entry"), step),
            "rate": ("trial", final.ravel()),
        },
        {"arm": ("trial", np.repeat(arms, 50))},
    )


@pytest.mark.parametrize(
    ("passing", "ending", "shared", "avoided"),
    [
        ({}, {}, "not reproduced", "not reproduced"),
        ({"phase 0.25": 50}, {}, "partly", "not reproduced"),
        ({"phase 0.25": 20}, {}, "not reproduced", "not reproduced"),
        ({"phase 0.25": 50}, {"phase 0.25": 50}, "reproduced", "not reproduced"),
        ({}, {"phase 0.25": 50, "phase 1": 50}, "not reproduced", "not reproduced"),
        ({"constant beta": 50}, {}, "not reproduced", "partly"),
        ({"constant beta": 50}, {"constant beta": 9}, "not reproduced", "reproduced"),
        ({"constant beta": 5}, {"constant beta": 5}, "not reproduced", "reproduced"),
        ({"constant beta": 4}, {"constant beta": 4}, "not reproduced", "not reproduced"),
    ],
)
def test_paths(passing, ending, shared, avoided):
    results = {"paths": paths(passing, ending)}
    assert decide("L3", results).verdict == shared
    assert decide("P3", results).verdict == avoided
    assert "the first 20 %" in decide("L3", results).ours


def condition(
    disentangled: int = 0, over_regularised: int = 0, near_diagonal: int = 0
) -> dict[str, float]:
    failed = 50 - disentangled - over_regularised
    return {
        "runs": 50,
        "disentangled": disentangled,
        "over_regularised": over_regularised,
        "failed": failed,
        "near_diagonal": near_diagonal,
    }


def verdict(name: str, standard: dict, learned: dict) -> str:
    """Verdict on a row from two conditions."""
    factors = "shifted-normal" if name == "G1" else "four-modes"
    rows = {
        (factors, "published", "standard"): standard,
        (factors, "published", "hierarchical"): learned,
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return prior_verdict(name, table, "published", "hierarchical")


@pytest.mark.parametrize(
    ("name", "standard", "learned", "expected"),
    [
        ("G1", condition(0), condition(25), "reproduced"),
        ("G1", condition(25), condition(50), "partly"),
        ("G1", condition(0), condition(3), "partly"),
        ("G1", condition(3), condition(3), "not reproduced"),
        ("G1", condition(25), condition(25), "not reproduced"),
        ("M1", condition(over_regularised=5), condition(), "reproduced"),
        ("M1", condition(over_regularised=5), condition(over_regularised=1), "partly"),
        ("M1", condition(), condition(), "not reproduced"),
        ("M1", condition(over_regularised=40), condition(over_regularised=40), "not reproduced"),
        ("M2", condition(0), condition(25), "reproduced"),
        ("M2", condition(0), condition(2), "partly"),
        ("M2", condition(3), condition(2), "not reproduced"),
        ("M2", condition(45), condition(48), "not reproduced"),
        ("M3", condition(), condition(25, near_diagonal=25), "reproduced"),
        ("M3", condition(), condition(0, near_diagonal=30), "partly"),
        ("M3", condition(), condition(0, near_diagonal=13), "not reproduced"),
        ("M3", condition(), condition(50), "not reproduced"),
        ("M2", condition(0), condition(25) | {"runs": 0}, "not yet run"),
    ],
)
def test_fifty_runs(name, standard, learned, expected):
    assert verdict(name, standard, learned) == expected


def sizes(distortion_slope: float, rate_slope: float, collapsed: int) -> xr.Dataset:
    size = np.repeat([32, 64, 128, 256, 512], 4)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, len(size)))
    rate = 10 + rate_slope * np.log(size) + noise[1]
    rate[:collapsed] = 0.0
    return xr.Dataset(
        {
            "distortion": ("trial", distortion_slope * np.log(size) + noise[0]),
            "rate": ("trial", rate),
        },
        {"size": ("trial", size), "recipe": ("trial", ["published"] * len(size))},
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((-1.0, 1.0, 1), "reproduced"),
        ((-1.0, -1.0, 0), "partly"),
        ((1.0, -1.0, 0), "not reproduced"),
        ((0.0, 0.0, 0), "not reproduced"),
    ],
)
def test_training_size(values, verdict):
    assert decide("P1", {"training_size": sizes(*values)}).verdict == verdict


def networks(reference: float, plain: dict[str, float]) -> xr.Dataset:
    """Three runs of the reference and of plain networks under both budgets, errors 1 % apart."""
    rows = [(REFERENCE, "equal steps", reference)]
    rows += [(name, budget, plain[budget]) for name in PLAIN for budget in plain]
    spread = np.array([0.99, 1.0, 1.01])
    return xr.Dataset(
        {"relative_error": ("trial", np.concatenate([error * spread for *_, error in rows]))},
        {
            "architecture": ("trial", np.repeat([name for name, *_ in rows], 3)),
            "budget": ("trial", np.repeat([budget for _, budget, _ in rows], 3)),
            "settings": ("trial", [json.dumps(SETTINGS)] * (3 * len(rows))),
        },
    )


@pytest.mark.parametrize(
    ("plain", "verdict"),
    [
        ({"equal steps": 0.2, "longer": 0.15}, "reproduced"),
        ({"equal steps": 0.2, "longer": 0.05}, "partly"),
        ({"equal steps": 0.1, "longer": 0.1}, "not reproduced"),
        ({"equal steps": 0.05, "longer": 0.01}, "not reproduced"),
    ],
)
def test_architectures(plain, verdict):
    assert decide("P2", {"architecture": networks(0.1, plain)}).verdict == verdict


def test_a_result_of_an_older_version_decides_nothing():
    data = networks(0.1, {"equal steps": 0.2}).drop_vars("budget")
    found = decide("P2", {"architecture": data.assign_attrs(experiment="architecture")})
    assert found.verdict == "not yet run"
    assert "'architecture' has no budget" in found.ours


def correlated(angle: tuple[float, float], shape: tuple[float, float]) -> xr.Dataset:
    """Runs without labels and with, at three correlations."""
    level, labels = (a.ravel() for a in np.meshgrid([0.0, 0.3, 0.6], [0, 0, 15, 15]))
    few = (labels > 0).astype(int)
    return xr.Dataset(
        {
            "angle": ("trial", np.array(angle)[few]),
            "shape_score": ("trial", np.array(shape)[few]),
        },
        {
            "correlation": ("trial", level),
            "n_labels": ("trial", labels),
            "recipe": ("trial", ["annealed"] * len(level)),
        },
    )


@pytest.mark.parametrize(
    ("angle", "shape", "verdict"),
    [
        ((-40.0, 1.0), (0.2, -0.1), "reproduced"),
        ((-40.0, 1.0), (-0.1, -0.1), "partly"),
        ((1.0, -1.0), (-0.1, -0.1), "not reproduced"),
    ],
)
def test_correlated_factors(angle, shape, verdict):
    assert decide("P4", {"correlated_factors": correlated(angle, shape)}).verdict == verdict


def label_runs(few: float, many_spread: float, slope: float, jump: float) -> xr.Dataset:
    """Ten runs for every number of labels; one per cent of labels gives a score of ``few``.

    The loss rises by ``slope`` for every label, and by ``jump`` for the first.
    """
    counts, runs = np.array([0, 5, 15, 41]), 10
    n_labels, run = (a.ravel() for a in np.meshgrid(counts, np.arange(runs), indexing="ij"))
    rng = np.random.default_rng(0)
    score = np.where(n_labels == 0, 0.6, np.where(n_labels == 5, few, 0.99))
    base = rng.standard_normal((32, 2))
    latent = base + many_spread * rng.standard_normal((len(run), 1, 2))
    loss = slope * n_labels + jump * (n_labels > 0) + 0.01 * rng.standard_normal(len(run))
    settings = json.dumps({"n_train": 512})
    return xr.Dataset(
        {
            "disentanglement": ("trial", score),
            "latent_mean": (("trial", "sample", "latent"), latent),
            "loss_per_node_train": ("trial", loss),
            "rate_train": ("trial", 0.01 * rng.standard_normal(len(run))),
        },
        {
            "n_labels": ("trial", n_labels),
            "run": ("trial", run),
            "seed": ("trial", run),
            "recipe": ("trial", ["calibrated"] * len(run)),
            "settings": ("trial", [settings] * len(run)),
        },
    )


@pytest.mark.parametrize(
    ("values", "s1", "s2"),
    [
        ((0.97, 0.0, 0.0, 0.0), "reproduced", "reproduced"),
        ((0.7, 0.0, 0.0, 1.0), "partly", "partly"),
        ((0.7, 1.0, 1.0, 0.0), "not reproduced", "not reproduced"),
    ],
)
def test_labels(values, s1, s2):
    results = {"labels": label_runs(*values)}
    assert decide("S1", results).verdict == s1
    assert decide("S2", results).verdict == s2


def seed_pairs(best: float, other: float, wall: tuple[float, float]) -> dict[str, xr.Dataset]:
    """Pairs of equal losses with a wall between them, as trained and matched."""
    theta = np.random.default_rng(0).standard_normal((1, 512, 2))
    curve = np.array([-12.0, 0.0, -12.0])[None, None] + np.zeros((4, 2, 3))
    curve[:, :, 1] = np.array(wall) - 12.0
    score = np.broadcast_to([best, 0.6, other], (4, 2, 3))
    pairs = xr.Dataset(
        {
            "loss_per_node": (("trial", "treatment", "point"), curve),
            "disentanglement": (("trial", "treatment", "point"), score),
        },
        {"first": ("trial", [0, 0, 1, 1]), "second": ("trial", [2, 3, 2, 3])},
    )
    labels = {"factors": ("trial", ["standard-normal"]), "data_seed": ("trial", [0])}
    data = xr.Dataset({"theta_train": (("trial", "sample", "factor"), theta)}, labels)
    return {"seed_pairs": pairs, "baselines": data}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.97, 0.55, (5.0, 5.0)), "reproduced"),
        ((0.97, 0.55, (5.0, 0.0)), "partly"),
        ((0.85, 0.52, (5.0, 5.0)), "partly"),
        ((0.97, 0.55, (0.0, 0.0)), "not reproduced"),
        ((0.97, 0.95, (5.0, 5.0)), "not reproduced"),
    ],
)
def test_two_seeds(values, verdict):
    assert decide("L5", seed_pairs(*values)).verdict == verdict


def objectives(fast: float, slow: float, stopped: int = 0) -> xr.Dataset:
    """Errors of eq. 27 at a large and a small learning rate; eq. 28 has 0.002 and 0.06."""
    rows = [
        ("eq28", 0.0, 2e-3, 0.002, 0.99),
        ("eq28", 0.0, 2e-4, 0.06, 0.94),
        ("eq27", 0.1, 2e-3, fast, 0.6),
        ("eq27", 0.1, 2e-4, slow, 0.6),
    ]
    names = ("objective", "label_variance", "learning_rate", "relative_error", "disentanglement")
    columns = {
        name: ("trial", np.repeat([row[i] for row in rows], 3)) for i, name in enumerate(names)
    }
    diverged = np.zeros(12, int)
    diverged[6 : 6 + stopped] = 1
    return xr.Dataset(columns | {"diverged": ("trial", diverged)})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.1, 0.06), "reproduced"),  # at the small rate both are slow, which says nothing
        ((0.003, 0.06, 3), "reproduced"),
        ((0.003, 0.9), "partly"),
    ],
)
def test_objectives(values, verdict):
    assert decide("S4", {"label_objectives": objectives(*values)}).verdict == verdict


def shape_runs(slopes: dict[str, float]) -> xr.Dataset:
    score = np.linspace(0.5, 0.95, 20)
    parts = [
        xr.Dataset(
            {
                "shape": ("trial", slope * score),
                "disentanglement": ("trial", score),
                "rate": ("trial", np.full(20, 9.0)),
            },
            {"factors": ("trial", ["four-modes"] * 20), "recipe": ("trial", [recipe] * 20)},
        )
        for recipe, slope in slopes.items()
    ]
    return xr.concat(parts, "trial")


def test_shape_falls_with_disentanglement():
    for slopes, expected in (
        ({"published": -1.0, "annealed": -1.0}, "reproduced"),
        ({"published": -1.0, "annealed": 1.0}, "partly"),
        ({"published": 1.0}, "not reproduced"),
    ):
        assert decide("M6", {"shape_score": shape_runs(slopes)}).verdict == expected


def test_no_run_of_the_kind_decides_nothing():
    other = shape_runs({"published": -1.0}).assign_coords(
        factors=("trial", ["shifted-normal"] * 20)
    )
    assert decide("M6", {"shape_score": other}).verdict == "not yet run"


def test_answering_with_the_mean_field_leaves_all_variance():
    runs = xr.Dataset(
        {"relative_error": ("trial", [0.0, 1.0])},
        {"settings": ("trial", [json.dumps(SETTINGS)] * 2)},
    )
    error = claims.mean_field_error(runs)
    training, test = load_data(SETTINGS)
    exact = ((test.fields - training.fields.mean(0)).norm() / test.fields.norm()).item()
    assert error == pytest.approx(exact, rel=1e-5)
    assert claims.variance_left(runs * error) == pytest.approx([0.0, 1.0])


def test_results_are_read_once(monkeypatch, tmp_path):
    calls = []

    def load(store, name):
        calls.append(name)
        return darcy().assign_attrs(profile="laptop", trials=7, commit="abc")

    monkeypatch.setattr(Store, "load", load)
    results = Results(Store(tmp_path))
    assert decide("D1", results).verdict == decide("D2", results).verdict == "reproduced"
    assert results.source(["darcy"])["trials"] == 7
    assert calls == ["darcy"]


def collapsed(full: float, mini: float) -> xr.Dataset:
    """Deviations from theorem 1 with all data in a step, and of the mean with mini-batches."""
    kinds = ["full batch", "mini-batch"]
    names = ("mean_error_scaled", "spread_over_z", "variance_error")
    data = {name: ("trial", [full, 0.2]) for name in names}
    return xr.Dataset(data | {"mean_error": ("trial", [0.0, mini])}, {"kind": ("trial", kinds)})


@pytest.mark.parametrize(
    ("full", "mini", "verdict"),
    [
        (0.003, 0.5, "reproduced"),
        (-0.5, 0.004, "partly"),
        (0.5, 0.5, "not reproduced"),
    ],
)
def test_theorem_1(full, mini, verdict):
    assert decide("T1", {"over_regularised": collapsed(full, mini)}).verdict == verdict


def sweep(captured: int, minima: int) -> xr.Dataset:
    """Fifty converged models below the limit of 1.5 per node and fifty above it."""
    rate = np.full(100, 5.0)
    rate[:captured] = rate[50:] = 0.0
    inside = np.zeros(100, int)
    inside[:minima], inside[-1] = 1, -1
    beta = np.repeat([0.5, 3.0], 50)
    variables = {"rate": ("trial", rate), "neighbour_minima": ("trial", inside)}
    return xr.Dataset(variables, {"beta": ("trial", beta)})


@pytest.mark.parametrize(
    ("captured", "minima", "verdict"),
    [
        (20, 0, "reproduced"),
        (0, 0, "partly"),
        (20, 9, "partly"),
        (4, 9, "not reproduced"),
    ],
)
def test_captured_weights(captured, minima, verdict):
    assert decide("L4", {"rate_distortion": sweep(captured, minima)}).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.52, 0.98, "reproduced"), (0.52, 0.8, "partly"), (0.8, 0.9, "not reproduced")],
)
def test_range_of_scores(low, high, verdict, tmp_path):
    results = Results(Store(tmp_path))
    row = condition(2) | {"s_d_min": low, "s_d_max": high, "ceiling": 0.99}
    key = ("standard-normal", "published", "standard")
    results.conditions = pd.DataFrame.from_dict({key: row}, orient="index")
    assert decide("N3", results).verdict == verdict


def turned(half: float, rate: np.ndarray) -> xr.Dataset:
    """Four models on the four modes, standard and hierarchical, with a curve over the angle."""
    angle = np.arange(-90.0, 90.1, 7.5)
    theta = np.random.default_rng(0).standard_normal((4, 256, 2))
    score = np.where(np.abs(angle) == 45, half, 0.97) * np.ones((4, 1))
    priors = ["standard", "standard", "hierarchical", "hierarchical-rectified"]
    return xr.Dataset(
        {
            "curve_disentanglement": (("trial", "turn"), score),
            "curve_rate": (("trial", "turn"), rate * np.ones((4, 1))),
            "curve_rate_error": (("trial", "turn"), np.full((4, len(angle)), 1e-3)),
            "curve_rate_standard": (("trial", "turn"), np.full((4, len(angle)), 9.0)),
            "theta": (("trial", "sample", "factor"), theta),
        },
        {"turn": angle, "prior": ("trial", priors), "factors": ("trial", ["four-modes"] * 4)},
    )


ANGLE = np.radians(np.arange(-90.0, 90.1, 7.5))


@pytest.mark.parametrize(
    ("half", "rate", "m4", "m5"),
    [
        (0.52, -np.cos(8 * ANGLE), "reproduced", "reproduced"),  # minima at multiples of 45
        (0.90, 0 * ANGLE, "not reproduced", "partly"),
        (0.52, -np.cos(ANGLE), "reproduced", "partly"),
    ],
)
def test_turned_latents(half, rate, m4, m5):
    results = {"priors": turned(half, rate)}
    assert decide("M4", results).verdict == m4
    assert decide("M5", results).verdict == m5


def dense_runs(left: list[float], turn: float = 0.0, factor: float = 1.0) -> xr.Dataset:
    """DenseVAEs that leave some of the variance, on latents turned by an angle and rescaled."""
    m, rng = len(left), np.random.default_rng(0)
    theta = rng.standard_normal((2, 512, 2))
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    z = factor * np.sqrt(0.99) * theta @ matrix
    samples = ("trial", "sample", "latent")
    data = {
        "theta": (("trial", "sample", "factor"), np.tile(theta[0], (m, 1, 1))),
        "theta_train": (("trial", "sample", "factor"), np.tile(theta[1], (m, 1, 1))),
        "latent_mean": (samples, np.tile(z[0], (m, 1, 1))),
        "latent_mean_train": (samples, np.tile(z[1], (m, 1, 1))),
        "latent_scale": (samples, np.full((m, 512, 2), 0.1)),
        "example": (("trial", "x1", "x2"), np.zeros((m, 9, 9))),
    }
    data |= {name: ("trial", np.ones(m)) for name in ("rate", "distortion", "loss_per_node")}
    coordinates = {"recipe": ["calibrated"] * m, "settings": [json.dumps(SETTINGS)] * m}
    runs = xr.Dataset(data, {name: ("trial", value) for name, value in coordinates.items()})
    error = claims.mean_field_error(runs)
    return runs.assign(relative_error=("trial", error * np.sqrt(left)))


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        (dense_runs([0.001, 0.04]), "reproduced"),
        (dense_runs([0.001, 0.06]), "partly"),
        (dense_runs([0.001], turn=0.5), "reproduced"),  # the prior's shape at any angle
        (dense_runs([0.001], factor=3.0), "partly"),
        (dense_runs([0.5], factor=3.0), "not reproduced"),
    ],
)
def test_reconstruction_and_shape(runs, verdict):
    assert decide("N1", {"dense_vae": runs}).verdict == verdict


class Stored(dict):
    """Results with one cell of the fifty runs."""

    def condition(self, *_):
        return pd.Series(condition(self["disentangled"]))


@pytest.mark.parametrize(
    ("turn", "disentangled", "verdict"),
    [
        (0.0, 0, "reproduced"),
        (np.pi / 2, 0, "reproduced"),
        (np.pi / 4, 3, "partly"),
        (np.pi / 4, 0, "not reproduced"),
    ],
)
def test_a_factor_for_each_latent(turn, disentangled, verdict):
    results = Stored(dense_vae=dense_runs([0.001], turn), disentangled=disentangled)
    assert decide("N2", results).verdict == verdict


def test_a_factor_for_each_latent_needs_training_and_test_data():
    runs = dense_runs([0.001])
    turned = dense_runs([0.001], turn=np.pi / 4)["latent_mean_train"]
    results = Stored(dense_vae=runs.assign(latent_mean_train=turned), disentangled=0)
    assert decide("N2", results).verdict == "not reproduced"


def low_density(shape: float, share: float, error: float) -> xr.Dataset:
    """Ten runs without labels and ten with six, which change three quantities by factors."""
    # the same spread with and without labels, so that nothing differs by chance
    spread = np.tile(1 + 0.05 * np.random.default_rng(0).standard_normal((3, 10)), 2)
    labelled = np.repeat([0, 6], 10)
    change = [np.where(labelled, factor, 1.0) for factor in (shape, share, error)]
    probe = np.tile((spread[2] * change[2])[:, None], (1, 441))
    names = ("probe_error", "surrogate_error", "probe_factor_error")
    return xr.Dataset(
        {
            "shape_score": ("trial", spread[0] * change[0]),
            "between_share": ("trial", 0.03 * spread[1] * change[1]),
            **dict.fromkeys(names, (("trial", "probe"), probe)),
        },
        {
            "n_labels": ("trial", labelled),
            "prior": ("trial", ["standard"] * 20),
            "recipe": ("trial", ["calibrated"] * 20),
        },
    )


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ((0.5, 1.5, 0.5), "reproduced"),  # the exact share of the four modes is about 0.09
        ((0.5, 6.0, 0.5), "partly"),  # further from it, on the other side
        ((1.0, 1.0, 0.5), "partly"),
        ((1.0, 1.0, 1.0), "not reproduced"),
        ((2.0, 0.5, 2.0), "not reproduced"),
    ],
)
def test_low_density(factors, verdict):
    assert decide("S3", {"low_density": low_density(*factors)}).verdict == verdict
