"""The kept table of claims: what is decided anew, and never older than what it follows from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from dvae import verdicts
from dvae.errors import UnknownNameError
from dvae.verdicts import decided_claims


@pytest.fixture
def root(root, tmp_path):
    """Folder with two stored results."""
    for name in ("darcy", "model_size"):
        shutil.copytree(root / "results" / name, tmp_path / "results" / name)
    return tmp_path / "results"


@pytest.fixture
def decisions(monkeypatch):
    """Counts how often the claims are decided."""
    calls, decide = [], verdicts._decide
    monkeypatch.setattr(verdicts, "_decide", lambda root: calls.append(root) or decide(root))
    return calls


def test_it_is_the_table_and_is_decided_once(root, decisions):
    from dvae.claims import claims_table
    from dvae.results.store import Store

    table = claims_table(store=Store(root)).reset_index()
    expected = json.loads(json.dumps(table.to_dict("records")))
    assert {row["claim"]: row["verdict"] for row in expected}["D2"] == "reproduced"
    assert decided_claims(root) == decided_claims(root) == expected
    assert [row["claim"] for row in decided_claims(root, ["M1", "D1"])] == ["M1", "D1"]
    assert len(decisions) == 1


def test_it_is_decided_anew_after_any_change(root, decisions, monkeypatch):
    decided_claims(root)
    result = root / "model_size" / "laptop.nc"
    content = result.read_bytes()
    result.write_bytes(content[:-1])  # a damaged file decides nothing
    assert {row["claim"]: row["verdict"] for row in decided_claims(root)}["A1"] == "not yet run"
    result.write_bytes(content)
    decided_claims(root)
    monkeypatch.setattr(verdicts.metadata, "version", lambda name: "another")
    decided_claims(root)
    (root / ".cache" / "claims.json").write_text('{"key"')
    decided_claims(root)
    assert len(decisions) == 5


def test_every_rule_and_threshold_is_part_of_the_digest(root, monkeypatch, tmp_path):
    package = tmp_path / "dvae"
    shutil.copytree(verdicts.Path(verdicts.__file__).parent, package)
    monkeypatch.setattr(verdicts, "__file__", str(package / "verdicts.py"))
    seen = {verdicts._digest(root)}
    changed = ("conventions.py", "claims/rules_darcy.py", "analysis/scores.py", "results/store.py")
    for name in changed:
        with open(package / name, "a", encoding="utf-8") as file:
            file.write("# changed\n")
        seen.add(verdicts._digest(root))
    assert len(seen) == 1 + len(changed)


def test_a_folder_that_cannot_be_written_to_is_no_error(root, decisions, monkeypatch):
    def refuse(path):
        raise verdicts.DvaeError("read-only")

    monkeypatch.setattr(verdicts, "atomic_path", refuse)
    assert decided_claims(root) == decided_claims(root)
    assert len(decisions) == 2
    assert decided_claims(root / "missing")[0]["verdict"] == "not yet run"
    assert not (root / "missing").exists()


def test_unknown_row(root):
    with pytest.raises(UnknownNameError, match=r"X1.*choose one of D1"):
        decided_claims(root, ["X1"])


def test_what_is_kept_is_read_without_the_libraries_that_decide(root):
    decided_claims(root)
    code = f"""
import sys
from pathlib import Path
from dvae.verdicts import decided_claims
assert len(decided_claims(Path({str(root)!r}))) > 20
print(*[name for name in ("numpy", "pandas", "scipy", "xarray", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
