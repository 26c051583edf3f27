"""Row A1: the size of the network (section 4.2)."""

from __future__ import annotations

from dvae.claims.frame import Finding, Results, grade, rule_of, select_trials
from dvae.conventions import ABOUT
from dvae.results.conditions import AS_CODED

__all__: list[str] = []


@rule_of(
    "A1",
    "sections 4.2 and 5.2",
    "DenseVAE, the network of the paper, has about 800,000 trainable parameters. A hierarchical "
    "prior adds 0.048 % to that number.",
    "800,000; 0.048 %",
    "chapter-training",
    "model_size",
)
def _a1_size(results: Results) -> Finding:
    """The size within a tenth, and an increase that rounds to 0.048 % for one of the two kinds of
    hierarchical prior. (The layers were chosen for the size, so that the first part holds by
    choice; what the authors published has ten times as many parameters.)"""
    counts = select_trials(results["model_size"], network="default")
    size, described, coded = (
        int(select_trials(counts, prior=prior)["parameters"].values[0])
        for prior in ("standard", "hierarchical", AS_CODED)
    )
    added = {"described": 100 * (described - size) / size, "coded": 100 * (coded - size) / size}
    agrees = any(f"{value:.3f}" == "0.048" for value in added.values())
    found = (
        f"DenseVAE has {size:,} parameters here. A hierarchical prior adds "
        f"{added['described']:.3f} % of that number as the paper describes it, and "
        f"{added['coded']:.3f} % as the authors coded it."
    )
    return Finding(found, grade(abs(size / 8e5 - 1) < ABOUT, agrees))
