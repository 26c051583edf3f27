"""Experiments of the book: each declares its trials and reduces them to a labelled result."""

from dvae.experiments.registry import EXPERIMENTS, find_experiment

__all__ = ["EXPERIMENTS", "find_experiment"]
