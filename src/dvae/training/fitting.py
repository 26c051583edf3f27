"""Training of one or many members by a recipe, with checkpoints (sections 4 and 6)."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from dvae.errors import DataError, DvaeError
from dvae.models.vae import VAE
from dvae.physics.arrays import check_seed
from dvae.physics.samples import Samples, in_batches
from dvae.progress import progress_bar
from dvae.tensors import tensors_digest
from dvae.threads import one_thread
from dvae.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from dvae.training.ensemble import Ensemble, check_device
from dvae.training.recipes import Recipe, make_recipe
from dvae.training.trainer import RECORDED, Labels, Members, Trainer

__all__ = ["Fit", "fit"]

CHUNK = 64  # steps between two looks at the clock


@dataclass
class Fit:
    """What :func:`fit` returns.

    Attributes
    ----------
    ensemble : Ensemble
        Trained members.
    seeds : tuple of int
        Their seeds.
    recipe : Recipe
        Recipe used.
    history : xarray.Dataset
        Training batch means over ``member`` and ``step`` (mean over each recorded window):
        ``rate``, ``distortion``, ``label`` in nats per sample, ``beta`` per sample (eq. 5).
    diverged : array of bool (member,)
        Members that met a loss or gradient that is not finite; frozen at the step before.
    seconds : float
        Wall time of training in this and the interrupted processes.
    """

    ensemble: Ensemble
    seeds: tuple[int, ...]
    recipe: Recipe
    history: xr.Dataset
    diverged: np.ndarray
    seconds: float

    @functools.cached_property
    def models(self) -> list[VAE]:
        """Trained members as ordinary modules, in evaluation mode, on the CPU."""
        return [self.ensemble.member(i) for i in range(self.ensemble.n_members)]

    @property
    def model(self) -> VAE:
        """The only member's model (an error for several members: use ``models``)."""
        if self.ensemble.n_members != 1:
            raise DataError(f"{self.ensemble.n_members} members were trained; use .models")
        return self.models[0]


def _per_member(value, name: str, m: int) -> np.ndarray:
    values = np.asarray(value, dtype=float)
    if values.shape not in ((), (m,)):
        raise DataError(f"{name} must be one value for each of the {m} members, got {value}")
    values = np.broadcast_to(values, (m,)).copy()
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError(f"{name} must be positive and finite for every member, got {value}")
    return values


def fit(
    model: VAE,
    fields,
    recipe: str | Recipe = "calibrated",
    seeds: int | Sequence[int] = 0,
    *,
    labels: Labels | Sequence[Labels] | None = None,
    subsets: Sequence[Int[np.ndarray, " _"]] | None = None,
    beta: float | Sequence[float] | None = None,
    learning_rate: float | Sequence[float] | None = None,
    initial: Ensemble | None = None,
    device: str = "cpu",
    progress: bool = True,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    keep_checkpoint: bool = False,
    record_every: int | None = None,
    monitor: Callable[[int, Ensemble], None] | None = None,
) -> Fit:
    """Train one or many VAEs of one architecture by a recipe.

    Every member has its own initialisation, mini-batches and latent noise, all drawn from its
    seed, and its result does not depend on the other members. The same call on the same machine
    gives the same bits.

    Parameters
    ----------
    model : VAE
        Architecture; it is copied, not changed. The decoder variance of the copy is of the
        recipe's kind.
    fields : Tensor (sample, channel, x1, x2), Samples, or object with a ``fields`` attribute
        Training data, such as a :class:`dvae.DarcyDataset`; converted to the model's precision.
        Samples (``samples`` of a data set) are read a batch at a time, and only what the model
        makes of them before training is kept: of :class:`dvae.PodVAE` its coefficients.
    recipe : str or Recipe
        Name or recipe, see :func:`dvae.make_recipe`.
    seeds : int or sequence of int
        One seed per member.
    labels : Labels or sequence of Labels, optional
        Labelled samples, common or per member, for the semi-supervised loss (eq. 28).
    subsets : sequence of array of int, optional
        Training samples of each member; by default all.
    beta, learning_rate : float or sequence of float, optional
        Override the recipe's final beta (per node) and first learning rate, per member.
    initial : Ensemble, optional
        Start from these members instead of initialising from the seeds.
    device : str
        "cpu" or "cuda".
    progress : bool
        Show a progress bar with mean rate, distortion and beta.
    checkpoint : path, optional
        File to save the state to and, if it exists, to go on from. Removed at the end.
    keep_checkpoint : bool
        Leave the last state there instead, for a caller who has more to do: the same call then
        returns at once what was trained.
    checkpoint_seconds : float
        Least time between two saves.
    record_every : int, optional
        Steps per entry of the history; by default about 1000 entries.
    monitor : callable, optional
        ``monitor(step, ensemble)`` is called about every 64 steps, for instance to evaluate test
        data; it must leave the ensemble as it is.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If data, labels or subsets do not fit the model, or hold values that are not finite.
    DeviceError
        If the device is not there.
    ResultError
        If the checkpoint is damaged or belongs to another run.

    Examples
    --------
    >>> from dvae import DarcyDataset, PodVAE
    >>> data = DarcyDataset.generate("standard-normal", 48, seed=0, n_nodes=17)
    >>> model = PodVAE.from_fields(data.fields, n_modes=12)
    >>> recipe = make_recipe("calibrated", batch_size=16).shortened(0.005)
    >>> result = fit(model, data, recipe, seeds=(0, 1), progress=False)
    >>> len(result.models)
    2
    """
    recipe = make_recipe(recipe)
    where = check_device(device)
    seeds = _checked_seeds(seeds)
    model = copy.deepcopy(model).use_variance(recipe.variance)
    features = _features(fields, model)
    ensemble = _start(model, seeds, initial)
    members = Members(
        seeds,
        _per_member(recipe.beta if beta is None else beta, "beta", len(seeds)),
        _per_member(
            recipe.learning_rate if learning_rate is None else learning_rate,
            "learning_rate",
            len(seeds),
        ),
        _checked_subsets(subsets, len(seeds), len(features)),
        _checked_labels(labels, len(seeds), len(features), model),
    )
    if record_every is None:
        record_every = max(1, recipe.steps // 1000)
    if record_every < 1:
        raise DataError(f"record_every must be at least 1, got {record_every}")
    trainer = Trainer(ensemble.to(where), features.to(where), recipe, members)
    identity = _identity(ensemble, features, recipe, members, where.type, record_every)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        trainer.restore(load_checkpoint(path, identity, where))
    _run(trainer, path, identity, checkpoint_seconds, record_every, progress, monitor)
    if path is not None and keep_checkpoint:
        _save(path, trainer.state, identity)
    ensemble.parameters = trainer.state.parameters
    ensemble.calibrate(trainer.features, weights=members.weights(trainer.features))
    ensemble.to("cpu")
    if path is not None and not keep_checkpoint:
        path.unlink(missing_ok=True)
    return Fit(
        ensemble,
        seeds,
        recipe,
        _history(trainer.state, seeds, record_every),
        ~trainer.state.alive.cpu().numpy(),
        trainer.state.seconds,
    )


def _identity(
    ensemble: Ensemble,
    features: Tensor,
    recipe: Recipe,
    members: Members,
    device: str,
    record_every: int,
) -> str:
    """What makes a run this run: a checkpoint of another one is refused."""
    start = dict(ensemble.template.named_buffers()) | ensemble.buffers  # shared ones, and own
    start |= {"parameters": ensemble.parameters, "features": features}
    digest = tensors_digest({name: value.detach().cpu() for name, value in start.items()})
    architecture = hashlib.sha256(repr(ensemble.template).encode()).hexdigest()
    settings = [architecture, asdict(recipe), members.digest(), device, record_every]
    return digest + json.dumps(settings)


def _checked_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    checked = tuple(check_seed(seed) for seed in np.atleast_1d(np.array(seeds, dtype=object)))
    if not checked:
        raise DataError("give at least one seed")
    return checked


def _features(fields: Any, model: VAE) -> Float[Tensor, "sample *feature"]:
    """What training reads of samples, of a tensor or of an object that has fields.

    All that the model reads must be finite. A projection is a sum over all nodes, and threads would
    take it in another order: it has one.
    """
    if not isinstance(fields, Samples):
        fields = torch.as_tensor(getattr(fields, "fields", fields))
    if not len(fields):
        raise DataError("there are no training samples")
    parts, first = [], 0
    for part in in_batches(fields):
        batch = part.to(model.field_dtype)
        finite = torch.isfinite(model.observed(batch))
        if not bool(finite.all()):
            bad = first + int((~finite.flatten(1).all(1)).nonzero()[0, 0])
            raise DataError(
                f"the training fields hold values that are not finite, first in sample {bad}"
            )
        with one_thread():
            parts.append(model.features(batch))
        first += len(batch)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _start(model: VAE, seeds: tuple[int, ...], initial: Ensemble | None) -> Ensemble:
    """Members as they start: initialised from their seeds, or copies of the given ones."""
    if initial is None:
        return Ensemble.from_seeds(model, seeds)
    ensemble = copy.deepcopy(initial)
    if ensemble.n_members != len(seeds):
        raise DataError(
            f"initial has {ensemble.n_members} members but there are {len(seeds)} seeds"
        )
    kinds = [template.decoder.variance.kind for template in (model, ensemble.template)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"initial has a decoder variance that is {kinds[1]}, the recipe one that is "
            f"{kinds[0]}; give a recipe with variance={kinds[1]!r}"
        )
    Ensemble([model, ensemble.template])  # refuses another architecture or POD basis
    return ensemble


def _checked_subsets(
    subsets: Sequence[Int[np.ndarray, " _"]] | None, m: int, n_samples: int
) -> tuple[Int[np.ndarray, " _"], ...]:
    if subsets is None:
        return (np.arange(n_samples),) * m
    if len(subsets) != m:
        raise DataError(f"give one subset for each of the {m} seeds, got {len(subsets)}")
    checked = [np.asarray(subset) for subset in subsets]
    for subset in checked:
        if subset.ndim != 1 or subset.dtype.kind not in "iu" or not len(subset):
            raise DataError("every subset must be a list of indices of training samples, not empty")
        if subset.min() < 0 or subset.max() >= n_samples:
            raise DataError(f"subsets must lie in 0..{n_samples - 1}")
    return tuple(subset.astype(np.int64) for subset in checked)


def _checked_labels(
    labels: Labels | Sequence[Labels] | None, m: int, n_samples: int, model: VAE
) -> tuple[Labels, ...] | None:
    """Labels of every member, or None where no member has any."""
    if labels is None:
        return None
    every = (labels,) * m if isinstance(labels, Labels) else tuple(labels)
    for own in every:
        own.check(n_samples, model.n_latents)
    empty = [len(own.index) == 0 for own in every]
    if all(empty):
        return None
    if any(empty) and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise DataError(
            "batch normalisation sees labelled and unlabelled samples together, so members "
            "without labels must be trained in a fit of their own"
        )
    if len(every) != m:
        raise DataError(f"give one set of labels for each of the {m} seeds, got {len(every)}")
    return every


def _run(trainer, path, identity, checkpoint_seconds, record_every, progress, monitor) -> None:
    """Advance to the end in chunks, record, show progress and save checkpoints."""
    state, recipe = trainer.state, trainer.recipe
    chunk = record_every * max(1, round(CHUNK / record_every))
    saved = time.monotonic()
    bar = progress_bar(
        total=recipe.steps,
        initial=state.step,
        desc=f"{recipe.name} x {trainer.ensemble.n_members}",
        unit="step",
        disable=not progress,
    )
    with bar, _interrupts() as interrupted:
        while state.step < recipe.steps:
            start = time.monotonic()
            n = min(chunk, recipe.steps - state.step)
            records = trainer.advance(n)
            windows = [w.mean(0) for w in records.split(record_every)]
            state.history.append(torch.stack(windows).float().cpu())
            state.seconds += time.monotonic() - start
            rate, distortion, beta, _ = state.history[-1][-1].nanmean(1).tolist()
            bar.set_postfix(
                rate=f"{rate:.2f}",
                distortion=f"{distortion / trainer.total_nodes:.3f}/node",
                beta=f"{beta / trainer.total_nodes:.1e}/node",
                refresh=False,
            )
            bar.update(n)
            if monitor is not None:
                trainer.ensemble.parameters = state.parameters
                monitor(state.step, trainer.ensemble)
            due = time.monotonic() - saved >= checkpoint_seconds or interrupted()
            if path is not None and due and state.step < recipe.steps:
                _save(path, state, identity)
                saved = time.monotonic()
            if interrupted():
                raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Let an interrupt wait for the end of a chunk, where a checkpoint is whole; not a second one.

    Yields whether there was one. SIGTERM waits too where the program has a handler for it, which
    is called then. Elsewhere than in the main thread, and where interrupts are ignored, nothing
    changes.
    """
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before: dict[int, Callable[[int, Any], object]] = {}
    if threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(kind)):
                before[kind] = handler
                signal.signal(kind, note)
    try:
        yield lambda: bool(asked)
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
        if asked and asked[0] == signal.SIGTERM:
            before[signal.SIGTERM](signal.SIGTERM, None)


def _save(path: Path, state: TrainingState, identity: str) -> None:
    """Save a checkpoint; one that cannot be written is no reason to lose what is trained."""
    try:
        save_checkpoint(path, state, identity)
    except DvaeError as error:
        warnings.warn(f"no checkpoint, training goes on: {error}", stacklevel=2)


def _history(state: TrainingState, seeds: tuple[int, ...], record_every: int) -> xr.Dataset:
    records = torch.cat(state.history).numpy()
    step = np.minimum(np.arange(1, len(records) + 1) * record_every, state.step)
    history = xr.Dataset(
        {name: (("step", "member"), records[:, i]) for i, name in enumerate(RECORDED)},
        coords={"step": step, "seed": ("member", list(seeds))},
    ).transpose("member", "step")
    for name in ("rate", "distortion", "label"):
        history[name].attrs["units"] = "nats per sample"
    history["beta"].attrs["units"] = "weight of the rate per sample (eq. 5)"
    return history
