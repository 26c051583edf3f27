"""What a run tells people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dvae.analysis import agreement_by_chance, linear_collapse
from dvae.conventions import OVERFITTED, SIGNIFICANT
from dvae.physics import FieldDataset
from dvae.training import Fit, Recipe, Spectrum
from dvae.training.split import Split

COLUMNS = ("member", "seed", "rate", "distortion", "relative_error", "latents_in_use")
SCORES = ("agreement", "s_d", "s_d_ceiling", "mcc", "s_kl", "mig")
FEW_ERRORS = 0.1  # relative error below which nobody is told what to change
NOTHING = 0.99  # relative error above which a model tells no more than 2 % of the variance
FEWEST_VOTERS = 3  # models of which one can be more typical than another
MOST_TURNED = 20  # models that are turned at random: more lower the limit a little, and take long
NO_FACTORS = "no factors in the file"
NO_WEIGHT = 1e-9  # a beta at which every solution of the linear theory exists


def make_summary(
    fields: FieldDataset,
    result: Fit,
    scores: pd.DataFrame,
    split: Split,
    spectrum: Spectrum,
    notes: list[str],
    source: str,
) -> list[str]:
    """Lines on data, losses and scores, and advice on models that ignore the data."""
    n, channels, n1, n2 = fields.samples.shape
    recipe = result.recipe
    shown = [*COLUMNS, *(c for c in SCORES if c in scores and scores[c].notna().any())]
    lines = [
        f"{source}: {counted(n, 'sample')} of {counted(channels, 'channel')} on {grid_of(n1, n2)}; "
        f"{counted(len(scores), 'model')}, recipe {recipe.name}, {recipe.steps} steps, "
        f"{result.seconds:.1f} s",
        "test data, rate and distortion in nats per sample, error (root mean square) "
        "relative to the spread about the mean field:",
        scores[shown].to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep="-"),
        fields.layout_note,
        fields.orientation_note,
        loss_line(recipe, n1 * n2),
    ]
    if split.labels and split.scaling:
        lines.append(f"{counted(len(split.labels.index), 'labelled sample')} (eq. 28)")
        pairs = zip(split.scaling.scale, split.scaling.shift, strict=True)
        parts = [f"{s:.4g} z{i} {m:+.4g}" for i, (s, m) in enumerate(pairs, 1)]
        lines.append("factors from latents: " + ", ".join(parts))
    lines += notes
    if fields.theta is None:
        lines.append(
            f"{NO_FACTORS}: nothing to score disentanglement against; give them with "
            "--factors, a key or a CSV file"
        )
    if diverged := int(scores["diverged"].sum()):
        lines.append(f"{diverged} of {len(scores)} models diverged (left as they were before)")
    if line := _no_better(scores):
        lines.append(line)
    overfitted = _overfitted(scores)
    n_latents = result.ensemble.template.n_latents
    line = _all_in_use(scores, split.labels is not None, n_latents)
    if line and not overfitted:  # more of them would overfit more
        lines.append(line)
    if line := overfitted:
        lines.append(line)
    if line := _agreement(scores, split.labels is not None):
        lines.append(line)
    dead = scores["over_regularised"] & ~scores["diverged"]
    if dead.any():
        lines += _advice(int(dead.sum()), len(scores), recipe, n1 * n2, spectrum)
    return lines


def _all_in_use(scores: pd.DataFrame, labelled: bool, n_latents: int) -> str:
    """Advice where every model uses all its latents and misses much: they may be too few."""
    error = scores["relative_error"].min()
    every = (scores["latents_in_use"] == n_latents).all()
    if labelled or not every or not FEW_ERRORS <= error < NOTHING:
        return ""
    return (
        f"all latents are in use, and the error is {error:.2g}: more may tell more; compare with "
        f"--latents {n_latents + 1} --output ANOTHER (noise in the fields cannot be reconstructed)"
    )


def _no_better(scores: pd.DataFrame) -> str:
    """A sentence where models use latents and yet reconstruct no better than the mean field."""
    used = scores[~(scores["diverged"] | scores["over_regularised"])]
    error = used["relative_error"].min()
    if not error >= NOTHING:  # nor NaN, of no model
        return ""
    return (
        f"no model explains anything of the test samples: the relative error is {error:.3g} at "
        "best, and 1 is that of the mean field. The fields may be noise, the samples too few, or "
        "the training too short (--steps)"
    )


def _overfitted(scores: pd.DataFrame) -> str:
    """Which models know their training samples better than others, and what to try."""
    test, training = scores["relative_error"], scores["training_error"]
    known = (test > OVERFITTED * training) & (test > FEW_ERRORS) & ~scores["diverged"]
    if not known.any():
        return ""
    first = known.idxmax()
    return (
        f"{known.sum()} of {len(scores)} models overfitted: the relative error is "
        f"{test[first]:.2g} on test and {training[first]:.2g} on training samples (member "
        f"{first}); try more samples, fewer --steps, or in Python a smaller network (hidden of "
        "PodVAE)"
    )


def _agreement(scores: pd.DataFrame, labelled: bool) -> str:
    """How far the models have the same latents, and which one is most like the others."""
    if "agreement" not in scores or (known := scores["agreement"].dropna()).empty:
        return ""
    in_use, middle = int(scores["latents_in_use"].max()), known.median()
    if in_use < 2:  # nothing to turn
        return ""
    chance = agreement_by_chance(in_use, min(len(known), MOST_TURNED))
    limit = float(np.quantile(chance, 1 - SIGNIFICANT))
    line = (
        f"the median model agrees to {middle:.3f} with the others on the latents (1: the same up "
        f"to order, sign and scale; above {limit:.3f}: more than models turned at random)"
    )
    if labelled or len(known) < FEWEST_VOTERS:
        return line
    if middle <= limit:
        return f"{line}; none is typical of the others"
    typical = int(scores["member"][known.idxmax()])
    return (
        f"{line}; most like the others: member {typical}. Where most models find the factors, that "
        "one most likely does too; but models can agree on latents that are not the factors"
    )


def counted(number: int, what: str) -> str:
    """A number of things: "1 model", "3 models"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def grid_of(n1: int, n2: int) -> str:
    """Size of a grid in words; a line has one node along x2."""
    return f"{n1} x {n2} nodes" if n2 > 1 else f"{n1} points"


def loss_line(recipe: Recipe, total_nodes: int) -> str:
    """The loss in words: beta in both conventions, and whose they are."""
    beta = recipe.beta * total_nodes
    if np.isclose(beta, 1.0):
        name = "the ELBO"
    elif np.isclose(recipe.beta, 1.0) or recipe.name.startswith("published"):
        name = "the paper's weight"
    else:
        name = "more weight on the rate than" if beta > 1 else "less weight on the rate than"
        name += " in the ELBO"
    return (
        f"loss: eq. 5 with beta = {beta:.4g} per sample ({name}), {recipe.beta:.3g} per node; "
        f"decoder variance {recipe.variance}"
    )


def _advice(
    dead: int, members: int, recipe: Recipe, total_nodes: int, spectrum: Spectrum
) -> list[str]:
    """Why models ignore the data, by the linear theory, and what to try."""
    beta = recipe.beta * total_nodes
    share = spectrum.leading / spectrum.total
    solutions = linear_collapse(spectrum.variances(), spectrum.n_values, 1, NO_WEIGHT)
    limit = solutions[-1].exists_below
    facts = (
        f"{dead} of {members} models ignore the data (no latent in use; not scored): "
        f"{spectrum.n_values} values of a sample vary, the first principal direction holds "
        f"{100 * share[0]:.3g} % of their variance, and with calibrated noise it carries "
        f"information only for beta below {limit:.3g} per sample, here {beta:.3g}"
    )
    if beta >= limit:
        remedy = f"try --beta 1 (the ELBO), or any beta below {limit:.3g}"
        if limit <= 2:
            remedy = (
                "the data look like noise: no direction stands out; give more samples or smoother "
                f"fields, or try a beta below {limit:.3g}"
            )
    else:
        remedy = "training was too short or unlucky: try more --steps, or several --members"
        if recipe.name != "elbo":
            remedy += ", or --recipe elbo, whose noise is annealed"
    return [facts, f"what to try: {remedy}"]
