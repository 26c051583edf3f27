"""The pages of claims and of the paper's figures: complete, told apart, and worked by keys."""

from __future__ import annotations

import re
import shutil
from itertools import chain, cycle
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx

from bookkit import front
from bookkit.chapters import ROOT, all_chapters
from bookkit.claims_page import claims_page
from bookkit.generated import _stored_results
from bookkit.paper_figures import FIGURES, STATEMENTS, SUPPLEMENT, figures_page, places
from dvae.claims import CLAIMS, VERDICTS, badge, claims_table
from dvae.claims.words import typeset
from dvae.experiments import EXPERIMENTS
from dvae.results.store import Store

TITLES = {chapter.label: chapter.title for chapter in all_chapters()}
ROWS = (*FIGURES, *SUPPLEMENT, *STATEMENTS)
TEXTS = {path.name: path.read_text() for path in sorted((ROOT / "book").glob("*.md"))}
STYLE = (ROOT / "book" / "_static" / "book.css").read_text()
LONG = "A first sentence of more than sixty characters (1; 2. And 3), as many have; "
LONG += "S_D by eq. 28 is in it. " + "More " * 60
FIRST = LONG.index(" More")
SHOWN = """[...document.querySelectorAll("article.claim")].filter((card) => card.offsetHeight)
  .map((card) => card.dataset.claim)"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """All claims, with every verdict among them and long texts."""
    table = claims_table(store=Store(tmp_path_factory.mktemp("store")))
    names = [name for name, _ in zip(cycle(VERDICTS), table.index, strict=False)]
    scopes = [". ".join(f"`{one}`: 7 trials" for one in own) for own in table["experiments"]]
    return table.assign(verdict=names, ours=LONG, scope=scopes)


@pytest.fixture(scope="module")
def pages(table, tmp_path_factory):
    """Both pages as Sphinx builds them, in a book of stubs that has every label of ours."""
    folder = tmp_path_factory.mktemp("pages")
    source = folder / "source" / "book"
    source.mkdir(parents=True)
    for label, title in TITLES.items():
        (source / f"{label}.md").write_text(f"({label})=\n# {title}\n")
    labels = {label for name in CLAIMS for label in places(name)} | set(labels_in(figures_page()))
    stubs = [f"```{{code-block}} text\n:name: {x}\n:caption: {x}\n\n{x}\n```" for x in labels]
    stubs += [f"[{name}]{{#result-{name}}}" for name in {*chain(*table["experiments"])}]
    (source / "stubs.md").write_text("# Stubs\n\n" + "\n\n".join(stubs))
    (source / "claims.md").write_text("# Claims\n\n" + claims_page(table, TITLES))
    (source / "figures.md").write_text("# Figures\n\n" + figures_page())
    (source.parent / "index.md").write_text("# Index\n\n```{toctree}\n:glob:\nbook/*\n```\n")
    settings = {
        "extensions": ["myst_parser", "dvae_verdicts"],
        "myst_enable_extensions": ["attrs_inline", "colon_fence"],
        "numfig": True,
        "html_theme": "basic",
        "html_static_path": [str(ROOT / "book" / "_static")],
        "html_css_files": ["book.css"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "book" / "_ext")
        import dvae_verdicts

        patch.setattr(dvae_verdicts, "verdicts", lambda: dict(table["verdict"]))
        app = Sphinx(
            *(str(source.parent), None, str(folder / "html"), str(folder / "trees"), "html"),
            confoverrides=settings,
            status=None,
            warningiserror=True,
            keep_going=True,
        )
        app.build()
    assert app.statuscode == 0
    return folder / "html" / "book"


def labels_in(text: str) -> list[str]:
    """Labels that a page refers to by number."""
    return re.findall(r"\{numref\}`([^`]+)`", text)


def test_every_claim_has_a_card_with_its_verdict_places_rule_and_results(table):
    cards = claims_page(table, TITLES).split("<article ")[1:]
    assert len(cards) == len(CLAIMS)
    for card, (name, row) in zip(cards, table.iterrows(), strict=True):
        assert f'data-claim="{name}" data-verdict="{row["verdict"]}"' in card
        assert f'data-chapter="{row["chapter"]}"' in card
        assert f"(claim-{name.lower()})=" in card
        assert badge(row["verdict"]) in card
        assert set(labels_in(card)) == set(places(name))
        assert f"{{ref}}`{row['chapter']}`" in card
        folded = re.findall(r"<details>.*?</details>", card, flags=re.DOTALL)
        assert [LONG[FIRST:].strip() in folded[0], typeset(row["rule"]) in folded[1]] == [True] * 2
        assert r"$\SD$ by eq. 28" in card
        linked = re.findall(r"\{ref\}`\w+ <result-(\w+)>`", folded[1])
        assert linked == list(row["experiments"])


def test_a_result_that_is_not_stored_is_not_linked(tmp_path):
    page = claims_page(claims_table(["M1"], Store(tmp_path)), TITLES)
    assert "**Results.** none is stored." in page
    assert "result-" not in page


def test_the_list_of_results_has_what_the_claims_link_to(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "results" / "darcy", tmp_path / "darcy")
    store = Store(tmp_path)
    monkeypatch.setattr(Store, "default", lambda: store)
    monkeypatch.setattr("dvae.experiments.EXPERIMENTS", {"darcy": EXPERIMENTS["darcy"]})
    assert re.findall(r"\[(\w+)\]\{#result-(\w+)\}", _stored_results()) == [("darcy", "darcy")]
    assert "<result-darcy>" in claims_page(claims_table(["D1"], store), TITLES)


def test_there_is_a_button_for_every_verdict_and_chapter_that_occurs(table):
    page = claims_page(table, TITLES)
    found = re.findall(r'data-kind="(\w+)" value="([^"]+)">.*?class="count">(\d+)<', page)
    for kind in ("verdict", "chapter"):
        counts = {value: int(count) for own, value, count in found if own == kind}
        assert counts == table[kind].value_counts().to_dict()


def test_without_a_script_all_cards_are_shown_and_no_filter(table):
    page = claims_page(table, TITLES)
    assert re.search(r'<form class="claim-filters"[^>]* hidden>', page)
    assert not re.search(r"<article[^>]* hidden", page)


def test_every_verdict_has_a_colour_and_a_symbol_of_its_own():
    symbols = set()
    for verdict in VERDICTS:
        (name,) = re.findall(r"verdict-[\w-]+", badge(verdict))
        assert badge(verdict) in TEXTS["claims.md"]
        (colour,) = re.findall(rf"\.{name} \{{[^}}]*background: (#\w+)", STYLE)
        assert colour == front.LOOKS[verdict][0]
        symbols |= {*re.findall(rf'\.{name}::before \{{\s*content: "(.)";', STYLE)}
    assert len(symbols) == len(VERDICTS)


def test_every_figure_of_the_paper_has_a_row_and_a_counterpart_or_a_reason():
    numbers = [int(re.match(r"fig\. (\d+)", row.where)[1]) for row in FIGURES]
    assert list(dict.fromkeys(numbers)) == list(range(1, 16))
    assert [row.where for row in ROWS if not (row.ours or row.note)] == []


def test_every_claim_rests_on_a_row_and_has_a_place_in_the_book():
    assert {name for row in ROWS for name in row.claims} == set(CLAIMS)
    assert [name for name in CLAIMS if not places(name)] == []


def test_figures_that_the_paper_and_a_claim_share_have_the_same_row():
    """Where a claim names figures of the paper, their rows name the claim."""
    for name, claim in CLAIMS.items():
        for first, last in re.findall(r"figs? ?\.? (\d+)(?:(?: to |, )(\d+))?", claim.where):
            rows = [row for row in FIGURES if name in row.claims]
            wanted = {int(first), int(last or first)}
            found = {int(re.match(r"fig\. (\d+)", row.where)[1]) for row in rows}
            assert wanted & found, name


@pytest.mark.parametrize("label", sorted(set(labels_in(figures_page()))))
def test_what_is_referred_to_is_in_one_chapter(label):
    mark = re.compile(rf'^ *name: {label}$|"{label}"', flags=re.MULTILINE)
    (name,) = [name for name, text in TEXTS.items() if mark.search(text)]
    assert name in {f"{chapter.name}.md" for chapter in all_chapters()}


def test_a_row_of_the_figures_links_its_claims(pages, table):
    text = (pages / "figures.html").read_text()
    for name, verdict in table["verdict"].items():
        link = f'href="claims.html#claim-{name.lower()}"'
        assert re.search(rf"{link}>.*?{name}.*?</a> {re.escape(badge(verdict))}", text), name


def test_a_verdict_on_a_claim_that_does_not_exist_is_an_error_of_the_page(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import dvae_verdicts

    monkeypatch.setattr(dvae_verdicts, "verdicts", dict)
    reporter = SimpleNamespace(error=lambda text: text)
    inliner = SimpleNamespace(reporter=reporter)
    role = dvae_verdicts.VerdictRole()
    _, messages = role("verdict", "{verdict}`X9`", "X9", 1, inliner)
    assert messages == ["there is no claim 'X9'"]


def press_button(page, value: str, key: str = "Space") -> bool:
    """Go to a button of the filters with the tabulator, press it; whether it is pressed then."""
    page.evaluate("() => Object.assign(document.querySelector('h1'), {tabIndex: -1}).focus()")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == value:
            page.keyboard.press(key)
            return page.evaluate("document.activeElement.ariaPressed") == "true"
    raise AssertionError(f"no way by keyboard to {value}")


def test_filters_by_keyboard(opened, pages, table):
    page, wrong = opened
    page.goto((pages / "claims.html").as_uri())
    assert page.evaluate(SHOWN) == list(table.index)
    for verdict, own in table.groupby("verdict"):
        assert press_button(page, verdict)
        assert page.evaluate(SHOWN) == list(own.index)
        assert not press_button(page, verdict, "Enter")

    press_button(page, "partly")
    press_button(page, "undecided")
    press_button(page, "chapter-landscape")
    chosen = table[table["verdict"].isin(["partly", "undecided"])]
    both = chosen[chosen["chapter"] == "chapter-landscape"]
    assert page.evaluate(SHOWN) == list(both.index)
    output = page.locator(".claim-filters output").text_content()
    assert output == f"{len(both)} of {len(table)} claims"
    counts = page.evaluate(
        """Object.fromEntries([...document.querySelectorAll("button[data-kind]")]
        .map((button) => [button.value, +button.querySelector(".count").textContent]))"""
    )
    by_chapter = chosen["chapter"].value_counts()
    expected = {chapter: by_chapter.get(chapter, 0) for chapter in table["chapter"].unique()}
    own = table[table["chapter"] == "chapter-landscape"]["verdict"].value_counts()
    assert counts == expected | {verdict: own.get(verdict, 0) for verdict in VERDICTS}

    page.locator(".claim-filters [type=reset]").press("Enter")
    assert page.evaluate(SHOWN) == list(table.index)
    page.locator(".claim-filters input").press_sequentially("Random DIRECTIONS")
    assert page.evaluate(SHOWN) == ["L2"]
    page.keyboard.press("Enter")  # sends no form
    assert page.evaluate(SHOWN) == ["L2"]
    page.locator(".claim-filters input").fill("S_KL nelder")  # plain, where a formula is shown
    assert page.evaluate(SHOWN) == []
    page.locator(".claim-filters input").fill("S_KL more entangled")
    assert page.evaluate(SHOWN) == ["M6"]
    assert wrong == []


def test_what_is_folded_is_not_printed(opened, pages):
    page, wrong = opened
    page.goto((pages / "claims.html").as_uri())
    hidden = """[...document.querySelectorAll(".claim details, .claim-filters")]
      .map((part) => part.offsetHeight === 0)"""
    assert not any(page.evaluate(hidden))
    page.locator("article.claim:has(#claim-l2) summary").first.click()
    page.emulate_media(media="print")
    assert page.evaluate(hidden).count(False) == 1
    assert wrong == []
