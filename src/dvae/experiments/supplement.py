"""The reference network and the plain ones of the architecture study (row P2)."""

from dvae.experiments.architecture import PLAIN, REFERENCE

__all__ = ["PLAIN", "REFERENCE"]
