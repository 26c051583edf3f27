"""Terms of the semi-supervised objective (section 6)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import kl_divergence

from dvae.models.priors import diagonal_normal
from dvae.models.vae import VAE, LossTerms
from dvae.training.recipes import Recipe

__all__ = ["labelled_terms"]


def labelled_terms(
    recipe: Recipe,
    model: VAE,
    features: Tensor,
    noise: Float[Tensor, "sample noise"],
    floor: Tensor | None,
    labelled: Tensor,
    theta: Float[Tensor, "labelled latent"],
) -> tuple[LossTerms, Float[Tensor, " labelled"]]:
    """Rate and distortion of a mini-batch and the label term of labelled samples, in nats.

    Both batches pass the encoder in one, so batch normalisation sees them together. The label
    term is -log q(theta|y) for eq. 28, and -KL[q(z|y) || N(theta, label_variance I)] for eq. 27,
    which is not bounded below in the encoder's mean. "eq27-reversed" is the second with the other
    sign, which pulls the encoder to the label instead of pushing it away.

    Parameters
    ----------
    recipe : Recipe
        Its ``semi_supervision`` and ``label_variance`` choose the term.
    model : VAE
        Model.
    features, labelled : Tensor
        Features of unlabelled and labelled samples.
    noise : Tensor (sample, noise_size)
        As for :meth:`VAE.loss_terms`.
    floor : Tensor, optional
        As for :meth:`VAE.loss_terms`.
    theta : Tensor (labelled, latent)
        Factors of the labelled samples.
    """
    n = len(features)
    every = model.encoder.from_features(torch.cat([features, labelled])).base_dist
    mean, log_variance = every.loc, 2 * every.scale.log()
    posterior = diagonal_normal(mean[:n], log_variance[:n])
    terms = model.loss_terms(features, noise, floor, posterior)
    encoded = diagonal_normal(mean[n:], log_variance[n:])
    if recipe.semi_supervision == "eq28":
        return terms, -encoded.log_prob(theta)
    known = torch.full_like(theta, recipe.label_variance).log()
    divergence = kl_divergence(encoded, diagonal_normal(theta, known))
    return terms, divergence if recipe.semi_supervision == "eq27-reversed" else -divergence
