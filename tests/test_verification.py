"""What may be said of trials that are computed again: four outcomes, each from what was made so."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import hypergeom

from dvae import cli, experiments
from dvae.claims import CLAIMS, Claim, Finding
from dvae.errors import DataError, ResultError
from dvae.results.store import Store
from dvae.results.trials import Experiment, Group
from dvae.runner import run_experiment
from dvae.verification import ROUNDING, _exceeds_spread, _other_counts, verify_experiment

PROFILE = "laptop"  # claims read no smoke results
LEVELS = {"low": 1.0, "high": 5.0}  # of the conditions; seeds differ by about SPREAD
SPREAD = 0.1


class Drawn:
    """Two conditions of ten seeds; ``draw`` stands for the machine, and others draw otherwise."""

    def __init__(self):
        self.draw, self.calls, self.n_seeds = 0, 0, 10
        self.change = lambda data: data

    def groups(self, _):
        seeds = tuple({"seed": seed} for seed in range(self.n_seeds))
        return [Group({"condition": condition}, seeds) for condition in LEVELS]

    def compute(self, group, **_):
        self.calls += 1
        n, level = len(group.trials), LEVELS[group.shared["condition"]]
        rng = np.random.default_rng([self.draw, int(level)])
        curve = level + SPREAD * rng.standard_normal((n, 50)).astype(np.float32)
        curve[:, 7] = np.nan
        data = xr.Dataset(
            {
                "value": ("trial", level + SPREAD * rng.standard_normal(n)),
                "curve": (("trial", "entry"), curve),
                "good": ("trial", np.arange(n) > 0),
                "text": ("trial", [f"text {i}" for i in range(n)]),
            },
            coords={"condition": ("trial", [group.shared["condition"]] * n)},
        )
        return self.change(data)


@pytest.fixture
def drawn(monkeypatch):
    """What steers the experiment "drawn", which this process alone knows."""
    steering = Drawn()
    one = Experiment("drawn", "Draws", 1, steering.groups, steering.compute)
    monkeypatch.setitem(experiments.EXPERIMENTS, "drawn", one)
    return steering


@pytest.fixture
def claim(monkeypatch):
    """A claim that reads it: the conditions are in order, by a threshold between them."""
    limit = {"value": 3.0}

    def rule(results):
        """Low is below the limit."""
        data = results["drawn"]
        low = data["value"].values[data["condition"].values == "low"]
        good = low.max() < limit["value"]
        return Finding(f"{low.max():.2f}", "reproduced" if good else "not reproduced")

    claim = Claim("X1", "here", "low is low", "1", "chapter", ("drawn",), rule)
    monkeypatch.setitem(CLAIMS, "X1", claim)
    return limit


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def run(store):
    return run_experiment("drawn", PROFILE, workers=1, store=store, progress=False)


def verify(store, **options):
    options = {"fraction": 1.0} | options
    return verify_experiment("drawn", PROFILE, store=store, progress=False, **options)


def outcomes(store):
    return {entry["outcome"] for entry in verify(store)}


def test_groups_are_chosen_and_computed_again(drawn, store):
    with pytest.raises(ResultError, match="dvae run"):
        verify(store)
    run(store)
    drawn.calls = 0
    (entry,) = verify(store, fraction=0.01)
    assert drawn.calls == 1
    assert entry == {
        "trials": 10,
        "outcome": "identical",
        "largest": 0.0,
        "variable": None,
        "reason": "every number is the same",
    }
    for fraction in (0.0, 1.5, float("nan")):
        with pytest.raises(DataError, match="fraction"):
            verify(store, fraction=fraction)


@pytest.mark.parametrize("trained", [True, False])
def test_another_order_of_sums_is_rounding(drawn, store, trained):
    one = experiments.EXPERIMENTS["drawn"]
    experiments.EXPERIMENTS["drawn"] = replace(one, trained=trained)
    run(store)
    drawn.change = lambda d: d.assign(value=d["value"] * (1 + 1e-12), curve=d["curve"] * (1 + 1e-7))
    for entry in verify(store):
        assert entry["outcome"] == "equal within rounding"
        assert 0 < entry["largest"] <= ROUNDING and entry["variable"] == "curve"
    drawn.change = lambda d: d.assign(value=d["value"] * (1 + 2 * ROUNDING))
    expected = {"equal as statistics"} if trained else {"different"}
    assert outcomes(store) == expected


def test_zeros_but_for_rounding_are_equal(drawn, store):
    noise = lambda size: lambda d: d.assign(mean=("trial", size * np.arange(10.0)))  # noqa: E731
    drawn.change = noise(1e-17)
    run(store)
    for size, expected in [(-3e-17, "equal within rounding"), (1e-11, "different")]:
        drawn.change = noise(size)
        assert outcomes(store) == {expected}
    drawn.change = noise(0.0)
    assert outcomes(store) == {"equal within rounding"}


def test_other_draws_are_equal_as_statistics(drawn, store):
    run(store)
    for drawn.draw in range(1, 21):  # each a machine on which training went elsewhere
        for entry in verify(store):
            assert entry["outcome"] == "equal as statistics" and entry["largest"] > ROUNDING
            assert "no larger than between seeds (p = " in entry["reason"]


@pytest.mark.parametrize(
    ("change", "test"),
    [
        (lambda d: d.assign(value=d["value"] + 2 * SPREAD), "of value"),
        (lambda d: d.assign(value=(d["value"] - 5) * 4 + 5), "difference of value"),
        (lambda d: d.assign(curve=d["curve"] + np.float32(SPREAD)), "of mean curve"),
        (lambda d: d.assign(curve=(d["curve"] - 5) * np.float32(6) + 5), "curve"),
    ],
    ids=["shifted", "wider", "a mean", "noise within a trial"],
)
def test_trials_from_another_distribution_are_different(drawn, store, change, test):
    run(store)
    drawn.draw, drawn.change = 1, change
    entry = verify(store)[1]
    assert entry["outcome"] == "different"
    assert "larger than between seeds" in entry["reason"] and test in entry["reason"]


def test_what_seeds_do_not_change_may_not_change(drawn, store):
    constant = lambda d: d.assign(fixed=("trial", np.full(10, 2.0)))  # noqa: E731
    drawn.change = constant
    run(store)
    drawn.change = lambda d: constant(d).assign(fixed=("trial", np.full(10, 2.001)))
    assert outcomes(store) == {"different"}


def test_p_values_of_equal_distributions_keep_their_level():
    """Ten stored trials, some drawn again: at most 5 % of the p-values lie below 5 %."""
    rng, count = np.random.default_rng(0), 4000
    for rows in ([0], list(range(5)), list(range(10))):
        below = {"difference": 0, "shift": 0}
        for _ in range(count):
            stored = rng.standard_normal(10)
            differences = rng.standard_normal(len(rows)) - stored[rows]
            found = _exceeds_spread(stored, differences, np.zeros(10, int), rows)
            for test, p_value in found.items():
                below[test] += p_value < 0.05
        # fewer than 5 %: where stored trials lie far out, their spread is larger too
        for test, number in below.items():
            assert 0.01 < number / count < 0.06, (rows, test, number / count)


def some_missing(share):
    """Numbers that are missing in some trials and not in others, as an angle of a collapsed run."""

    def change(data):
        rng = np.random.default_rng(int(1e6 * float(data["value"][0])))
        gone = rng.random(data.sizes["trial"]) < share
        return data.assign(angle=data["value"].where(~xr.DataArray(gone, dims="trial")))

    return change


def test_numbers_missing_elsewhere_are_judged_by_how_many_seeds_miss(drawn, store):
    drawn.n_seeds, drawn.change = 30, some_missing(0.5)
    run(store)
    with xr.load_dataset(store.path("drawn", PROFILE), engine="h5netcdf") as data:
        before = np.isnan(data["angle"].values)
    elsewhere = 0
    for drawn.draw in range(1, 11):
        assert outcomes(store) == {"equal as statistics"}
        computed = [drawn.compute(group)["angle"].values for group in drawn.groups("")]
        elsewhere += (np.isnan(np.concatenate(computed)) != before).any()
    assert elsewhere == 10
    drawn.change = some_missing(1.0)
    for entry in verify(store):
        assert entry["outcome"] == "different" and entry["largest"] is None
        assert "how many numbers angle has" in entry["reason"]


def test_means_of_other_counts_are_not_compared(drawn, store):
    """In one run the second of two very different numbers is missing: a matter of the counts."""

    def pair(data):
        rng = np.random.default_rng([drawn.draw, 1])
        both = np.array([10.0, 0.1]) + 0.01 * rng.standard_normal((data.sizes["trial"], 2))
        both[: drawn.draw, 1] = np.nan
        return data.assign(minima=(("trial", "minimum"), both))

    drawn.n_seeds, drawn.change = 30, pair
    run(store)
    drawn.draw = 1
    assert outcomes(store) == {"equal as statistics"}
    drawn.draw = 20
    for entry in verify(store):
        assert entry["outcome"] == "different"
        assert "how many numbers minima has" in entry["reason"]


def test_nothing_is_missing_elsewhere_where_nothing_is_trained(drawn, store):
    one = experiments.EXPERIMENTS["drawn"]
    experiments.EXPERIMENTS["drawn"] = replace(one, trained=False)
    drawn.change = some_missing(0.5)
    run(store)
    drawn.change = lambda d: some_missing(0.5)(d).assign(angle=d["value"])
    for entry in verify(store):
        assert entry["outcome"] == "different" and entry["variable"] == "angle"
        assert entry["reason"] == "other numbers of angle are missing, and nothing is trained"


def test_p_value_of_counts_is_that_of_fisher():
    """One number, there or not: the permutation test is Fisher's, whose p-value is a sum."""
    condition, rows = np.zeros(12, int), [0, 1, 2, 3]
    stored = np.array([1] * 9 + [0] * 3)
    for there in range(4):
        new = np.array([1] * there + [0] * (4 - there))
        # two-sided in the distance from the mean of both together, 16 with 9 + there numbers
        total = 9 + there
        chance = hypergeom(16, total, 4)
        counts = np.arange(5)
        far = np.abs(counts - chance.mean()) >= abs(there - chance.mean()) - 1e-9
        exact = chance.pmf(counts)[far].sum()
        found = _other_counts(stored, new, condition, rows)
        assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 99_999) + 1e-4)
    assert _other_counts(stored, np.ones(4, int), condition, rows) is None
    # one that is missing is what a thirteenth draw may have been; all of four are not
    some = np.array([1, 1, 1, 0])
    assert _other_counts(np.ones(12, int), some, condition, rows) == pytest.approx(4 / 16, abs=0.01)
    assert _other_counts(np.ones(12, int), np.zeros(4, int), condition, rows) < 0.001
    # two stored draws say nothing, whatever is computed
    assert _other_counts(np.ones(2, int), np.zeros(2, int), np.zeros(2, int), [0, 1]) is None


def test_rounding_of_what_all_draws_share_is_no_difference():
    """The length of a unit vector: its variance is that of the last digit, or none at all."""
    condition, rows = np.zeros(10, int), list(range(10))
    for lengths in (np.ones(10), 1 + 1e-16 * np.arange(10)):
        assert _exceeds_spread(lengths, np.full(10, 1e-7), condition, rows) == {}
    assert _exceeds_spread(np.ones(10), np.full(10, 1e-5), condition, rows) == {"difference": 0.0}


def test_a_verdict_that_changes_is_a_difference(drawn, store, claim):
    run(store)
    drawn.draw = 1
    low, high = verify(store)
    assert low["outcome"] == high["outcome"] == "equal as statistics"
    assert "verdicts of X1 are kept" in low["reason"]
    with xr.load_dataset(store.path("drawn", PROFILE), engine="h5netcdf") as data:
        before = float(data["value"][:10].max())
    while (value := drawn.compute(drawn.groups("")[0])["value"].values.max()) <= before:
        drawn.draw += 1
    claim["value"] = (before + value) / 2
    low, high = verify(store)
    assert (low["outcome"], high["outcome"]) == ("different", "equal as statistics")
    assert low["reason"] == "verdicts change: X1 from 'reproduced' to 'not reproduced'"


def test_without_other_seeds_only_claims_can_say_that_it_is_equal(drawn, store, request):
    drawn.n_seeds = 1
    run(store)
    drawn.draw = 1
    for entry in verify(store):
        assert entry["outcome"] == "different" and "neither other seeds nor" in entry["reason"]
    request.getfixturevalue("claim")
    for entry in verify(store):
        assert entry["outcome"] == "equal as statistics"
        assert entry["reason"] == "verdicts of X1 are kept"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign(value=d["value"].where(d["value"] < 0)),
        lambda d: d.assign(value=d["value"] + np.inf),
        lambda d: d.assign(curve=d["curve"].fillna(0.0)),
        lambda d: d.isel(entry=slice(5)),
        lambda d: d.assign(good=~d["good"]),
        lambda d: d.assign(text=("trial", list("abcdefghij"))),
        lambda d: d.assign(more=d["value"]),
    ],
    ids=["nan", "inf", "no nan", "shorter", "bool", "text", "new variable"],
)
def test_every_kind_of_difference_is_seen(drawn, store, change):
    run(store)
    drawn.change = change
    assert outcomes(store) == {"different"}


def command(monkeypatch, capsys, store, *options):
    arguments = ["dvae", "verify", "drawn", "--profile", PROFILE, "--fraction", "1", "--quiet"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--store", str(store.root), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "code", "draw", "change"),
    [
        ("identical", 0, 0, lambda d: d),
        ("equal within rounding", 0, 0, lambda d: d.assign(value=d["value"] * (1 + 1e-12))),
        ("equal as statistics", 0, 1, lambda d: d),
        ("different", 1, 0, lambda d: d.assign(value=d["value"] + 1)),
        ("different", 1, 0, lambda d: d.assign(good=d["good"] * np.nan)),
    ],
)
def test_the_command_says_it_and_fails_only_if_different(
    drawn, store, monkeypatch, capsys, outcome, code, draw, change
):
    run(store)
    drawn.draw, drawn.change = draw, change
    found, out = command(monkeypatch, capsys, store)
    assert found == code and out.count(f"10 trials: {outcome} (") == 2
    found, out = command(monkeypatch, capsys, store, "--json")
    report = json.loads(out, parse_constant=pytest.fail)  # no Infinity, which is not JSON
    assert found == code and [entry["outcome"] for entry in report] == [outcome] * 2
