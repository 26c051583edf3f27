"""The frame of the claims: registry, verdicts, table, and what may not be imported."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import xarray as xr

from dvae.claims import CLAIMS, VERDICTS, Results, claims_table, decide, markdown
from dvae.claims.frame import either, grade
from dvae.errors import DataError, ResultError, UnknownNameError
from dvae.results.store import Store
from dvae.runner import run_experiment

PARTS = {"D": 2, "A": 1, "T": 1, "L": 5, "N": 3, "G": 1, "M": 6, "S": 4, "P": 4}
ROWS = [f"{letter}{n}" for letter, count in PARTS.items() for n in range(1, count + 1)]
ROWS += ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11", "E12", "E13", "E14"]


def test_every_row_has_a_rule_in_words():
    assert list(CLAIMS) == ROWS
    for claim in CLAIMS.values():
        assert len(claim.rule) > 40, claim.name
        assert claim.chapter.startswith("chapter-")


def test_nothing_stored_decides_nothing(tmp_path):
    assert set(claims_table(store=Store(tmp_path))["verdict"]) == {"not yet run"}


def test_a_smoke_result_decides_nothing(tmp_path):
    store = Store(tmp_path)
    run_experiment("directions", "smoke", workers=1, store=store, progress=False)
    row = claims_table(["L2"], store).loc["L2"]
    assert row["verdict"] == "not yet run"
    assert "smoke" in row["ours"]
    assert row["trials"] == 0


def test_table_of_the_stored_results():
    table = claims_table(["D1", "L2", "S1"])
    assert set(table["verdict"]) <= set(VERDICTS)
    assert json.loads(json.dumps(table.reset_index().to_dict("records")))
    text = markdown(table, "A caption.", "table-x")
    assert text.startswith(":::{table} A caption.\n:name: table-x\n:class: claims-table\n")
    assert text.count("\n| ") == 1 + len(table)


def test_statements_and_findings_are_sentences_that_stand_alone():
    """No chains at semicolons, no numbers as a computer writes them, statements of two at most."""
    for name, row in claims_table().iterrows():
        texts = [row["statement"]] + [row["ours"]] * (row["verdict"] != "not yet run")
        for text in texts:
            assert text[0].isupper() or text[0].isdigit(), name
            assert text.endswith("."), name
            assert ";" not in re.sub(r"\([^)]*\)", "", text), name
            assert not re.search(r"e-0\d|_0", text), name
        assert len(re.findall(r"\. [A-Z]", row["statement"])) < 2, name


def test_every_finding_names_its_network():
    untrained = {"D1", "D2"}  # of the data
    for name, row in claims_table().iterrows():
        named = re.search(r"\b(Pod|Dense)VAEs?\b", row["ours"])
        assert row["verdict"] == "not yet run" or (named is None) == (name in untrained), name


def test_the_network_stands_before_a_finding_and_not_before_what_is_missing(tmp_path):
    assert CLAIMS["E5"].network == "PodVAE"
    assert decide("E5").ours.startswith("PodVAE: ")
    assert "PodVAE" not in decide("E5", Results(Store(tmp_path))).ours


def test_unknown_row():
    with pytest.raises(UnknownNameError, match=r"X1.*choose one of D1"):
        decide("X1")


def test_results_are_read_once(monkeypatch, tmp_path):
    calls = []

    def load(store, name):
        calls.append(name)
        kinds = {"kind": ("trial", ["fields"]), "n_modes": ("trial", [2])}
        kinds["settings"] = ("trial", ["{}"])
        data = xr.Dataset({"imbalance": (("trial", "sample"), [[0.0, 0.0]])}, kinds)
        return data.assign_attrs(profile="laptop", trials=7, commit="abc")

    monkeypatch.setattr(Store, "load", load)
    store = Store(tmp_path)
    store.path("darcy", "laptop").parent.mkdir()
    store.path("darcy", "laptop").touch()
    results = Results(store)
    assert decide("D1", results) == decide("D1", results)
    assert results.source(["darcy"])["trials"] == 7
    assert calls == ["darcy"]


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ((True, True), "reproduced"),
        ((True, False), "partly"),
        ((False, False), "not reproduced"),
    ],
)
def test_parts_give_a_verdict(parts, verdict):
    assert grade(*parts) == verdict


def test_no_part_gives_none():
    with pytest.raises(ResultError, match="no run"):
        grade()


@pytest.mark.parametrize(
    ("whole", "some", "verdict"),
    [
        (True, False, "reproduced"),
        (False, True, "partly"),
        (False, False, "not reproduced"),
    ],
)
def test_a_weaker_form_counts_only_if_the_whole_fails(whole, some, verdict):
    assert either(whole, some) == verdict


def test_rules_train_nothing_and_take_no_time_for_what_trains(root):
    """Deciding imports neither experiments nor models, nor what takes seconds to import."""
    code = """
import sys
from dvae.claims import claims_table
claims_table()
heavy = ("torch", "sklearn", "matplotlib", "seaborn", "plotly", "scipy.stats", "scipy.optimize")
layers = ("experiments", "models", "training", "physics", "runner", "plotting", "chapters")
unwanted = [*heavy, *(f"dvae.{name}" for name in layers)]
print([name for name in unwanted if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_a_brief_table_has_the_first_sentence_of_a_long_finding():
    found = "A first sentence that says the most important thing of all of them. " + "More. " * 60
    columns = {"statement": "It is so.", "where": "fig. 1", "paper": "so", "ours": found}
    table = pd.DataFrame([columns | {"verdict": "partly"}], index=["X1"])
    whole, brief = (markdown(table, "Claims.", "table-x", brief=b) for b in (False, True))
    assert "of all of them. More." in whole and whole.count("More.") == 60
    assert "of all of them. |" in brief and "More" not in brief


def test_results_that_cannot_be_judged_leave_a_row_open(monkeypatch):
    def without_runs(results):
        raise DataError("there are no values")

    claim = dataclasses.replace(CLAIMS["E9"], decide=without_runs)
    monkeypatch.setitem(CLAIMS, "E9", claim)
    found = decide("E9", Results())
    assert found.verdict == "undecided" and "cannot be judged: there are no values" in found.ours
