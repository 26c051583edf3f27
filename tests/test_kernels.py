"""The tools that measure how far comparisons are from failing under other kernels."""

import ast
import json

import numpy as np
import pytest

import kernels
import margins


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(margins, "found", {})
    return margins.found


def test_margin_of_a_difference_is_what_is_allowed_over_what_is_there(found):
    margins.closeness([1.0, 2.0, 3.0], [1.0, 2.0 + 1e-9, 3.0], 0.0, 1e-8)
    margins.closeness([1.0], [1.0], 0.0, 1e-8)  # equal: no margin
    margins.closeness("one", "two", 0.0, 1e-8)  # nor have words
    (margin,) = found.values()
    assert margin == pytest.approx(10.0, rel=1e-6)  # this one counts too where margins are watched


def test_margin_of_an_inequality_is_the_ratio_of_its_sides(found):
    assert margins.inequality("7", 1.0, "lt", 3.0, "le", 12.0) is True
    assert found.pop("7") == 3.0
    values = np.array([0.1, 0.4, -5.0])
    assert margins.inequality("8", 0.8, "gt", values).all()
    assert found.pop("8") == 2.0
    assert not margins.inequality("9", 3, "lt", 2)  # counts have no margin
    assert margins.inequality("9", -1.0, "lt", 2.0)  # nor has a comparison across zero
    assert not found


def test_inequalities_inside_of_an_assertion_are_watched():
    tree = ast.parse("(abs(x) < 1e-3 * y).all() and len(x) == 3", mode="eval")
    text = ast.unparse(margins.Inequalities().visit(tree))
    assert "inequality('1', abs(x), 'lt', 0.001 * y).all() and len(x) == 3" in text


def test_small_margins_are_those_that_a_kernel_changes():
    def table(kernel, **margins):
        head = {"kernel": kernel, "environment": {}, "selection": [], "ran": ["some library"]}
        return head | {"passed": 3, "failed": [], "margins": margins}

    tables = [table("one", edge=1.1, draws=1.05, wide=50.0), table("two", edge=4.0, draws=1.05)]
    tables[1]["margins"]["wide"] = 20.0
    tables.append({"kernel": "three", "environment": {}, "selection": [], "ran": []})
    combined = kernels.combine(tables, below=3.0)
    assert [row["test"] for row in combined["small_margins"]] == ["edge"]
    assert combined["small_margins"][0]["kernel"] == "one"
    assert [row.get("worst_margin") for row in combined["kernels"]] == [1.1, 4.0, None]
    assert [row.get("margins_below") for row in combined["kernels"]] == [1, 0, None]
    assert "passed" not in combined["kernels"][2]


def test_what_a_kernel_gave_is_kept_for_the_same_tests_and_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "SCRATCH", tmp_path)
    at = {"commit": "abc1234"}
    monkeypatch.setattr(kernels, "provenance", lambda: at)
    assert kernels.kept("haswell", ["tests"]) is None
    stored = kernels.heading("haswell", ["tests"]) | {"ran": [], "commit": "abc1234"}
    (tmp_path / "haswell.json").write_text(json.dumps(stored))
    assert kernels.kept("haswell", ["tests"]) == stored
    assert kernels.kept("haswell", ["tests/physics"]) is None
    at["commit"] = "abc1235"
    assert kernels.kept("haswell", ["tests"]) is None


def test_the_environment_of_a_kernel(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert "MKL_CBWR" not in kernels.environment("haswell")
    assert kernels.environment("prescott")["MKL_CBWR"] == "COMPATIBLE"
    assert kernels.environment("haswell")["OMP_NUM_THREADS"] == "1"
    assert kernels.environment("haswell-2-threads")["OMP_NUM_THREADS"] == "2"
