"""The report of a run: one HTML page that holds its figures and asks no other machine."""

from __future__ import annotations

import base64
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from dvae.workflow._outputs import write_text
from dvae.workflow._summary import NO_FACTORS

CAPTIONS = {
    "history": (
        "Losses",
        "Rate and distortion of every model on training samples against the training step, and the "
        "weight of the rate. Training is long enough where the curves are flat at their end. A "
        "distortion in the table of scores, on test samples, far above the end of its curve here "
        "says that the model knows its training samples better than others: more samples help.",
    ),
    "latents": (
        "Latents against factors",
        "The mean of each latent against each factor, with one standard deviation for test "
        "samples. A disentangled latent follows one factor and is a flat cloud against the others.",
    ),
    "distributions": (
        "Distribution of the latents",
        "Means of the two latents and their marginal densities; q(z) is the distribution over all "
        "samples. Training and test samples should look alike.",
    ),
    "traversals": (
        "Traversals",
        "The decoded mean at z = 0, and how it changes when one latent moves and the others stay: "
        "what that latent stands for. A latent that changes nothing is not in use. Axes show the "
        "coordinates that the file gives, or run from 0 to 1 over the grid.",
    ),
    "reconstruction": (
        "Reconstruction",
        "A test sample and what the model makes of it, less the mean field of the training, and "
        "the difference of the two, in the units of the data. The percentage is the root mean "
        "square of the difference over that of the truth less the mean field.",
    ),
}
DIGESTS = {
    "data": "data (SHA-256 of the file)",
    "labels": "labels (SHA-256 of the file)",
}
MEANINGS = {
    "member": "Number of the model.",
    "seed": "Seed that it was trained with.",
    "diverged": "Whether training met a loss that is not finite; the model is the one before.",
    "over_regularised": "Whether the model ignores the data, with no latent in use; such a model "
    "has no scores.",
    "rate": "Information in the latents, in nats per sample (KL divergence to the prior). "
    "Near 0: the model ignores the data.",
    "distortion": "Minus the log-likelihood of the test fields, in nats per sample. Lower is "
    "better; its level depends on the units of the data.",
    "loss": "What was trained, in nats per sample: distortion plus beta times rate. "
    "The member with the lowest one is shown.",
    "relative_error": "What reconstructed test fields leave of the spread about the mean field, as "
    "root mean squares: 0 is perfect, 1 is as good as answering with the mean field. Its square is "
    "the share of the variance that is left.",
    "training_error": "The same of training samples. Where it is much smaller, the model knows "
    "these better than others: the summary says so, and what to try.",
    "latents_in_use": "Latents that tell more than a tenth of a nat about a sample. Where that is "
    "all of them, more may tell more (--latents).",
    "total_correlation": "How much the latents tell about each other, in nats. "
    "0 for independent latents.",
    "agreement": "How far the latents in use are those of the other models, up to order, sign and "
    "scale (absolute rank correlation, median over the other models): 1 if they are the same.",
    "s_d": "Disentanglement score of eq. 6 for standardised factors; to be compared with "
    "s_d_ceiling, which it may exceed a little. It does not see that two latents follow one "
    "factor: read it with mcc.",
    "s_d_ceiling": "The score that the factors themselves would have.",
    "mcc": "Mean correlation of each factor with its latent, in absolute value: 1 if each "
    "latent is a factor up to sign and scale.",
    "s_kl": "Divergence of the distribution of the latents from that of the factors (eq. 7). Low "
    "is good; it may be negative, since the estimate lies too low where test samples are few.",
    "mig": "Mutual information gap: how much more the best latent tells about a factor than the "
    "second best, as a share of all there is to tell; 1 if each factor is in one latent alone. For "
    "factors of any kind, classes as well.",
    "modularity": "Whether each latent tells about one factor only: 1 if so. For factors of any "
    "kind.",
}


def write_report(path: Path, folder: Path, settings: dict[str, Any]) -> Path:
    """Write the page; a part that the folder lacks is said to be missing."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dvae.workflow"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    columns, rows = _scores(folder / "scores.csv")
    summary = _text(folder / "summary.txt")
    page = environment.get_template("report.html").render(
        name=folder.resolve().name,
        summary=summary,
        figures=[
            (title, _embedded(folder / f"{name}.png"), caption, _why_not(name, settings, summary))
            for name, (title, caption) in CAPTIONS.items()
        ],
        version=version("dvae"),
        columns=columns,
        rows=rows,
        meanings=[(name, MEANINGS[name]) for name in columns if name in MEANINGS],
        settings={DIGESTS.get(k, k): v for k, v in settings.items() if v is not None},
    )
    write_text(path, page)
    return path


def _text(path: Path) -> str:
    """Text of a file, or what to do about its absence."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return f"{path.name} is missing or damaged: the same 'dvae train' command makes it."


def _embedded(path: Path) -> str | None:
    """A picture as a data address, or None where there is none."""
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError:
        return None


def _why_not(name: str, settings: dict[str, Any], summary: str) -> str:
    """Why a figure is not there, if it is not."""
    if f"no figure {name}.png" in summary or "no figures:" in summary:
        return "Not drawn for this run; the summary says why."
    if name == "distributions" and settings.get("n_latents", 2) != 2:
        return "Not drawn for this run: it is one of two latents."
    if name == "latents" and NO_FACTORS in summary:
        return "Not drawn for this run: no factors were given (--factors)."
    return f"{name}.png is missing: the same 'dvae train' command draws it."


def _scores(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of scores, as text; none where it cannot be read."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError):
        return [], []
    if "member" not in table:  # something else than was written
        return [], []
    known = ("diverged", "over_regularised")
    flags = [name for name in known if name in table and not table[name].any()]
    table = table.drop(columns=flags)  # none to tell of
    shown = table.map(lambda v: f"{v:.4g}" if isinstance(v, float) and v == v else v)
    return list(table), shown.astype(object).where(table.notna(), "-").astype(str).values.tolist()
