"""Every figure is drawn in the book's style and leaves nothing behind."""

import matplotlib.pyplot as plt
import pytest

from dvae import plotting


@pytest.fixture(autouse=True)
def style():
    """Draw under the book's style, and let no figure stay behind in pyplot."""
    with plt.rc_context():
        plotting.use_style()
        yield
    assert plt.get_fignums() == []
