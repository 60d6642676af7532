"""Whether losing any one node would lose nothing, and what that waits for: one rule for all.

*check*, *status*, the state document and the dashboard ask it. Sessions that were lost already are
no part of it, for they do not come back by waiting: each of the four reports them beside it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from . import facts
from .attention import rebuild_text
from .texts import _, listed, plural


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.snapshot import Node, Snapshot


class Wait(NamedTuple):
    """What has to be over before the next node may be restarted.

    Attributes:
        node: Id of the node it concerns, ``None`` for the fleet.
    """

    node: str | None
    text: str


def waits_for(snapshot: Snapshot) -> tuple[Wait, ...]:
    """Return why no node may be restarted now, nodes that are down first; nothing if any may be."""
    live = len(facts.reporting(snapshot))
    worst_first = sorted(snapshot.nodes, key=lambda node: node.phase != "down")
    nodes = [(node.id, _node_waits(node, snapshot, live)) for node in worst_first]
    found = [Wait(node_id, text) for node_id, text in nodes if text is not None]
    found += [Wait(None, text) for text in _fleet_waits(snapshot)]
    return (
        *found,
        *(Wait(one.node, one.text) for one in snapshot.conditions if one.error),
    )


def _node_waits(node: Node, snapshot: Snapshot, live: int) -> str | None:
    if node.drain is not None:
        return None if node.drain.value == "drained" else _("is being drained")
    # Workers that are silent have none.
    states = Counter(opinion.state for opinion in node.opinions)
    if not states:
        return _("was seen by no worker yet")
    if node.phase == "down":
        return _("down, {seen}", seen=facts.seen_by(node, snapshot))
    if facts.is_rebuilding(node):
        return _("being filled: {how}", how=rebuild_text(node, snapshot.at))
    if (missing := live - states["up"]) > 0:
        return plural(
            missing,
            "{n} of {all} workers does not see it up",
            "{n} of {all} workers do not see it up",
            all=live,
        )
    # Some of the sessions whose copies it throws out are on one other node only.
    full = _("is full and throws live sessions out: give it more memory (-m)")
    return full if facts.is_evicting(node) else None


def _fleet_waits(snapshot: Snapshot) -> Iterator[str]:
    live = facts.reporting(snapshot)
    known = max(len(live), snapshot.observer.workers_known or 0)
    if snapshot.observer.source == "self":
        yield _("the other workers are being asked")
    elif not live:
        yield _("no worker can be seen")
    elif len(live) < known:
        yield _("{k} of {n} workers can be seen", k=len(live), n=known)
    elif not snapshot.observer.complete:
        yield _("only workers of this host can be seen")
    modes = Counter(worker.mode for worker in live)
    if modes["stopped"]:
        yield plural(
            modes["stopped"],
            "distribution is stopped for {n} worker",
            "distribution is stopped for {n} workers",
        )
    if others := len(live) - modes["stopped"] - modes["distributed"]:
        yield plural(
            others,
            "{n} worker keeps its sessions on its host",
            "{n} workers keep their sessions on their hosts",
        )
    failing = [worker for worker in live if worker.local is not None and worker.local.error]
    if failing:
        hosts = listed(sorted({worker.host or _("unknown host") for worker in failing}))
        yield _("local storage fails on {hosts}", hosts=hosts)
