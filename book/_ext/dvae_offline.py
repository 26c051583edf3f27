"""Sphinx extension: MathJax and plotly from files beside the pages, so that reading needs no net.

MathJax comes from the Python package sphinx-mathjax-offline, of which only the files that the
pages use are copied; plotly's script comes from plotly itself and is copied, and loaded, only
where a page holds a plotly figure written with `include_plotlyjs=False`. The live-kernel launcher
that jupyter-book adds is taken out: it would load from another server. So are the roles of the list
of references, which contradict each other. And pages are read by several processes, and once.
"""

from __future__ import annotations

import functools
import re
import shutil
from importlib.metadata import files
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext import autosummary

# The component that renders, what its macros may load on demand, and its fonts.
MATHJAX_PARTS = ("tex-mml-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")
PLOTLY_MARK = "plotly-graph-div"
CITATION_ROLE = re.compile(
    r'( class="citation[^>]*) role="doc-biblioentry"|(<div) role="list"(?= class="citation)'
)


def _mathjax() -> Path:
    for file in files("sphinx-mathjax-offline") or []:
        if file.name == "tex-mml-chtml.js":
            return Path(file.locate()).parent
    raise FileNotFoundError("sphinx-mathjax-offline holds no MathJax; install it again")


def copy_mathjax(app: Sphinx) -> None:
    """Copy the needed part of MathJax into the pages' static folder."""
    if app.builder.format != "html":
        return
    source, target = _mathjax(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)


def add_plotly(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Load plotly's own script on pages with a plotly figure, before the figure's script runs."""
    if PLOTLY_MARK not in context.get("body", ""):
        return
    import plotly

    target = Path(app.outdir) / "_static" / "plotly.min.js"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", target)
    app.add_js_file("plotly.min.js", priority=100)


def drop_thebe(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Leave out the launcher of live kernels, whose script names a server that serves it."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script} {getattr(script, 'attributes', '')}".lower()
    ]


def plain_citations(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Leave out the roles of a list of references: its entries are no items of a list."""
    if "body" in context:
        context["body"] = CITATION_ROLE.sub(r"\1\2", context["body"])


def read_in_parallel(app: Sphinx, config) -> None:
    """Let pages be read side by side, which two extensions neither allow nor forbid.

    One numbers the sections when all pages have been read, in one process; the other acts where
    LaTeX is written.
    """
    for name in ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex"):
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def drop_unused_sources(app: Sphinx, env) -> None:
    """Leave out pages of source code of which nothing is documented.

    Where pages are read one after the other, sphinx.ext.viewcode does that itself.
    """
    modules = getattr(env, "_viewcode_modules", {})
    for name in [name for name, entry in modules.items() if entry and not entry[2]]:
        del modules[name]


class _ReadOnce:
    """An environment that reads each page once: references to numbers look into pages."""

    def __init__(self, env) -> None:
        self._env, self.get_doctree = env, functools.cache(env.get_doctree)

    def __getattr__(self, name: str):
        return getattr(self._env, name)


def number_at_once(app: Sphinx, builder) -> None:
    """Look up numbers of figures and tables in pages that are kept.

    Sphinx reads the page that holds the figure again for every reference, a fifth of the build.
    """
    pages, domain = _ReadOnce(app.env), app.env.get_domain("std")
    resolve = domain._resolve_numref_xref
    domain._resolve_numref_xref = lambda env, *reference: resolve(pages, *reference)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    # a first sentence does not end at "(eq. 6)"
    autosummary.WELL_KNOWN_ABBREVIATIONS += ("eq.", "eqs.", "fig.", "figs.", "sec.")
    app.connect("config-inited", read_in_parallel)
    app.connect("env-updated", drop_unused_sources)
    app.connect("write-started", number_at_once)
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", add_plotly)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", plain_citations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
