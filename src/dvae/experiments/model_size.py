"""Row A1: how many parameters the networks have (sections 4.2 and 5.2)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dvae.models import DenseVAE, count_parameters
from dvae.results.trials import Experiment, Group

__all__ = ["MODEL_SIZE"]

PRIORS = ("standard", "hierarchical", "hierarchical-rectified")


def _groups(profile: str) -> list[Group]:
    blocks = {"default": (3, 4, 6, 4, 3), "as configured": (4, 6, 4)}
    return [
        Group(
            {"model": "dense", "blocks": sizes, "variance": "learned", "network": name},
            tuple({"prior": prior} for prior in PRIORS),
        )
        for name, sizes in blocks.items()
    ]


def _compute(group: Group, **_) -> xr.Dataset:
    counts = [
        count_parameters(
            DenseVAE(blocks=tuple(group.shared["blocks"]), prior=trial["prior"]).use_variance(
                group.shared["variance"]
            )
        )
        for trial in group.trials
    ]
    m = len(counts)
    return xr.Dataset(
        {"parameters": ("trial", np.array(counts))},
        coords={
            "network": ("trial", [group.shared["network"]] * m),
            "prior": ("trial", [trial["prior"] for trial in group.trials]),
        },
    )


MODEL_SIZE = Experiment(
    "model_size",
    "Parameters of DenseVAE with every prior (sections 4.2 and 5.2)",
    1,
    _groups,
    _compute,
    trained=False,
)
