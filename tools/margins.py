"""A pytest plugin that measures how far every numerical comparison is from failing.

``PYTHONPATH=tools pytest -p margins --margins FILE`` writes, for each test, the smallest margin of
each line that compares floating-point numbers: how many times the difference that was found fits
into the one that is allowed (``assert_allclose``, ``assert_close``, ``allclose``, ``approx``), or
the ratio of the two sides of an asserted inequality. ``tools/kernels.py`` runs it under several
linear-algebra kernels: a comparison that stands on the edge of rounding has a small margin that
changes with the kernel.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import operator
import sys
from pathlib import Path

import numpy as np
import pytest
from _pytest.assertion import rewrite

ORDER = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
TESTS = str(Path(__file__).resolve().parents[1] / "tests")
found: dict[str, float] = {}  # smallest margin per line of the test that runs now


def record(margin: float, where: str | None = None) -> None:
    """Keep the smallest margin of each line of a test."""
    if where is None:
        frame = sys._getframe(1)
        while frame and not frame.f_code.co_filename.startswith(TESTS):
            frame = frame.f_back
        where = str(frame.f_lineno) if frame else "?"
    if np.isfinite(margin) and margin > 0:
        found[where] = min(float(margin), found.get(where, np.inf))


def array(x) -> np.ndarray:
    """Numbers of any library as float64 (int and bool too)."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float64)


def closeness(actual, expected, rtol: float, atol: float) -> None:
    """Record the margin of ``|actual - expected| <= atol + rtol |expected|``."""
    try:
        actual, expected = np.broadcast_arrays(array(actual), array(expected))
    except (TypeError, ValueError):
        return  # not numbers, or shapes that do not fit: the comparison itself will tell
    with np.errstate(all="ignore"):
        margin = (atol + rtol * np.abs(expected)) / np.abs(actual - expected)
    if margin.size:
        record(np.nanmin(margin, initial=np.inf))


def watched(function, rtol: float | None, atol: float | None):
    """Comparison of two arrays that records its margin; tolerances None: torch's, by dtype."""

    @functools.wraps(function)
    def compare(actual, expected, *args, **options):
        r, a = [*args, None, None][:2]
        r, a = options.get("rtol", r), options.get("atol", a)
        if rtol is None and r is None and a is None:
            import torch

            single = torch.float32 in (getattr(x, "dtype", None) for x in (actual, expected))
            r, a = (1.3e-6, 1e-5) if single else (1e-7, 1e-7)
        closeness(actual, expected, rtol if r is None else r, atol if a is None else a)
        return function(actual, expected, *args, **options)

    return compare


def inequality(where: str, left, *rest):
    """``left < middle < right``: its value, and the ratios of its sides recorded."""
    value = True
    for name, right in zip(rest[::2], rest[1::2], strict=True):
        small, large = (left, right) if name in ("lt", "le") else (right, left)
        if not isinstance(left, int) or not isinstance(right, int):  # counts have no margin
            try:
                small, large = array(small), array(large)
                with np.errstate(all="ignore"):  # of two negative numbers the smaller is the longer
                    ratio = np.where(small > 0, large / small, small / large)
                record(np.nanmin(np.where(small * large > 0, ratio, np.inf), initial=np.inf), where)
            except (TypeError, ValueError):
                pass  # not numbers
        step = getattr(operator, name)(left, right)
        value = step if value is True else (value and step)
        left = right
    return value


class Inequalities(ast.NodeTransformer):
    """``assert a < b`` becomes ``assert inequality(line, a, "lt", b)``, inside of calls too."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if not all(type(op) in ORDER for op in node.ops):
            return node
        parts = [ast.Constant(str(node.lineno)), node.left]
        for op, right in zip(node.ops, node.comparators, strict=True):
            parts += [ast.Constant(ORDER[type(op)]), right]
        call = ast.parse("__import__('margins').inequality()", mode="eval").body
        call.args = parts
        return ast.fix_missing_locations(ast.copy_location(call, node))


def install() -> None:
    """Replace the comparisons; before any test module is imported."""
    import torch

    np.testing.assert_allclose = watched(np.testing.assert_allclose, 1e-7, 0.0)
    np.allclose = watched(np.allclose, 1e-5, 1e-8)
    torch.allclose = watched(torch.allclose, 1e-5, 1e-8)
    torch.testing.assert_close = watched(torch.testing.assert_close, None, None)

    scalar = type(pytest.approx(1.0))
    equal = scalar.__eq__

    def __eq__(self, actual):  # noqa: N807
        with contextlib.suppress(TypeError, ValueError):
            closeness(actual, self.expected, 0.0, self.tolerance)
        return equal(self, actual)

    scalar.__eq__ = __eq__

    rewrite_asserts = rewrite.rewrite_asserts

    def rewritten(tree, source, *args, **options):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                node.test = Inequalities().visit(node.test)
        return rewrite_asserts(tree, source, *args, **options)

    rewrite.rewrite_asserts = rewritten
    rewrite.PYC_TAIL = "-margins" + rewrite.PYC_TAIL  # not among the compiled tests of other runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--margins", metavar="FILE", help="where to write the margins (JSON)")


def pytest_configure(config: pytest.Config) -> None:
    install()
    if not hasattr(config, "workerinput"):  # of pytest-xdist: only the process that collects
        config.pluginmanager.register(Table(config.getoption("margins")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    found.clear()
    try:
        return (yield)
    finally:
        item.user_properties.append(("margins", dict(found)))


class Table:
    """Collects what the tests reported and writes it at the end of the run."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.passed, self.failed, self.margins = 0, [], {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when != "call" or report.skipped:
            return
        self.passed += report.passed
        for line, margin in dict(report.user_properties).get("margins", {}).items():
            # Below 1 in a test that passed: the two were meant to differ.
            if margin >= 1 or report.failed:
                self.margins[f"{report.nodeid} line {line}"] = margin

    def pytest_sessionfinish(self) -> None:
        if self.path:
            table = {"passed": self.passed, "failed": self.failed, "margins": self.margins}
            Path(self.path).write_text(json.dumps(table, indent=1) + "\n")
