"""From a file of fields to trained models, scores and figures, and on from there."""

from dvae.workflow.inspection import Inspection, inspect_file
from dvae.workflow.runs import TrainedRun, load_run
from dvae.workflow.train import train_file

__all__ = ["Inspection", "TrainedRun", "inspect_file", "load_run", "train_file"]
