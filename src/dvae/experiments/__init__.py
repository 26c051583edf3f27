"""Experiments of the book: each declares its trials and reduces them to a labelled result."""

from dvae.experiments.disentanglement import disentanglement

EXPERIMENTS = {one.name: one for one in (disentanglement,)}

__all__ = ["EXPERIMENTS"]
