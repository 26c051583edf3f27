"""Training of one or many members by a recipe, with checkpoints (sections 4 and 6)."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from dvae.errors import DataError, ResultError
from dvae.models.vae import VAE
from dvae.storage import read_tensors, tensors_digest, write_tensors
from dvae.training.ensemble import Ensemble, check_device
from dvae.training.objective import labelled_terms
from dvae.training.recipes import Recipe, make_recipe
from dvae.training.streams import LABELLED, batch_indices, latent_noise

__all__ = ["Fit", "Labels", "fit"]

CHUNK = 64  # steps between two looks at the clock
ADAM = (0.9, 0.999, 1e-8)
RECORDED = ("rate", "distortion", "beta", "label")


@dataclass(frozen=True)
class Labels:
    """Labelled samples of one member: indices into the training data and their factors.

    Parameters
    ----------
    index : array of int (labelled,)
        Which training samples are labelled; may be empty.
    theta : array (labelled, latent)
        Their factors; latent i is to equal factor i.
    """

    index: Int[np.ndarray, " labelled"]
    theta: Float[np.ndarray, "labelled latent"]

    def check(self, n_samples: int, n_latents: int) -> None:
        """Raise DataError unless the labels fit the data and the model."""
        index, theta = np.asarray(self.index), np.asarray(self.theta)
        if theta.shape != (len(index), n_latents):
            raise DataError(
                f"labels must have the shape (labelled, latent) = ({len(index)}, {n_latents}), "
                f"got {theta.shape}; give one factor per latent and one row per labelled sample"
            )
        if len(index) and (index.min() < 0 or index.max() >= n_samples):
            raise DataError(f"labelled samples must lie in 0..{n_samples - 1}")
        if len(np.unique(index)) != len(index):
            raise DataError("a labelled sample is listed twice")
        if not np.isfinite(theta).all():
            row = int(np.argwhere(~np.isfinite(theta))[0, 0])
            raise DataError(f"label {row} (sample {index[row]}) is not finite; drop it or mend it")


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


@dataclass
class _State:
    """Everything that changes while training; what a checkpoint holds."""

    parameters: Tensor
    first_moment: Tensor
    second_moment: Tensor
    beta: Tensor
    alive: Tensor
    buffers: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0
    history: list[Tensor] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors by name, histories joined."""
        named = {
            "parameters": self.parameters,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "beta": self.beta,
            "alive": self.alive,
        }
        named |= {f"buffer.{name}": value for name, value in self.buffers.items()}
        if self.history:
            named["history"] = torch.cat(self.history)
        return named


def save_checkpoint(path: str | os.PathLike, state: _State, identity: str) -> None:
    """Write a training state: safetensors, written beside, synced and renamed."""
    metadata = {"identity": identity, "step": str(state.step), "seconds": repr(state.seconds)}
    write_tensors(path, state.tensors(), metadata)


def load_checkpoint(path: str | os.PathLike, identity: str, device: torch.device) -> _State:
    """Read and verify a training state.

    Raises
    ------
    ResultError
        If the file is truncated or altered, or belongs to another run.
    """
    advice = f"move {path} away to start this run from the beginning"
    try:
        tensors, metadata = read_tensors(path)
    except ResultError as error:
        raise ResultError(f"checkpoint {error}; {advice}") from error
    if metadata.get("identity") != identity:
        raise ResultError(
            f"checkpoint {path} belongs to a run with other data, model, recipe or seeds; {advice}"
        )
    history = tensors.pop("history", None)
    buffers = {k[7:]: v.to(device) for k, v in tensors.items() if k.startswith("buffer.")}
    return _State(
        **{k: v.to(device) for k, v in tensors.items() if not k.startswith("buffer.")},
        buffers=buffers,
        step=int(metadata["step"]),
        seconds=float(metadata["seconds"]),
        history=[] if history is None else [history],
    )


class _Trainer:
    """One ensemble, its data and its optimiser; :meth:`advance` runs some steps.

    A step reads ``inputs`` (tensors of fixed shape) and updates the state in place, without
    synchronising with the host, so that on a GPU it is captured once as a CUDA graph.
    """

    def __init__(self, ensemble: Ensemble, features: Tensor, recipe: Recipe, members: _Members):
        self.ensemble, self.features, self.recipe = ensemble, features, recipe
        self.members = members
        device, dtype = features.device, features.dtype
        m, template = ensemble.n_members, ensemble.template
        self.n_nodes = template.n_nodes
        tensor = functools.partial(torch.tensor, dtype=dtype, device=device)
        self.final_beta = tensor(members.beta)
        self.data_variance = template.decoder.data_variance(features)
        beta = self.final_beta.clone()
        if recipe.reconstruction_steps:
            beta.fill_(recipe.beta_initial)
        self.state = _State(
            parameters=ensemble.parameters.detach().clone(),
            first_moment=torch.zeros_like(ensemble.parameters),
            second_moment=torch.zeros_like(ensemble.parameters),
            beta=beta,
            alive=torch.ones(m, dtype=torch.bool, device=device),
            buffers=ensemble.buffers,
        )
        self.inputs = {k: v[0].clone() for k, v in self.draw(0, 1).items()}
        if members.labels is not None:
            weight = [recipe.label_weight * bool(len(one.index)) for one in members.labels]
            self.label_weight = tensor(weight)
        self.record = torch.zeros(len(RECORDED), m, dtype=dtype, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def restore(self, state: _State) -> None:
        """Go on from a loaded state."""
        self.state = state
        self.ensemble.buffers = state.buffers

    def draw(self, first: int, last: int) -> dict[str, Tensor]:
        """Inputs of steps first <= step < last, leading axis step."""
        recipe, members, template = self.recipe, self.members, self.ensemble.template
        steps = np.arange(first, last)
        batch = recipe.batch_size
        index, noise, labelled, theta = [], [], [], []
        for seed, subset in zip(members.seeds, members.subsets, strict=True):
            index.append(subset[batch_indices(seed, first, last, batch, len(subset))])
            noise.append(latent_noise(seed, first, last, batch, template.noise_size))
        drawn = {
            "noise": np.stack(noise, 1),
            "rate": recipe.learning_rates(first, last)[:, None] * members.learning_rate,
            "correction": 1 - np.array(ADAM[:2]) ** (steps[:, None] + 1),
            "floor": recipe.floors(first, last),
            "after_reconstruction": steps >= recipe.reconstruction_steps,
        }
        indices = {"index": np.stack(index, 1)}
        if members.labels is not None:
            for seed, one in zip(members.seeds, members.labels, strict=True):
                # a member without labels reads sample 0 with weight 0
                rows, values = np.zeros(1, int), np.zeros((1, template.n_latents))
                if len(one.index):
                    rows, values = np.asarray(one.index), np.asarray(one.theta)
                size = recipe.labelled_batch
                chosen = batch_indices(seed, first, last, size, len(rows), LABELLED)
                labelled.append(rows[chosen])
                theta.append(values[chosen])
            indices["labelled"], drawn["theta"] = np.stack(labelled, 1), np.stack(theta, 1)
        device, dtype = self.features.device, self.features.dtype
        return {k: torch.from_numpy(v).to(device) for k, v in indices.items()} | {
            k: torch.as_tensor(v).to(device, dtype) for k, v in drawn.items()
        }

    def _loss(self, members: slice, parameters: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Loss per node of some members (eq. 5, or eqs 27, 28) and its mean terms in nats."""
        inputs, part, beta = self.inputs, self.ensemble.part(members), self.state.beta[members]
        floor = None if self.recipe.floor is None else inputs["floor"] * self.data_variance
        batch = (self.features[inputs["index"][members]], inputs["noise"][members], floor)
        if self.members.labels is None:
            terms = part.terms(parameters, *batch, in_dims=(0, 0, None))
            label = torch.zeros_like(beta)
        else:
            terms, label = part.call(
                functools.partial(labelled_terms, self.recipe),
                parameters,
                *batch,
                self.features[inputs["labelled"][members]],
                inputs["theta"][members],
                in_dims=(0, 0, None, 0, 0),
            )
            label = label.mean(1)
        rate, distortion = terms.rate.mean(1), terms.distortion.mean(1)
        loss = distortion / self.n_nodes + beta * rate
        if self.members.labels is not None:
            loss = loss + self.label_weight[members] * label
        return loss, [rate.detach(), distortion.detach(), label.detach()]

    def _gradient(self) -> list[Tensor]:
        """Gradient, loss, rate, distortion and label term of every member.

        Members that do not share operations are differentiated one after the other, so that the
        activations of one member are held at a time.
        """
        m = self.ensemble.n_members
        size = self.ensemble.members_per_call or m
        parts = []
        for first in range(0, m, size):
            members = slice(first, first + size)
            parameters = self.state.parameters[members].detach().requires_grad_()
            loss, terms = self._loss(members, parameters)
            (gradient,) = torch.autograd.grad(loss.sum(), parameters)
            parts.append((gradient, loss.detach(), *terms))
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _step(self) -> None:
        """One optimiser step of every member that is alive."""
        state, inputs, (b1, b2, epsilon) = self.state, self.inputs, ADAM
        before = {name: value.clone() for name, value in state.buffers.items()}
        gradient, loss, rate, distortion, label = self._gradient()
        with torch.no_grad():
            finite = torch.isfinite(loss) & torch.isfinite(gradient.abs().amax(1))
            state.alive &= finite
            alive = state.alive
            gradient = torch.where(alive[:, None], gradient, 0.0)
            state.first_moment.lerp_(gradient, 1 - b1)
            state.second_moment.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
            # Adam (Kingma and Ba 2015), a learning rate per member, 0 for the frozen ones
            c1, c2 = inputs["correction"][0], inputs["correction"][1]
            denominator = (state.second_moment / c2).sqrt_().add_(epsilon)
            size = (inputs["rate"] * alive / c1)[:, None]
            state.parameters.sub_(size * state.first_moment / denominator)
            for name, value in state.buffers.items():
                mask = alive.view(-1, *[1] * (value.ndim - 1))
                value.copy_(torch.where(mask, value, before[name]))
            self.record.copy_(torch.stack([rate, distortion, state.beta * self.n_nodes, label]))
            state.beta.copy_(torch.where(alive, self._next_beta(distortion), state.beta))

    def _next_beta(self, distortion: Tensor) -> Tensor:
        """Weight of the rate at the next step: constant, then the schedule."""
        recipe, beta, final = self.recipe, self.state.beta, self.final_beta
        if recipe.schedule == "jump":
            grown = final
        else:
            per_node = distortion / self.n_nodes
            sign = torch.where(per_node > 0, -1.0, torch.tanh(recipe.tau * (beta / final - 1)))
            grown = torch.minimum(final, beta * torch.exp(recipe.nu * sign * per_node))
        return torch.where(self.inputs["after_reconstruction"] > 0, grown, beta)

    def _replay(self) -> None:
        """One step on a GPU: three eager steps on a side stream, then a captured graph."""
        if self.graph is not None:
            self.graph.replay()
            return
        self.eager_steps = getattr(self, "eager_steps", 0) + 1
        if self.eager_steps <= 3:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._step()
            torch.cuda.current_stream().wait_stream(stream)
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self.graph = graph
        graph.replay()

    def advance(self, n_steps: int) -> Tensor:
        """Run steps and return their records (step, quantity, member)."""
        drawn = self.draw(self.state.step, self.state.step + n_steps)
        step = self._replay if self.features.is_cuda else self._step
        records = []
        self.ensemble.template.train()
        for k in range(n_steps):
            for name, value in self.inputs.items():
                value.copy_(drawn[name][k])
            step()
            records.append(self.record.clone())
        self.state.step += n_steps
        return torch.stack(records)


@dataclass(frozen=True)
class _Members:
    """What may differ between the members of an ensemble."""

    seeds: tuple[int, ...]
    beta: np.ndarray
    learning_rate: np.ndarray
    subsets: tuple[np.ndarray, ...]
    labels: tuple[Labels, ...] | None

    def digest(self) -> str:
        numbers = (self.seeds, self.beta.tolist(), self.learning_rate.tolist())
        digest = hashlib.sha256(repr(numbers).encode())
        for subset in self.subsets:
            digest.update(np.ascontiguousarray(subset, dtype=np.int64).tobytes())
        for one in self.labels or ():
            digest.update(np.ascontiguousarray(one.index, dtype=np.int64).tobytes())
            digest.update(np.ascontiguousarray(one.theta, dtype=np.float64).tobytes())
        return digest.hexdigest()


def _per_member(value, name: str, m: int) -> np.ndarray:
    values = np.asarray(value, dtype=float)
    if values.shape not in ((), (m,)):
        raise DataError(f"{name} must be one value for each of the {m} members, got {value}")
    values = np.broadcast_to(values, (m,)).copy()
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError(f"{name} must be positive for every member, got {value}")
    return values


def fit(
    model: VAE,
    fields,
    recipe: str | Recipe = "calibrated",
    seeds: int | Sequence[int] = 0,
    *,
    labels: Labels | Sequence[Labels] | None = None,
    subsets: Sequence[Int[np.ndarray, " subset"]] | None = None,
    beta: float | Sequence[float] | None = None,
    learning_rate: float | Sequence[float] | None = None,
    initial: Ensemble | None = None,
    device: str = "cpu",
    progress: bool = True,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
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
        Architecture; it is copied, not changed. Its decoder variance must be the recipe's kind.
    fields : Tensor (sample, channel, x1, x2) or object with a ``fields`` attribute
        Training data, such as a :class:`dvae.DarcyDataset`; converted to the model's precision.
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
    """
    recipe = make_recipe(recipe)
    where = check_device(device)
    seeds = (int(seeds),) if np.ndim(seeds) == 0 else tuple(int(s) for s in seeds)
    m = len(seeds)
    if not m or min(seeds) < 0:
        raise DataError(f"give at least one seed, none of them negative; got {seeds}")
    fields = getattr(fields, "fields", fields)
    dtype = next(model.parameters()).dtype
    fields = torch.as_tensor(fields).to(dtype)
    if not len(fields):
        raise DataError("there are no training samples")
    if not bool(torch.isfinite(fields).all()):
        bad = int((~torch.isfinite(fields.flatten(1)).all(1)).nonzero()[0, 0])
        raise DataError(
            f"the training fields hold values that are not finite, first in sample {bad}"
        )
    kind = model.decoder.variance.kind
    if kind != recipe.variance:
        raise DataError(
            f"recipe {recipe.name!r} needs a model with variance={recipe.variance!r}, "
            f"but this one has {kind!r}; build it with that argument"
        )
    features = model.features(fields)
    if initial is None:
        ensemble = Ensemble.from_seeds(model, seeds)
    else:
        ensemble = copy.deepcopy(initial)
        if ensemble.n_members != m:
            raise DataError(f"initial has {ensemble.n_members} members but there are {m} seeds")
        Ensemble([model, ensemble.template])  # refuses another architecture or POD basis
    if isinstance(labels, Labels):
        labels = [labels] * m
    if labels is not None:
        for one in labels:
            one.check(len(fields), model.n_latents)
        empty = [len(one.index) == 0 for one in labels]
        if all(empty):
            labels = None
        elif any(empty) and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
            raise DataError(
                "batch normalisation sees labelled and unlabelled samples together, so members "
                "without labels must be trained in a fit of their own"
            )
    subsets = [np.arange(len(fields))] * m if subsets is None else [np.asarray(s) for s in subsets]
    if len(subsets) != m or (labels is not None and len(labels) != m):
        raise DataError(f"give one subset and one set of labels for each of the {m} seeds")
    for one in subsets:
        if one.ndim != 1 or one.dtype.kind not in "iu" or not len(one):
            raise DataError("every subset must be a list of indices of training samples, not empty")
        if one.min() < 0 or one.max() >= len(fields):
            raise DataError(f"subsets must lie in 0..{len(fields) - 1}")
    members = _Members(
        seeds,
        _per_member(recipe.beta if beta is None else beta, "beta", m),
        _per_member(
            recipe.learning_rate if learning_rate is None else learning_rate, "learning_rate", m
        ),
        tuple(subsets),
        None if labels is None else tuple(labels),
    )
    trainer = _Trainer(ensemble.to(where), features.to(where), recipe, members)
    if record_every is None:
        record_every = max(1, recipe.steps // 1000)
    if record_every < 1:
        raise DataError(f"record_every must be at least 1, got {record_every}")
    start = {"parameters": ensemble.parameters, "features": features, **ensemble.buffers}
    identity = tensors_digest({name: value.detach().cpu() for name, value in start.items()})
    identity += json.dumps([asdict(recipe), members.digest(), str(where.type), record_every])
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        trainer.restore(load_checkpoint(path, identity, where))
    _run(trainer, path, identity, checkpoint_seconds, record_every, progress, monitor)
    state = trainer.state
    ensemble.parameters = state.parameters
    own = torch.zeros(m, len(fields), dtype=dtype, device=where)
    for member, subset in enumerate(subsets):
        own[member, torch.as_tensor(subset)] = 1.0
    ensemble.calibrate(trainer.features, weights=own)
    ensemble.to("cpu")
    if path is not None:
        path.unlink(missing_ok=True)
    return Fit(
        ensemble,
        seeds,
        recipe,
        _history(state, seeds, record_every),
        ~state.alive.cpu().numpy(),
        state.seconds,
    )


def _run(trainer, path, identity, checkpoint_seconds, record_every, progress, monitor) -> None:
    """Advance to the end in chunks, record, show progress and save checkpoints."""
    state, recipe = trainer.state, trainer.recipe
    chunk = record_every * max(1, round(CHUNK / record_every))
    saved = time.monotonic()
    bar = tqdm(
        total=recipe.steps,
        initial=state.step,
        desc=f"{recipe.name} x {trainer.ensemble.n_members}",
        unit="step",
        disable=not progress,
    )
    with bar:
        while state.step < recipe.steps:
            start = time.monotonic()
            n = min(chunk, recipe.steps - state.step)
            records = trainer.advance(n)
            windows = [w.mean(0) for w in records.split(record_every)]
            state.history.append(torch.stack(windows).float().cpu())
            state.seconds += time.monotonic() - start
            bar.update(n)
            rate, distortion, beta, _ = state.history[-1][-1].nanmean(1).tolist()
            bar.set_postfix(
                rate=f"{rate:.2f}",
                distortion=f"{distortion / trainer.n_nodes:.3f}/node",
                beta=f"{beta / trainer.n_nodes:.1e}/node",
            )
            if monitor is not None:
                trainer.ensemble.parameters = state.parameters
                monitor(state.step, trainer.ensemble)
            due = time.monotonic() - saved >= checkpoint_seconds
            if path is not None and due and state.step < recipe.steps:
                save_checkpoint(path, state, identity)
                saved = time.monotonic()


def _history(state: _State, seeds: tuple[int, ...], record_every: int) -> xr.Dataset:
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
