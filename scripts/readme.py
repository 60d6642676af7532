"""The README as the page on the package index: a step of each build.

Its links are relative, so that they work in a clone and in the repository. On the package index
they lead nowhere, so the build makes them absolute, with ``Repository`` of ``[project.urls]``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


#: ``](target)``, and before that an exclamation mark and the text of an image.
_LINK = re.compile(r"(!\[[^\]]*)?\]\((?!\w+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str, tag: str) -> str:
    """Return *text* with its relative links as those to a file of *repository* at *tag*."""

    def link(match: re.Match[str]) -> str:
        image, target = match.groups()
        return f"{image or ''}]({repository}/{'raw' if image else 'blob'}/{tag}/{target})"

    return _LINK.sub(link, text)


class Readme(MetadataHookInterface):
    """Sets ``readme`` of the metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the text in *metadata*."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata["urls"]["Repository"]
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, repository, f"v{metadata['version']}"),
        }
