"""One thing to look at, and where to go for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..formatting import quoted


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Node, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to look at.

    Attributes:
        level: ``bad``, ``warn``, ``off`` or ``info``.
        code: Short name.
        title: What.
        text: More of it.
        since: Since when, seconds since the epoch.
        href: Where to go, relative to the dashboard.
        link: Words for the link.
        hurt: Who is hurt.
        steps: What to do, one after another.
        share: How much of it is done, a ratio; ``None`` where nothing goes on.
    """

    level: str
    code: str
    title: str
    text: str
    since: float | None = None
    href: str
    link: str
    hurt: str
    steps: tuple[str, ...]
    share: float | None = None


def node_href(node: Node) -> str:
    """Return where the page of a node is, relative to the dashboard."""
    return f"nodes/{quoted(node.id)}"


def worker_href(worker: Worker) -> str:
    """Return where a worker is shown, relative to the dashboard."""
    return f"workers/#w-{quoted(worker.id)}"
