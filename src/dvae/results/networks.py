"""Names of the networks that the result ``architecture`` compares (supplement, section 4.1)."""

from __future__ import annotations

__all__ = ["PLAIN", "REFERENCE"]

REFERENCE = "dense (3, 4, 6, 4, 3), growth 4"  # the paper's
PLAIN = ("convolutional (8, 16, 32)", "convolutional (16, 32, 64)", "fully connected (128, 64)")
