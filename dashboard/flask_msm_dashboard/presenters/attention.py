"""What an operator should look at, worst first, each with the place to go to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..formatting import number, quoted
from ..texts import _, listed, plural
from . import facts


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_msm.snapshot import Node, Snapshot, Worker


_ORDER = {"bad": 0, "off": 1, "warn": 2, "info": 3}


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
    """

    level: str
    code: str
    title: str
    text: str
    since: float | None = None
    href: str
    link: str


def attention(snapshot: Snapshot) -> list[Item]:
    """Return everything worth a look, worst first."""
    items = [
        *_stopped(snapshot),
        *_down(snapshot),
        *_broken_storage(snapshot),
        *_kept_here(snapshot),
        *_nodes(snapshot),
        *_workers(snapshot),
        *_disagreements(snapshot),
        *_partial(snapshot),
    ]
    return sorted(items, key=lambda item: _ORDER[item.level])


def node_href(node: Node) -> str:
    """Return where the page of a node is, relative to the dashboard."""
    return f"nodes/{quoted(node.id)}"


def worker_href(worker: Worker) -> str:
    """Return where a worker is shown, relative to the dashboard."""
    return f"workers/#w-{quoted(worker.id)}"


def _stopped(snapshot: Snapshot) -> Iterator[Item]:
    choice = snapshot.distribution
    if choice.value == "stopped":
        reason = choice.reason or _("none given")
        yield Item(
            level="off",
            code="stopped",
            title=_("Stopped by {name}", name=choice.set_by or _("the policy")),
            text=_("Reason: {reason}", reason=reason),
            since=choice.set_at,
            href="act/resume",
            link=_("Start again"),
        )


def _down(snapshot: Snapshot) -> Iterator[Item]:
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


def _broken_storage(snapshot: Snapshot) -> Iterator[Item]:
    """Say which hosts would lose sessions, or do, because they cannot keep any."""
    broken = [w for w in facts.living(snapshot) if w.local is not None and w.local.error]
    if not broken:
        return
    hosts = listed(sorted({worker.host or _("unknown host") for worker in broken}))
    needed = any(worker.mode != "distributed" for worker in broken)
    error = broken[0].local.error if broken[0].local else ""
    yield Item(
        level="bad" if needed else "warn",
        code="local_storage",
        title=_("Local storage fails on {hosts}", hosts=hosts),
        text=_("{error}: changes of sessions are lost there", error=error)
        if needed
        else _("{error}: sessions there would be lost without a node", error=error),
        href="workers/",
        link=_("Workers"),
    )


def _kept_here(snapshot: Snapshot) -> Iterator[Item]:
    stopped = snapshot.distribution.value == "stopped"
    live = sum(worker.live or 0 for worker in snapshot.workers)
    if live:
        yield Item(
            level="warn",
            code="live_sessions",
            title=plural(
                live,
                "{n} session exists in one worker only",
                "{n} sessions exist in one worker only",
            ),
            text=_("A restart or deploy now would lose what cannot be serialized"),
            href="workers/",
            link=_("Workers"),
        )
    workers = facts.living(snapshot)
    local = [worker for worker in workers if worker.mode == "local"]
    dirty = _dirty(snapshot.workers)
    # A few workers that lost the cluster are an item of their own, which says what they keep.
    told = _dirty(local) if len(local) < len(workers) else 0
    if dirty > told and not stopped:
        simple = snapshot.local is not None and snapshot.local.kind == "simple"
        yield Item(
            level="warn",
            code="local_changes",
            title=plural(
                dirty,
                "{n} session has changes the cluster does not have",
                "{n} sessions have changes the cluster does not have",
            ),
            text=_("A restart or deploy now would lose them")
            if simple
            else _("They are kept on this host and survive a deploy, not the loss of the host"),
            href="workers/",
            link=_("Workers"),
        )


def _dirty(workers: Iterable[Worker]) -> int:
    """Return how many sessions have changes of their own; workers of a host share storage."""
    by_host: dict[str, int] = {}
    own = 0
    for worker in workers:
        if worker.local is not None and worker.local.kind == "simple":
            own += worker.dirty or 0
        elif worker.dirty:
            host = worker.host or worker.id
            by_host[host] = max(by_host.get(host, 0), worker.dirty)
    return own + sum(by_host.values())


def _nodes(snapshot: Snapshot) -> Iterator[Item]:
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


def _workers(snapshot: Snapshot) -> Iterator[Item]:
    workers = facts.living(snapshot)
    local = [worker for worker in workers if worker.mode == "local"]
    if local and len(local) < len(workers):
        first = local[0]
        lost = [n.id for n in snapshot.nodes if _sees_down(n, first)]
        where = _("cannot reach {nodes}", nodes=listed(lost)) if lost else _("reaches no node")
        kept = _dirty(local)
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
                "{n} of {all} workers is in local fallback",
                "{n} of {all} workers are in local fallback",
                all=len(workers),
            ),
            text=(f"{first.id} {where}" if len(local) == 1 else listed([w.id for w in local]))
            + keeps,
            since=min((w.mode_since for w in local if w.mode_since is not None), default=None),
            href=worker_href(first) if len(local) == 1 else "workers/?mode=local",
            link=_("Worker {pid}", pid=first.pid)
            if len(local) == 1 and first.pid
            else _("Workers"),
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
        )


def _sees_down(node: Node, worker: Worker) -> bool:
    return any(o.worker == worker.id and o.state == "down" for o in node.opinions)


def _disagreements(snapshot: Snapshot) -> Iterator[Item]:
    versions = Counter(w.version for w in facts.living(snapshot) if w.version)
    if len(versions) > 1:
        words = [
            _("{version} ({n})", n=n, version=version) for version, n in versions.most_common()
        ]
        yield Item(
            level="info",
            code="versions",
            title=_("Workers run different versions"),
            text=listed(words),
            href="workers/",
            link=_("Workers"),
        )
    for name, choice in (
        (_("The failure policy"), snapshot.policy),
        (_("The choice for reconnects"), snapshot.on_reconnect),
        (_("The stop of distribution"), snapshot.distribution),
    ):
        k, n = choice.applied_by, choice.of
        late = choice.set_at is not None and snapshot.at - choice.set_at > 30
        if late and k is not None and n is not None and k < n:
            yield Item(
                level="warn",
                code="not_applied",
                title=_("{name} is applied by {k} of {n} workers", name=name, k=k, n=n),
                text=_("The others did not report it yet"),
                since=choice.set_at,
                href="policy/",
                link=_("Policy"),
            )


def _partial(snapshot: Snapshot) -> Iterator[Item]:
    observer = snapshot.observer
    known, seen = observer.workers_known, observer.workers_seen
    if observer.source == "host" and snapshot.nodes:
        yield Item(
            level="info",
            code="partial",
            title=plural(
                seen, "{n} worker of this host is visible", "{n} workers of this host are visible"
            ),
            text=_("Others are reached through memcached, which does not answer"),
            since=snapshot.since,
            href="workers/",
            link=_("Workers"),
        )
    elif known is not None and seen < known:
        yield Item(
            level="info",
            code="partial",
            title=_("{k} of {n} workers visible", k=seen, n=known),
            text=_("The others did not report yet"),
            href="workers/",
            link=_("Workers"),
        )
