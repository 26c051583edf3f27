"""Draw the figure of README.md from stored results: book/_static/two_runs.png (`make figure`).

Two trainings of one model on the same fields that differ in the seed alone: the most and the least
disentangled of the runs with the paper's prior on standard normal factors.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from dvae import load_result
from dvae.conventions import OVER_REGULARISED
from dvae.plotting import plot_latents, use_style

TARGET = Path(__file__).resolve().parents[1] / "book" / "_static" / "two_runs.png"
CHOSEN = {"factors": "standard-normal", "prior": "standard", "recipe": "calibrated"}


def main() -> None:
    runs = load_result("disentanglement")
    kept = runs["rate"] >= OVER_REGULARISED
    for name, value in CHOSEN.items():
        kept &= runs[name] == value
    runs = runs.isel(trial=kept.values)
    sets = load_result("baselines")
    same_data = (sets["factors"] == CHOSEN["factors"]) & (sets["data_seed"] == 0)
    theta = sets["theta"].values[same_data.values.argmax()]

    use_style()
    figure = plt.figure(figsize=(9.0, 4.2), layout="constrained")
    score = runs["disentanglement"].values
    for part, trial in zip(figure.subfigures(1, 2), (score.argmin(), score.argmax()), strict=True):
        run = runs.isel(trial=trial)
        loss = float(run["loss_per_node"])
        print(f"seed {int(run['seed'])}: S_D {score[trial]:.3f}, loss per node {loss:.3f}")
        plot_latents(
            run["latent_mean"].values,
            theta,
            score=score[trial],
            title=f"seed {int(run['seed'])}, loss {loss:.2f}",
            figure=part,
        )
    figure.savefig(TARGET, dpi=100, metadata={"Software": None}, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
