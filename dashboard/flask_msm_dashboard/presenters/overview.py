"""What the overview shows of the fleet: three things to be sure of, and where sessions are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.operations.state import facts
from flask_msm.operations.state.formatting import clock, number, size
from flask_msm.operations.state.readiness import waits_for
from flask_msm.operations.state.texts import _, plural

from .charts import Axis, Block, Tick


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.operations.losses import NodeCopies
    from flask_msm.operations.snapshot import Node, Snapshot


#: Most nodes on the overview: those that are not up come first.
MOST_NODES = 12
#: Of fewer copies on a node it says nothing how they are spread.
_FEW = 100
#: A node that has so much more than another one is worth a word.
_UNEVEN = 0.2


@dataclass(frozen=True, slots=True)
class Sure:
    """One thing to be sure of: a shape, what is so, the rest of the sentence, where to go, why."""

    level: str
    strong: str
    text: str
    href: str = ""
    why: str = ""


def sure_of(snapshot: Snapshot) -> tuple[Sure, ...]:
    """Return whether nodes answer, workers agree, and a node may be restarted."""
    if not snapshot.nodes:
        return ()
    up, total = len(facts.answering(snapshot)), len(snapshot.nodes)
    nodes = Sure(
        "ok" if up == total else "bad" if facts.down(snapshot) else "off",
        _("{k} of {n}", k=up, n=total),
        plural(total, "node answers", "nodes answer"),
        "nodes/",
    )
    return nodes, _workers(snapshot), _restart(snapshot)


def _workers(snapshot: Snapshot) -> Sure:
    workers, observer = facts.living(snapshot), snapshot.observer
    if observer.source == "self" and observer.workers_seen < (observer.workers_known or 0):
        return Sure("off", _("Asking"), _("the other workers"), "workers/")
    agree = sum(one.mode == snapshot.mode and not one.stale for one in workers)
    total = max(len(workers), observer.workers_known or 0)
    hosts = len({one.host for one in workers if one.host})
    on = plural(hosts, "on {n} host", "on {n} hosts") if hosts else ""
    text = plural(total, "worker {on} agrees", "workers {on} agree", on=on)
    level = "ok" if agree == total else "warn" if agree < len(workers) else "off"
    return Sure(level, _("{k} of {n}", k=agree, n=total), text, "workers/")


def _restart(snapshot: Snapshot) -> Sure:
    waits = [f"{one.node}: {one.text}" if one.node else one.text for one in waits_for(snapshot)]
    if not waits and snapshot.lost is not None and snapshot.lost.too_many:
        # No node is waited for; a restart would still hide what happened.
        return Sure("warn", _("Find out why"), _("before a node is restarted"))
    if not waits:
        return Sure("ok", _("Safe"), _("to restart the next node"))
    why = _("Waits: {why}", why=waits[0])
    if len(waits) > 1:
        why = _("{why}; {n} more", why=why, n=len(waits) - 1)
    return Sure("bad", _("Not safe"), _("to restart another node"), why=why)


@dataclass(frozen=True, slots=True)
class Place:
    """What one node holds: blocks in the order in which they are drawn, and words."""

    id: str
    blocks: tuple[Block, ...]
    total: str
    memory: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where sessions are; *note* says what is to be seen, *missing* why nothing is."""

    rows: tuple[Place, ...] = ()
    ticks: tuple[Tick, ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()
    text: str = ""
    note: str = ""
    missing: str = ""


#: What is drawn, in its order, and what it is called.
_KINDS = {"first": "first copy", "further": "second copy", "only": "only copy left"}


def places(snapshot: Snapshot) -> Places:
    """Return the copies on each node, on one scale."""
    copies = snapshot.copies
    if not snapshot.nodes:
        return Places(missing=_("No node is configured: sessions are on this host."))
    if copies is None:
        return Places(
            missing=_("Not counted yet: one worker counts the copies, once a minute.")
            if snapshot.replicas > 1
            else _("Not counted, because each session has one copy: MSM_REPLICAS is 1.")
        )
    if copies.unlisted:
        return Places(
            missing=_("Not known: {names} lists no keys.", names=", ".join(copies.unlisted))
        )
    # A node that went down after the count holds nothing that anyone can reach.
    gone = {node.id for node in facts.down(snapshot)}
    counted = {one.node: one for one in copies.nodes if one.node not in gone}
    shown = foremost(snapshot)
    most = max((one.total for one in copies.nodes), default=0)
    step, edge = _scale(most)
    axis = Axis(0.0, edge)
    rows = tuple(_place(node, counted.get(node.id), axis) for node in shown)
    labels = (step * place for place in range(int(edge // step) + 1))
    return Places(
        rows=rows,
        ticks=tuple(Tick(axis.x(value), number(value)) for value in labels if value < edge),
        kinds=tuple(
            (kind, _(word))
            for kind, word in _KINDS.items()
            if kind != "only" or any(one.only for one in copies.nodes)
        )
        + ((("out", _("out of reach")),) if any(n.id not in counted for n in shown) else ()),
        text="; ".join(_spoken(node.id, counted.get(node.id)) for node in shown),
        note=_note(snapshot, [one for one in copies.nodes if one.total]),
    )


def foremost(snapshot: Snapshot) -> list[Node]:
    """Return the nodes to show where there is not room for all: those that are not up first."""
    nodes = list(snapshot.nodes)
    if len(nodes) <= MOST_NODES:
        return nodes
    return sorted(nodes, key=lambda node: node.phase == "up" or node.state == "up")[:MOST_NODES]


def _scale(most: int) -> tuple[float, float]:
    """Return the step of a round scale, and where it ends."""
    if most <= 0:
        return 1.0, 1.0
    size_of = 10.0 ** math.floor(math.log10(most))
    step = next(part * size_of for part in (0.2, 0.5, 1.0, 2.0, 5.0) if most <= part * size_of * 4)
    return max(step, 1.0), most * 1.02


def _place(node: Node, copies: NodeCopies | None, axis: Axis) -> Place:
    stats, memory = node.stats, ""
    if stats is not None and stats.bytes is not None and stats.limit_bytes:
        memory = _("{used} of {all}", used=size(stats.bytes), all=size(stats.limit_bytes))
    if copies is None:
        word = _("down") if node.state == "down" else _("not counted")
        out = Block(0.0, 99.5, "out", word)
        return Place(node.id, (out,), word, "", (word, "", "", ""))
    blocks, at = [], 0
    for kind, word in _KINDS.items():
        count = getattr(copies, kind)
        if count:
            title = _("{node}: {n} {what}", node=node.id, n=number(count), what=_(word))
            blocks.append(axis.block(at, at + count, kind, title, least=0.3))
        at += count
    cells = (number(copies.first), number(copies.further), number(copies.only), memory)
    return Place(node.id, tuple(blocks), number(copies.total), memory, cells)


def _spoken(node: str, copies: NodeCopies | None) -> str:
    if copies is None:
        return _("{node}: out of reach", node=node)
    return _(
        "{node}: {first} first copies, {further} second copies, {only} only copies",
        node=node,
        first=number(copies.first),
        further=number(copies.further),
        only=number(copies.only),
    )


def _note(snapshot: Snapshot, known: Sequence[NodeCopies]) -> str:
    copies = snapshot.copies
    at = "" if copies is None else _("Counted at {at}.", at=clock(copies.at, snapshot.at))
    if copies is not None and facts.counted(snapshot) is None:
        return at + " " + _("A node changed since then: they are soon counted again.")
    if copies is not None and copies.one_copy:
        return at + " " + _("Sessions in use get their second copy at their next change.")
    totals = [one.total for one in known] or [0]
    least, most = min(totals), max(totals)
    if len(known) < 2 or least < _FEW:
        return at
    more = (most - least) / least
    if more < _UNEVEN:
        return (
            at
            + " "
            + _("Evenly spread: no node has more than {n} % over another.", n=math.ceil(more * 100))
        )
    return at + " " + _("The fullest node has {n} % more than the emptiest.", n=number(more * 100))
