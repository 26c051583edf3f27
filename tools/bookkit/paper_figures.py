"""The paper's figures and statements, and the places of the book that answer to each.

The one source of the page of figures, and of the links on the page of claims. What a figure shows
is said in our own words.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIGURES", "STATEMENTS", "SUPPLEMENT", "Counterpart", "figures_page", "places"]


@dataclass(frozen=True)
class Counterpart:
    """A part of the paper beside what the book has of it.

    Attributes
    ----------
    where : str
        Number and part of the figure, or section.
    shows : str
        What it shows or says.
    ours : tuple of str
        Labels of our figures and tables; empty if there are none, and then `note` says why.
    claims : tuple of str
        Rows of the table of claims that rest on it.
    note : str
        What is different from the paper's, or why nothing is there.
    """

    where: str
    shows: str
    ours: tuple[str, ...]
    claims: tuple[str, ...]
    note: str = ""


FIGURES = (
    Counterpart(
        "fig. 1",
        "Samples of permeability, pressure and velocity with 2, 10, 100 and 1000 modes",
        ("fig-darcy-samples",),
        ("D1",),
        "Other samples: the paper's data set was not published.",
    ),
    Counterpart(
        "fig. 2",
        "One field as a good and as an over-regularised model decode it",
        ("fig-over-regularised", "fig-data-mean", "fig-data-variance"),
        ("T1",),
    ),
    Counterpart(
        "fig. 3 left",
        "Loss on lines from 10 random initialisations to a good solution",
        ("fig-lines-dense", "fig-lines", "fig-line-rates"),
        ("L1",),
    ),
    Counterpart(
        "fig. 3 right",
        "Loss along random directions away from a good solution",
        ("fig-directions",),
        ("L2",),
    ),
    Counterpart(
        "fig. 4, paths",
        "A good and an over-regularised training in the rate-distortion plane",
        ("fig-paths", "fig-paths-dense"),
        ("L3", "E5"),
    ),
    Counterpart(
        "fig. 4, points",
        "Models at the end of their training for many weights of the rate",
        ("fig-sweep-dense", "fig-rd-curve", "fig-sweep"),
        ("L4", "E12"),
    ),
    Counterpart(
        "fig. 5",
        "Loss and score on the line between two runs that differ in the seed",
        ("fig-seeds-dense", "fig-seeds", "fig-barriers"),
        ("L5",),
    ),
    Counterpart(
        "fig. 6",
        "A training with standard normal factors: losses, a reconstruction, distributions",
        ("fig-dense-history", "fig-dense-reconstruction", "fig-dense-distributions"),
        ("N1",),
    ),
    Counterpart(
        "fig. 7",
        "Latents against factors on training and test data, with the encoder's uncertainty",
        ("fig-dense-latents",),
        ("N2",),
    ),
    Counterpart(
        "fig. 8",
        "Shifted factors: a reconstruction without and with a hierarchical prior",
        ("fig-shifted-reconstruction",),
        ("G1",),
        "Both reconstruct the fields; G1 is about disentanglement.",
    ),
    Counterpart(
        "fig. 9 upper",
        "Shifted factors: factors, prior and posterior without and with a hierarchical prior",
        ("fig-shifted-standard", "fig-shifted-hierarchical"),
        ("G1", "E13"),
    ),
    Counterpart(
        "fig. 9 lower left",
        "Shifted factors: latents against factors without a hierarchical prior",
        ("fig-shifted-latents-standard",),
        ("G1",),
        "One run of many; {numref}`table-run-scores` has the scores of all.",
    ),
    Counterpart(
        "fig. 9 lower right",
        "Shifted factors: latents against factors with a hierarchical prior",
        ("fig-shifted-latents",),
        ("G1",),
    ),
    Counterpart(
        "fig. 10",
        "Four modes: the posterior, and latents against factors, before and after a rotation",
        ("fig-rotated-posterior", "fig-rotated-latents", "fig-rotation-scores"),
        ("M4",),
    ),
    Counterpart(
        "fig. 11",
        "Four modes: a reconstruction without and with a hierarchical prior",
        ("fig-four-reconstruction",),
        ("E3",),
    ),
    Counterpart(
        "fig. 12 upper",
        "Four modes: factors, prior and posterior without and with a hierarchical prior",
        ("fig-four-standard", "fig-four-hierarchical", "fig-four-rectified", "fig-four-calibrated"),
        ("M3", "E14"),
    ),
    Counterpart(
        "fig. 12 lower",
        "Four modes: latents against factors without and with a hierarchical prior",
        ("fig-four-latents", "fig-four-latents-hp"),
        ("M2",),
    ),
    Counterpart(
        "fig. 13",
        "The score of shapes beside latents that are more and more entangled",
        ("fig-shape-panels", "fig-shape-scatter"),
        ("M6",),
    ),
    Counterpart(
        "fig. 14 left",
        "Score against the share of labelled samples",
        ("fig-labels", "fig-label-similarity"),
        ("S1",),
    ),
    Counterpart(
        "fig. 14 right",
        "Training losses against the share of labelled samples",
        ("fig-labels",),
        ("S2",),
    ),
    Counterpart(
        "fig. 15",
        "Four modes with labels: factors, prior and posterior",
        ("fig-low-density",),
        ("S3",),
    ),
)

# The supplement's figures have no numbers here: we do not have it, only what the paper says of it.
SUPPLEMENT = (
    Counterpart(
        "4.1",
        "How the dense architecture was arrived at",
        ("fig-architectures",),
        ("P2",),
    ),
    Counterpart(
        "4.2",
        "A path of the published training that avoids the over-regularised minima",
        ("fig-avoided",),
        ("P3",),
    ),
    Counterpart(
        "5.1",
        "Losses and disentanglement against the number of training samples",
        ("fig-training-size",),
        ("P1",),
    ),
    Counterpart(
        "5.2, 5.3",
        "Regularisation loss against the angle of a rotation of the latents",
        ("fig-rotation-rate", "table-minima"),
        ("M5",),
    ),
    Counterpart(
        "7",
        "Trainings with correlated factors",
        ("fig-correlated", "fig-correlated-shapes"),
        ("P4",),
    ),
)

STATEMENTS = (
    Counterpart(
        "1, 2.2",
        "The evidence lower bound is not modified",
        ("fig-weights", "table-weights"),
        ("E1",),
    ),
    Counterpart(
        "3.1",
        "The discretisation is of second order",
        ("fig-darcy-order", "fig-darcy-wells"),
        ("D2",),
    ),
    Counterpart(
        "4",
        "A first weight that is too small prevents convergence",
        ("table-paths",),
        ("E7",),
    ),
    Counterpart(
        "4.2",
        "A network for the decoder's variance may avoid over-regularisation",
        ("table-variance-network",),
        ("E6",),
    ),
    Counterpart(
        "4.2, 5.2",
        "Number of parameters, and how many a hierarchical prior adds",
        ("fig-architecture", "table-parameters"),
        ("A1",),
    ),
    Counterpart(
        "4.3, 5.1",
        "Equal losses go with any degree of disentanglement",
        ("table-standard-normal",),
        ("E9",),
    ),
    Counterpart(
        "5.1",
        "The score varies with the seed",
        ("fig-n3",),
        ("N3",),
    ),
    Counterpart(
        "5.2",
        "Shifted factors: how often runs are disentangled",
        ("fig-shares", "table-conditions"),
        ("G1",),
    ),
    Counterpart(
        "5.2",
        "Shifted factors: a larger weight might help",
        ("fig-weights", "table-weights"),
        ("E2",),
    ),
    Counterpart(
        "5.2, 7",
        "A hierarchical prior makes the posterior factorise",
        ("table-prior-claims",),
        ("E4",),
    ),
    Counterpart(
        "5.3",
        "Four modes: how many runs are over-regularised",
        ("table-dense-runs", "table-prior-claims"),
        ("M1",),
    ),
    Counterpart(
        "5.3",
        "Four modes: how many runs are disentangled",
        ("fig-shares", "table-conditions", "table-dense-runs"),
        ("M2",),
    ),
    Counterpart(
        "5.3",
        "Four modes: runs that fail are turned by 45 degrees",
        ("fig-angles", "table-failed", "fig-dense-angles"),
        ("M3",),
    ),
    Counterpart(
        "5.3",
        "Four modes: reconstruction is more accurate with a hierarchical prior",
        ("table-dense-runs",),
        ("E3",),
    ),
    Counterpart(
        "5.3",
        "Four modes need a longer reconstruction phase",
        ("table-paths",),
        ("E8",),
    ),
    Counterpart(
        "6",
        "One objective for labels is unstable, the other trains",
        ("table-objectives",),
        ("S4",),
    ),
    Counterpart(
        "6",
        "With very few labels training is much like that without",
        ("fig-labels", "table-labels"),
        ("E10",),
    ),
    Counterpart(
        "7",
        "Total correlation is a simpler score of disentanglement",
        ("table-variations",),
        ("E11",),
    ),
)


def places(claim: str) -> tuple[str, ...]:
    """Labels of our figures and tables about a claim, those that count runs first."""
    rows = [row for row in (*STATEMENTS, *FIGURES, *SUPPLEMENT) if claim in row.claims]
    return tuple(dict.fromkeys(label for row in rows for label in row.ours))


def _table(rows: tuple[Counterpart, ...], caption: str, label: str) -> list[str]:
    lines = ["| The paper | What it shows or says | Here | Claims |", "|---|---|---|---|"]
    for row in rows:
        links = ", ".join(f"{{numref}}`{label}`" for label in row.ours) or "*not made*"
        ours = f"{links}. {row.note}" if row.note else links
        verdicts = "<br>".join(f"{{verdict}}`{name}`" for name in row.claims)
        lines.append(f"| {row.where} | {row.shows} | {ours} | {verdicts} |")
    return [f":::{{table}} {caption}", f":name: {label}", ":class: counterparts", "", *lines, ":::"]


def figures_page() -> str:
    """Return the tables of the page of figures."""
    parts = [
        _table(FIGURES, "The paper's figures and ours.", "table-figures"),
        ["", "## The supplement", ""],
        [
            "We do not have the supplement; the paper's sections say what it shows, and our "
            "figures are made after these words.",
            "",
        ],
        _table(SUPPLEMENT, "What the supplement shows.", "table-supplement-figures"),
        ["", "## Statements without a figure", ""],
        _table(STATEMENTS, "Statements without a figure.", "table-statements"),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"
