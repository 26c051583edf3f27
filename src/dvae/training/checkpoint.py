"""The state of a training, and its checkpoints: safetensors, written beside and renamed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dvae.errors import ResultError
from dvae.tensors import read_tensors, write_tensors

__all__ = ["TrainingState", "load_checkpoint", "save_checkpoint"]


@dataclass
class TrainingState:
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


def save_checkpoint(path: str | os.PathLike, state: TrainingState, identity: str) -> None:
    """Write a training state: safetensors, written beside, synced and renamed."""
    metadata = {"identity": identity, "step": str(state.step), "seconds": repr(state.seconds)}
    write_tensors(path, state.tensors(), metadata)


def load_checkpoint(path: str | os.PathLike, identity: str, device: torch.device) -> TrainingState:
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
            f"checkpoint {path} belongs to a run with other data, model, recipe or seeds, or on a "
            f"machine that rounds differently; {advice}"
        )
    history = tensors.pop("history", None)
    buffers = {k[7:]: v.to(device) for k, v in tensors.items() if k.startswith("buffer.")}
    return TrainingState(
        **{k: v.to(device) for k, v in tensors.items() if not k.startswith("buffer.")},
        buffers=buffers,
        step=int(metadata["step"]),
        seconds=float(metadata["seconds"]),
        history=[] if history is None else [history],
    )
