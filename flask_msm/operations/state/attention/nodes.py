"""Nodes that are down, full, slow, drained or being filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..formatting import number
from ..texts import _, listed, plural
from .item import Item, node_href


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.snapshot import Node, Snapshot


def nodes_down(snapshot: Snapshot) -> Iterator[Item]:
    """Say which nodes do not answer; those with the same error are one item."""
    groups: dict[str, list[Node]] = {}
    for node in facts.down(snapshot):
        groups.setdefault(facts.error_text(node.error), []).append(node)
    for error, nodes in groups.items():
        names = listed([node.id for node in nodes])
        yield Item(
            level="bad",
            code="node_down",
            title=plural(len(nodes), "{names} is down", "{names} are down", names=names),
            text=f"{error}, {facts.seen_by(nodes[0], snapshot)}",
            since=min((n.since for n in nodes if n.since is not None), default=None),
            href=node_href(nodes[0]) if len(nodes) == 1 else "nodes/",
            link=_("Node {id}", id=nodes[0].id) if len(nodes) == 1 else _("Nodes"),
        )


def odd_nodes(snapshot: Snapshot) -> Iterator[Item]:
    """Say which nodes answer and are still not what they should be."""
    for node in snapshot.nodes:
        href, link = node_href(node), _("Node {id}", id=node.id)
        if facts.is_evicting(node) and node.stats is not None:
            rate = number(node.stats.evictions_per_minute)
            yield Item(
                level="warn",
                code="evicting",
                title=_("{id} evicts live sessions", id=node.id),
                text=_("{n} per minute, these users may be signed out early", n=rate),
                href=href,
                link=link,
            )
        if facts.is_slow(node) and node.stats is not None and node.stats.latency_p95 is not None:
            yield Item(
                level="warn",
                code="slow",
                title=_("{id} is slow", id=node.id),
                text=_("95 of 100 answers within {n} ms", n=number(node.stats.latency_p95 * 1000)),
                href=href,
                link=link,
            )
        if node.drain is not None:
            done = node.drain.value == "drained"
            yield Item(
                level="off",
                code="drained",
                title=_("{id} is drained", id=node.id)
                if done
                else _("{id} is being drained", id=node.id),
                text=_("By {name}", name=node.drain.set_by or _("unknown")),
                since=node.drain.set_at,
                href=href,
                link=link,
            )
        elif facts.is_rebuilding(node):
            yield Item(
                level="warn",
                code="rebuilding",
                title=_("{id} lacks sessions", id=node.id),
                text=rebuild_text(node),
                since=node.since,
                href=href,
                link=link,
            )


def rebuild_text(node: Node) -> str:
    """Return in words how far the rebuild of a node is."""
    if node.state == "recovering":
        return _("It answers again and is being tested")
    if node.rebuild is None:
        return _("Waits to be filled from the other copies")
    done, total = number(node.rebuild.looked_at), node.rebuild.total
    if total is None:
        return _("Rebuilt {n} sessions so far", n=done)
    return _("Rebuilt {n} of {total} sessions", n=done, total=number(total))
