"""From a file of fields to trained models, scores and figures: what ``dvae train`` runs."""

from dvae.workflow.train import train_file

__all__ = ["train_file"]
