"""Steps of an ensemble under a recipe: mini-batches, losses, Adam, the schedule of beta."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvae.errors import DataError
from dvae.training.checkpoint import TrainingState
from dvae.training.ensemble import Ensemble
from dvae.training.objective import labelled_terms
from dvae.training.recipes import Recipe
from dvae.training.streams import LABELLED, batch_indices, latent_noise

__all__ = ["RECORDED", "Labels", "Members", "Trainer"]

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
        if index.size and index.dtype.kind not in "iu":
            raise DataError(f"labelled samples are numbered by integers, not by {index.dtype}")
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


@dataclass(frozen=True)
class Members:
    """What may differ between the members of an ensemble."""

    seeds: tuple[int, ...]
    beta: np.ndarray
    learning_rate: np.ndarray
    subsets: tuple[np.ndarray, ...]
    labels: tuple[Labels, ...] | None

    def weights(self, features: Tensor) -> Float[Tensor, "member sample"]:
        """1 where a sample belongs to a member's training data, else 0."""
        weights = features.new_zeros(len(self.seeds), len(features))
        for row, subset in zip(weights, self.subsets, strict=True):
            row[torch.from_numpy(subset)] = 1.0
        return weights

    def digest(self) -> str:
        """Hash of everything here."""
        numbers = (self.seeds, self.beta.tolist(), self.learning_rate.tolist())
        sizes = ([len(s) for s in self.subsets], [len(own.index) for own in self.labels or ()])
        digest = hashlib.sha256(repr((numbers, sizes)).encode())
        for subset in self.subsets:
            digest.update(np.ascontiguousarray(subset, dtype=np.int64).tobytes())
        for labels in self.labels or ():
            digest.update(np.ascontiguousarray(labels.index, dtype=np.int64).tobytes())
            digest.update(np.ascontiguousarray(labels.theta, dtype=np.float64).tobytes())
        return digest.hexdigest()


class Trainer:
    """One ensemble, its data and its optimiser; :meth:`advance` runs some steps.

    A step reads ``inputs`` (tensors of fixed shape) and updates the state in place, without
    synchronising with the host, so that on a GPU it is captured once as a CUDA graph.
    """

    def __init__(self, ensemble: Ensemble, features: Tensor, recipe: Recipe, members: Members):
        self.ensemble, self.features, self.recipe = ensemble, features, recipe
        self.members = members
        device, dtype = features.device, features.dtype
        m, template = ensemble.n_members, ensemble.template
        self.total_nodes = template.total_nodes
        tensor = functools.partial(torch.tensor, dtype=dtype, device=device)
        self.final_beta = tensor(members.beta)
        self.data_variance = template.decoder.data_variance(features)
        beta = self.final_beta.clone()
        if recipe.reconstruction_steps or recipe.schedule == "ramp":
            beta.fill_(recipe.beta_initial)
        self.state = TrainingState(
            parameters=ensemble.parameters.detach().clone(),
            first_moment=torch.zeros_like(ensemble.parameters),
            second_moment=torch.zeros_like(ensemble.parameters),
            beta=beta,
            alive=torch.ones(m, dtype=torch.bool, device=device),
            buffers=ensemble.buffers,
        )
        self.inputs = {k: v[0].clone() for k, v in self.draw(0, 1).items()}
        if members.labels is not None:
            weight = [recipe.label_weight * bool(len(labels.index)) for labels in members.labels]
            self.label_weight = tensor(weight)
        self.record = torch.zeros(len(RECORDED), m, dtype=dtype, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def restore(self, state: TrainingState) -> None:
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
            for seed, labels in zip(members.seeds, members.labels, strict=True):
                # a member without labels reads sample 0 with weight 0
                rows, values = np.zeros(1, int), np.zeros((1, template.n_latents))
                if len(labels.index):
                    rows, values = np.asarray(labels.index), np.asarray(labels.theta)
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
            terms = part.loss_terms(parameters, *batch, in_dims=(0, 0, None))
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
        loss = distortion / self.total_nodes + beta * rate
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
            # the sum of squares too must be finite: an infinite second moment never comes back
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            finite = torch.isfinite(loss) & torch.isfinite(norm[:, 0])
            state.alive &= finite
            alive = state.alive
            gradient = torch.where(alive[:, None], gradient, 0.0)
            if self.recipe.gradient_norm is not None:
                shorter = self.recipe.gradient_norm / (norm + 1e-6)  # as torch's clip_grad_norm_
                # 0 times the NaN of a frozen member would be NaN
                gradient = gradient * torch.where(alive[:, None], shorter.clamp_max(1.0), 0.0)
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
            self.record.copy_(torch.stack([rate, distortion, state.beta * self.total_nodes, label]))
            state.beta.copy_(torch.where(alive, self._next_beta(distortion), state.beta))

    def _next_beta(self, distortion: Tensor) -> Tensor:
        """Weight of the rate at the next step: constant, then the schedule."""
        recipe, beta, final = self.recipe, self.state.beta, self.final_beta
        if recipe.schedule == "jump":
            grown = final
        elif recipe.schedule == "ramp":
            first = torch.full_like(final, recipe.beta_initial)  # the weight may fall from there
            grown = beta * (final / first) ** (1 / recipe.ramp_steps)
            grown = torch.clamp(grown, torch.minimum(first, final), torch.maximum(first, final))
        else:
            per_node = distortion / self.total_nodes
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
        with self.ensemble.arithmetic():
            for k in range(n_steps):
                for name, value in self.inputs.items():
                    value.copy_(drawn[name][k])
                step()
                records.append(self.record.clone())
        self.state.step += n_steps
        return torch.stack(records)
