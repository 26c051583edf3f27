r"""Every figure of the book in one style: arrays in, a matplotlib figure out.

No function here trains, loads or scores anything. Arrays are numpy arrays, torch tensors or xarray
arrays, laid out as everywhere in the library: sample, channel, :math:`x_1`, :math:`x_2`. Images
show :math:`x_1` along the horizontal and :math:`x_2` along the vertical axis. All quantities of the
Darcy problem are dimensionless; rates and distortions are in nats per sample, with the paper's
units (per node) on a second axis. ``n_nodes`` is the number of nodes along a side of the grid,
which has ``n_nodes ** 2`` nodes.

Figures come back closed, that is, unknown to pyplot: a notebook cell that ends in
``plot_...(...)`` shows its figure once, and none stays in memory. In a script, use
``figure.savefig``. Where a function takes ``figure``, pass a ``SubFigure`` to compose plots.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
