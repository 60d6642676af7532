"""Settings of Sphinx for ``make docs``; the pages themselves are plain Markdown, as on GitHub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer


if TYPE_CHECKING:
    from sphinx.application import Sphinx


ROOT = Path(__file__).parents[1]

project = "flask_msm"
author = "The flask_msm maintainers"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "flask_msm"

# The whole repository is the source, so links between any two of its pages are checked.
include_patterns = ["*.md", "docs/*.md", "drill/*.md", "benchmarks/*.md", "contrib/*.md"]
root_doc = "README"
# Headings are linked to by the names GitHub gives them.
myst_heading_anchors = 4

#: The menu. GitHub knows none, so the pages do not name one. Sphinx warns of pages not listed here,
#: and warnings are errors.
MENU = {
    "First steps": (
        "docs/README",
        "docs/quick-start",
        "docs/moving",
        "docs/coming-from-memcached-session-manager",
        "docs/comparison",
    ),
    "In production": (
        "docs/operating",
        "docs/failures",
        "docs/performance",
        "docs/limits",
        "docs/security",
        "docs/dashboard-tour",
        "docs/dashboard",
        "docs/dashboard-security-review",
        "docs/command-line",
    ),
    "Reference": (
        "docs/configuration",
        "docs/types",
        "docs/api",
        "docs/how-it-works",
        "docs/states",
    ),
    "The project": (
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
        "contrib/README",
        "docs/testing",
        "drill/README",
        "benchmarks/README",
    ),
}


def setup(app: Sphinx) -> None:
    """Connect what pages that are plain Markdown cannot say themselves."""
    app.connect("source-read", _add_menu)
    # Shown as they are written; GitHub draws the first.
    for language in ("mermaid", "haproxy"):
        app.add_lexer(language, TextLexer)


def _add_menu(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001  (Sphinx calls it)
    if page != root_doc:
        return
    for title, names in MENU.items():
        entries = "\n".join(name for name in names if (ROOT / f"{name}.md").exists())
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"
