"""A browser for the tests of pages; where there is none they say so and are skipped."""

from __future__ import annotations

import pytest

from bookkit.browser import MISSING, find_browser, open_browser, open_page


@pytest.fixture(scope="module")
def browser():
    """Chromium for the tests of one file."""
    if find_browser() is None:
        pytest.skip(MISSING)
    with open_browser() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """A new page, and the list of what goes wrong on it."""
    with open_page(browser) as (page, wrong):
        yield page, wrong
