"""Workers that lost the cluster or are silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..texts import _, listed, plural
from .item import Item, worker_href
from .storage import dirty_sessions


if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask_msm.operations.snapshot import Node, Snapshot, Worker


def odd_workers(snapshot: Snapshot) -> Iterator[Item]:
    """Say which workers lost the cluster while others did not, and which are silent."""
    workers = facts.living(snapshot)
    local = [worker for worker in workers if worker.mode == "local"]
    if local and len(local) < len(workers):
        first = local[0]
        lost = [n.id for n in snapshot.nodes if _sees_down(n, first)]
        where = _("cannot reach {nodes}", nodes=listed(lost)) if lost else _("reaches no node")
        kept = dirty_sessions(local)
        keeps = ""
        if kept:
            keeps = ", " + plural(
                kept, "{n} session is changed there only", "{n} sessions are changed there only"
            )
        yield Item(
            level="warn",
            code="worker_local",
            title=plural(
                len(local),
                "{n} of {all} workers keeps its sessions on its host",
                "{n} of {all} workers keep their sessions on their hosts",
                all=len(workers),
            ),
            text=(f"{first.id} {where}" if len(local) == 1 else listed([w.id for w in local]))
            + keeps,
            since=min((w.mode_since for w in local if w.mode_since is not None), default=None),
            href=worker_href(first) if len(local) == 1 else "workers/?mode=local",
            link=_("Worker {pid}", pid=first.pid)
            if len(local) == 1 and first.pid
            else _("Workers"),
            hurt=_("Their users look signed out when another host answers them."),
            steps=(
                _("Look at the network from there to {nodes}.", nodes=listed(lost))
                if lost
                else _("Look at the network from there to the nodes."),
                _("Nothing else: what was changed there is copied to the nodes by itself."),
            ),
        )
    slow = [worker for worker in workers if worker.slow]
    if slow:
        hosts = listed(sorted({worker.host or worker.id for worker in slow}))
        yield Item(
            level="warn",
            code="worker_slow",
            title=plural(
                len(slow),
                "{n} worker waits long for every node",
                "{n} workers wait long for every node",
            ),
            text=_("On {hosts}: the nodes are not slow, its machine or network is", hosts=hosts),
            href="workers/",
            link=_("Workers"),
            hurt=_("Users of these workers wait. Every session is served."),
            steps=(_("Look at the load of {hosts}, and at the network from there.", hosts=hosts),),
        )
    stale = [worker for worker in workers if worker.stale]
    if stale:
        yield Item(
            level="warn",
            code="worker_stale",
            title=plural(len(stale), "{n} worker is silent", "{n} workers are silent"),
            text=listed([worker.id for worker in stale]),
            since=min((w.last_heard for w in stale if w.last_heard is not None), default=None),
            href="workers/",
            link=_("Workers"),
            hurt=_("Requests that they had taken, if they hang; no user if they were ended."),
            steps=(_("If they still run, look at the load of their machines."),),
        )


def _sees_down(node: Node, worker: Worker) -> bool:
    return any(o.worker == worker.id and o.state == "down" for o in node.opinions)
