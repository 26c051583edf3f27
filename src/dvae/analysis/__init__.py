"""Scores, divergences, baselines, statistics and rotations of a latent space (sections 2.1, 5)."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
