"""Nodes that are down, full, slow, drained or being filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..formatting import duration, number
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
            hurt=_hurt(snapshot),
            steps=(
                _remedy(error, names=listed([_where(node) for node in nodes])),
                _("Nothing else: what returns is filled again by itself."),
                _("Until then restart no other node.")
                if facts.answering(snapshot)
                else _("Until then restart no host: hosts keep what changes meanwhile."),
            ),
        )


def _remedy(error: str, *, names: str) -> str:
    """Return what to do first; the errors are those of ``memcached/failures.py``."""
    match error:
        case "its name does not resolve":
            return _("Correct {names} in MSM_NODES, or the name service.", names=names)
        case "does not speak memcached":
            return _("Another program answers on {names}: correct MSM_NODES.", names=names)
        case "its TLS certificate is not trusted" | "TLS failed":
            return _("Compare MSM_TLS_CONTEXT with the TLS of {names}.", names=names)
        case "wants a password" | "refused the password":
            return _("Compare MSM_AUTH with the password of {names}.", names=names)
        case _other:
            text = "Start memcached on {names}; one that hangs has to be ended first."
            return _(text, names=names)


def _where(node: Node) -> str:
    return node.id if node.address is None else f"{node.id} ({node.address})"


def _hurt(snapshot: Snapshot) -> str:
    gone = facts.down(snapshot)
    if not facts.answering(snapshot) or snapshot.replicas <= len(gone):
        return facts.other_copies(snapshot, gone)
    copies = facts.counted(snapshot)
    if copies is not None and copies.one_copy:
        return plural(
            copies.one_copy,
            "No user now. But {n} session has only one copy left: its user is signed out if the"
            " node with that copy fails too.",
            "No user now. But {n} sessions have only one copy left: their users are signed out if"
            " the node with that copy fails too.",
        )
    return _(
        "No user now. But sessions of {names} have one copy less: another node that fails may sign"
        " their users out.",
        names=listed([node.id for node in gone]),
    )


def odd_nodes(snapshot: Snapshot) -> Iterator[Item]:
    """Say which nodes answer and are still not what they should be."""
    # Another id of the same memory is filled by no one: ``mistakes`` says so.
    twins = {one.node for one in snapshot.conditions if one.kind == "one_memory"}
    for node in snapshot.nodes:
        href, link = node_href(node), _("Node {id}", id=node.id)
        if facts.is_evicting(node) and node.stats is not None:
            rate = number(node.stats.evictions_per_minute)
            yield Item(
                level="warn",
                code="evicting",
                title=_("{id} is full and throws live sessions out", id=node.id),
                text=_("{n} copies of sessions per minute, for want of memory", n=rate),
                href=href,
                link=link,
                hurt=_("Users whose last copy is thrown out are signed out early."),
                steps=(_("Give {id} more memory (-m), or add a node.", id=node.id),),
            )
        if facts.is_slow(node) and node.stats is not None and node.stats.latency_p95 is not None:
            yield Item(
                level="warn",
                code="slow",
                title=_("{id} is slow", id=node.id),
                text=_("95 of 100 answers within {n} ms", n=number(node.stats.latency_p95 * 1000)),
                href=href,
                link=link,
                hurt=_("Requests wait for it. Every session is served."),
                steps=(_("Look at the load of its machine, and at the network to it."),),
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
                hurt=_("No user: its sessions are on the other nodes.")
                if done
                else _("No user: it is read until its sessions are copied away."),
                steps=(_("When the work on it is done: undrain it."),),
            )
        elif facts.is_rebuilding(node) and node.id not in twins:
            yield Item(
                level="warn",
                code="rebuilding",
                title=_("{id} is being filled", id=node.id),
                text=rebuild_text(node, snapshot.at),
                since=node.since,
                href=href,
                link=link,
                hurt=_("No user. Until it is full some sessions have one copy less."),
                steps=(_("Wait. Restart no other node until it is up."),),
                share=share_of(node),
            )


def rebuild_text(node: Node, now: float) -> str:
    """Return in words how far a node is filled again."""
    if node.state == "recovering":
        return _("It answers again and is being tested")
    if node.rebuild is None:
        return _("It waits to be filled from the other copies")
    done, total = number(node.rebuild.looked_at), node.rebuild.total
    if total is None:
        return _("{n} sessions looked at so far", n=done)
    text = _("{n} of {total} sessions", n=done, total=number(total))
    left = time_left(node, now)
    return text if left is None else text + ", " + _("about {time} left", time=duration(left))


def share_of(node: Node) -> float | None:
    """Return how much of a node is filled again, a ratio."""
    rebuild = node.rebuild
    if rebuild is None or not rebuild.total:
        return None
    return min(1.0, rebuild.looked_at / rebuild.total)


def time_left(node: Node, now: float) -> float | None:
    """Return after how many seconds a node is full again if it goes on as until now."""
    rebuild = node.rebuild
    if rebuild is None or rebuild.began is None or not rebuild.total or not rebuild.looked_at:
        return None
    took = max(0.0, now - rebuild.began)
    return took * max(0, rebuild.total - rebuild.looked_at) / rebuild.looked_at
