"""Settings of Sphinx for ``make docs``; the pages themselves are plain Markdown, as on GitHub.

Where a page has a mark ``<!-- made by docs/....py -->``, the text of that program stands there in
the built site, and diagrams are pictures.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer


if TYPE_CHECKING:
    from sphinx.application import Sphinx


ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "dashboard"), str(ROOT / "docs")]

project = "flask_msm"
author = "The flask_msm maintainers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
html_theme = "furo"
html_title = "flask_msm"
html_static_path = ["_static"]
html_css_files = ["site.css"]

# The whole repository is the source, so links between any two of its pages are checked.
include_patterns = [
    "*.md", "docs/*.md", "drill/*.md", "benchmarks/*.md", "contrib/*.md", "tests/PROMISES.md",
]  # fmt: skip
root_doc = "README"
# Headings are linked to by the names GitHub gives them.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
_elsewhere = import_module("elsewhere")
_built = ROOT / "build" / "inventories"
intersphinx_mapping = {
    "python": (
        "https://docs.python.org/3",
        _elsewhere.write("Python", _elsewhere.PYTHON, _built / "python.inv"),
    ),
    "flask": (
        "https://flask.palletsprojects.com/en/stable",
        _elsewhere.write("Flask", _elsewhere.FLASK, _built / "flask.inv"),
    ),
}

#: The menu. GitHub knows none, so the pages do not name one. Sphinx warns of pages not listed here,
#: and warnings are errors.
MENU = {
    "Use it": (
        "docs/get-started",
        "docs/moving",
        "docs/testing",
        "docs/operating",
        "docs/failures",
        "docs/dashboard",
    ),
    "Look it up": ("docs/settings", "docs/python", "docs/command-line", "docs/events"),
    "Understand it": ("docs/how-it-works", "docs/limits", "docs/security"),
    "The project": (
        "Where to find what <docs/README>",
        "CHANGELOG",
        "CONTRIBUTING",
        "Reporting a problem <SECURITY>",
        "contrib/README",
        "The drill <drill/README>",
        "Benchmarks <benchmarks/README>",
        "Figures <benchmarks/RESULTS>",
        "Promises and tests <tests/PROMISES>",
    ),
}
#: What is made, up to the mark of its end.
MADE = re.compile(r"<!-- made by docs/(\w+)\.py -->.*?<!-- end -->", re.DOTALL)
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Connect what pages that are plain Markdown cannot say themselves."""
    app.connect("source-read", _add_menu)
    app.connect("source-read", _make)
    # Shown as it is written.
    app.add_lexer("haproxy", TextLexer)


def _make(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001  (Sphinx calls it)
    drawn = import_module("drawing").drawn
    text = MADE.sub(lambda mark: import_module(mark[1]).page(), source[0])
    source[0] = DIAGRAM.sub(
        lambda found: f'```{{raw}} html\n<div class="diagram">{drawn(found[1])}</div>\n```', text
    )


def _add_menu(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001  (Sphinx calls it)
    if page != root_doc:
        return
    for title, names in MENU.items():
        entries = "\n".join(names)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"
