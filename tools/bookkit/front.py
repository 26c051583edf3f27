"""What the first page answers: sentences and a figure whose numbers come from stored results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from dvae.analysis import chance_of_disentangled, share_text
from dvae.claims import VERDICTS, Results
from dvae.claims.frame import select_trials
from dvae.conventions import CODE_WEIGHT, ELBO_WEIGHT, PREFERRED
from dvae.errors import ResultError
from dvae.experiments.annealing import DENSE_ARMS
from dvae.results.axes import against_axes, annealed_runs
from dvae.results.conditions import AS_CODED, factors_by_set, run_table
from dvae.results.labelled import by_labels, disentangled_by_labels

__all__ = ["answer", "draw_verdicts"]

# colour, that of the badges in book.css, and hatch, to tell the verdicts apart without colours
LOOKS = {
    "reproduced": ("#0072B2", ""),
    "partly": ("#56B4E9", "///"),
    "not reproduced": ("#D55E00", "\\\\\\"),
    "undecided": ("#BBBBBB", "..."),
    "illustrated": ("#009E73", "xx"),
    "not yet run": ("#FFFFFF", ""),
}


def answer(results: Results) -> str:
    """Return the answer in sentences; those whose results are missing are left out."""
    sentences: list[Callable[[Results], str]] = [
        _chance,
        _priors,
        _noise,
        _limit,
        _axes,
        _labels,
        _weight,
    ]
    kept = []
    for sentence in sentences:
        try:
            kept.append(f"- {sentence(results)}")
        except ResultError:
            continue
    return "\n".join(kept) + "\n"


def _share(results: Results, factors: str, recipe: str, prior: str = "standard") -> str:
    row = results.condition(factors, recipe, prior)
    return share_text(row["disentangled"], row["runs"])


def _chance(results: Results) -> str:
    theta = factors_by_set(results["baselines"])["standard-normal"]
    chance = 100 * chance_of_disentangled(theta)
    return (
        "**The paper's recipe seldom finds the factors.** Of the small networks (PodVAE) that "
        "stand in for the paper's, trained by it on standard normal factors, "
        f"{_share(results, 'standard-normal', 'published')} are disentangled, where latents that "
        f"are turned at random would give {chance:.0f} %, and the loss shows no trend with it "
        "({ref}`chapter-disentanglement`). So few of the paper's own (DenseVAE), on a coarse grid "
        "with factors of four modes and in an eighth of its steps, cannot tell: "
        f"{_dense_share(results, 'published', 'four-modes')}."
    )


def _dense_share(results: Results, recipe: str, factors: str) -> str:
    runs = run_table(results["dense_runs"], factors_by_set(results["baselines"]))
    chosen = "recipe == @recipe and factors == @factors and prior == 'standard' and not diverged"
    own = runs.query(chosen)
    return share_text(int(own["disentangled"].sum()), len(own))


def _priors(results: Results) -> str:
    network = results.deciding_network("four-modes")
    counts = [
        share_text(row["disentangled"], row["runs"])
        for prior in ("standard", AS_CODED)
        for row in [network.table.loc[("four-modes", network.recipe, prior)]]
    ]
    return (
        "**A hierarchical prior is not seen to find more.** Four modes, "
        f"{network.name}, recipe `{network.recipe}`: {counts[0]} are disentangled without it and "
        f"{counts[1]} with the prior as the authors coded it ({{ref}}`chapter-runs`). It may help "
        "PodVAE on data in which both factors act with nearly the same strength "
        "({ref}`section-draws`)."
    )


def _noise(results: Results) -> str:
    start, length, learning_rate, _ = DENSE_ARMS[0]
    runs = select_trials(results["dense_schedules"], start=start, length=length)
    rates = [json.loads(text)["recipe"]["learning_rate"] for text in runs["settings"].values]
    runs = runs.isel(trial=np.flatnonzero(np.array(rates) == learning_rate))
    below = {
        factors: share_text(int(own["disentangled"].sum()), own.sizes["trial"])
        for factors, own in runs.groupby("factors")
    }
    sets = ("standard-normal", "four-modes")
    tried = " and ".join(_dense_share(results, "annealed-dense", factors) for factors in sets)
    return (
        "**Lowering the noise slowly does.** If the decoder's noise falls slowly while the rate "
        "has its full weight, PodVAEs find the axes without labels and without a learned prior: "
        f"{_share(results, 'standard-normal', 'annealed')} of standard normal factors, "
        f"{_share(results, 'four-modes', 'annealed')} of four modes. DenseVAE on standardised "
        f"fields finds them in {below['standard-normal']} and {below['four-modes']}, if the noise "
        "starts at a quarter of what its second latent can bear; a shorter recipe that was found "
        f"by trying has {tried} ({{ref}}`chapter-beyond`)."
    )


def _limit(results: Results) -> str:
    def count(wells: str, angle: float) -> str:
        chosen = {"factors": "standard-normal", "prior": "standard"}
        runs = select_trials(results["data_draws"], **chosen, wells=wells, pair_angle=angle)
        if not runs.sizes["trial"]:
            raise ResultError(f"no runs with {wells} wells and an angle of {angle} are stored")
        table = pd.Series(runs["disentangled"].values, runs["data_seed"].values)
        counts = table.groupby(level=0).agg(["sum", "size"]).astype(int)
        return (
            f"{counts['sum'].min()} to {counts['sum'].max()} of {counts['size'].max()} runs on "
            f"each of {len(counts)} draws of the data"
        )

    return (
        "**It needs what this problem happens to have**: wells that mirror each other, and two "
        "factors that act with different strength on the fields. Of PodVAEs trained in this way "
        f"{count('asymmetric', 0.0)} are disentangled if the wells do not mirror each other, "
        f"{count('mirrored', 22.5)} if both factors act with nearly the same strength "
        "({ref}`section-draws`), and, of factors that are shifted and scaled, "
        f"{_share(results, 'shifted-normal', 'annealed')} ({{ref}}`chapter-runs`)."
    )


def _axes(results: Results) -> str:
    factors = factors_by_set(results["baselines"])
    runs = run_table(results["disentanglement"], factors)
    table = against_axes(results["principal_axes"], annealed_runs(results["data_draws"], runs))
    clear = table[table["preferred"]]
    off = clear["median"].abs()
    turned = off[clear["predicted"].abs() > 5]
    return (
        "**The angle can be predicted without training.** A latent of PodVAE, trained in this way, "
        "turns to a principal "
        f"direction of the fields, whether that is a factor or not: on {len(clear)} of "
        f"{len(table)} data sets, those whose loss prefers an angle by {PREFERRED} nats or more "
        "(a border that was set when some of them had been seen), the median run ends "
        f"{off.median():.1f} degrees from the prediction (at most {off.max():.0f}); on the "
        f"{len(turned)} of them where the prediction is not near the factors, "
        f"{turned.median():.1f} ({{ref}}`chapter-beyond`)."
    )


def _labels(results: Results) -> str:
    theta = factors_by_set(results["baselines"])["standard-normal"]

    def counts(name: str, recipe: str) -> list[str]:
        table = by_labels(results[name], recipe)
        found, percent = disentangled_by_labels(table, theta), 100 * table["ratio"].values
        nearest = [int(np.abs(percent - wanted).argmin()) for wanted in (0, 1, 3)]
        return [share_text(found[i].sum(), found.sizes["run"]) for i in nearest]

    pod, dense = counts("labels", "calibrated"), counts("dense_labels", "one-cycle")
    return (
        "**A few labels disentangle.** With the factors of about three samples in a hundred "
        f"{dense[2]} runs of the paper's network are disentangled, with those of one in a hundred "
        f"{dense[1]}, and without any {dense[0]}; of PodVAE {pod[2]}, {pod[1]} and {pod[0]} "
        "({ref}`chapter-labels`)."
    )


def _weight(results: Results) -> str:
    sweep = results["beta_sweep"]
    pod = sweep.isel(
        trial=np.flatnonzero(
            (sweep["network"].values == "pod") & (sweep["factors"].values == "standard-normal")
        )
    )
    rates = pd.Series(pod["rate"].values, pod["weight"].values).groupby(level=0).median()
    if not {ELBO_WEIGHT, CODE_WEIGHT} <= set(rates.index):
        raise ResultError("the weights of the ELBO and of the code are not stored")
    return (
        "**The loss is not the evidence lower bound (ELBO).** Per sample the paper's code weighs "
        f"the rate by {CODE_WEIGHT:g} without a hierarchical prior; the latents of a PodVAE "
        f"trained so tell {rates[CODE_WEIGHT]:.1f} nats about a field, and "
        f"{rates[ELBO_WEIGHT]:.1f} with the ELBO ({{ref}}`section-weight`)."
    )


def draw_verdicts(table: pd.DataFrame, path: Path) -> str:
    """Draw how many claims have which verdict; return the counts in words, for those who read."""
    from matplotlib.figure import Figure

    counts = {name: int((table["verdict"] == name).sum()) for name in VERDICTS}
    counts = {name: count for name, count in counts.items() if count}
    figure = Figure(figsize=(7.0, 1.15), layout="constrained")
    ax = figure.add_subplot()
    start = 0
    for name, count in counts.items():
        colour, hatch = LOOKS[name]
        ax.barh(0, count, left=start, color=colour, hatch=hatch, edgecolor="white", label=name)
        style = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"}
        ax.text(start + count / 2, 0, str(count), ha="center", va="center", bbox=style)
        start += count
    ax.set(xlim=(0, start), yticks=[], xticks=[])
    ax.spines[:].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(counts), frameon=False)
    figure.savefig(path, metadata={"Date": None})
    return ", ".join(f"{count} {name}" for name, count in counts.items())
