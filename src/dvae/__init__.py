"""Variational autoencoders that disentangle the generative factors of physical fields."""

import lazy_loader as _lazy

# names are imported when they are first used: `dvae --help` takes no second for torch
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

__version__ = "0.1.0"
