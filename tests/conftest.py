"""For every test: a fixed seed and no windows; for nbval: which outputs are not compared."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import matplotlib as mpl
import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

mpl.use("Agg")

ROOT = Path(__file__).resolve().parents[1]

# kernels do not read the profile of whoever runs the tests
os.environ.setdefault("IPYTHONDIR", str(ROOT / "_build" / "ipython"))

# Warnings and progress bars, and everything that is drawn: it differs between machines by design.
NOT_COMPARED = (
    "stderr",
    "text/html",
    "text/latex",
    "image/svg+xml",
    "application/javascript",
    "application/vnd.plotly.v1+json",
    "application/papermill.record/image/png",
    "application/papermill.record/image/svg+xml",
    "application/papermill.record/text/html",
)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tell nbval what to leave out (its own way of being configured)."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Seed every global generator, so that a test does not depend on those before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (a guard for libraries that use it)
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Undo what a command sets in the environment: kernels of later notebooks would inherit it."""
    before = os.environ.copy()
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _annotations(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check no annotations where a test passes a wrong type to see what the library says."""
    if request.node.get_closest_marker("wrong_types"):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


CHECKED_STEPS = 5


@pytest.fixture(autouse=True)
def _annotations_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check annotations in the first steps of a training: those after them make the same calls.

    A third of the time of the tests that train goes into the checks otherwise.
    """
    # not at the top: what is imported before the checks are switched on is not checked
    from dvae.training.trainer import Trainer

    step = Trainer._step

    def checked_at_first(self: Trainer) -> None:
        taken = self.__dict__["steps_taken"] = self.__dict__.get("steps_taken", 0) + 1
        with pytest.MonkeyPatch.context() as patch:
            if taken > CHECKED_STEPS:
                patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
            step(self)

    monkeypatch.setattr(Trainer, "_step", checked_at_first)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing after training: figures take longer than the few steps of a test."""
    monkeypatch.setattr("dvae.workflow.train.draw_figures", lambda *arguments: None)
    monkeypatch.setattr("dvae.workflow.train.figure_names", lambda *arguments: [])


@pytest.fixture
def root() -> Path:
    """The project's top folder."""
    return ROOT


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for the tests of one file; where there is none they say so and are skipped."""
    from bookkit.browser import MISSING, find_browser, open_browser

    if find_browser() is None:
        pytest.skip(MISSING)
    with open_browser() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A new page, and the list of what goes wrong on it."""
    from bookkit.browser import open_page

    with open_page(browser) as (page, wrong):
        yield page, wrong
