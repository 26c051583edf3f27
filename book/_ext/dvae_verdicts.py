"""Sphinx extension: ``{verdict}`M2``` is the verdict on a row of the claims, with a link to it.

The verdicts are those of ``dvae claims``, decided when the pages are built.
"""

from __future__ import annotations

from functools import cache

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from dvae.claims import badge
from dvae.storage import results_folder
from dvae.verdicts import decided_claims


@cache
def verdicts() -> dict[str, str]:
    """Verdicts by row."""
    return {row["claim"]: row["verdict"] for row in decided_claims(results_folder())}


class VerdictRole(SphinxRole):
    """The name of a row as a link to the page of claims, then its badge."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the nodes; a row that does not exist is an error of the page."""
        if self.text not in verdicts():
            message = self.inliner.reporter.error(f"there is no claim {self.text!r}")
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        link = pending_xref(
            "",
            nodes.inline(self.text, self.text),
            refdomain="std",
            reftype="ref",
            reftarget=f"claim-{self.text.lower()}",
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        html = nodes.raw("", f" {badge(verdicts()[self.text])}", format="html")
        return [nodes.inline("", "", link, html, classes=["claim-verdict"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_role("verdict", VerdictRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
