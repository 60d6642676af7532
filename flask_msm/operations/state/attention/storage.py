"""Sessions that only a worker or a host has, and hosts that can keep none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import facts
from ..texts import _, listed, plural
from .item import Item


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flask_msm.operations.snapshot import Snapshot, Worker


def broken_storage(snapshot: Snapshot) -> Iterator[Item]:
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
        hurt=_("Users of these hosts: what they change now is lost.")
        if needed
        else _("No user while nodes answer."),
        steps=(
            _("Give MSM_LOCAL_PATH there a folder that can be written, with room on its disk."),
        ),
    )


def kept_here(snapshot: Snapshot) -> Iterator[Item]:
    """Say how many sessions a restart or the loss of a host would take."""
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
            text=_("They hold what cannot be serialized"),
            href="workers/",
            link=_("Workers"),
            hurt=_("No user now. A restart or deploy takes these values from their users."),
            steps=(
                _("Mend the attributes that Blacklist lists, then deploy."),
                _("Until then choose a time with few users for a deploy."),
            ),
        )
    workers = facts.living(snapshot)
    local = [worker for worker in workers if worker.mode == "local"]
    dirty = dirty_sessions(snapshot.workers)
    # A few workers that lost the cluster are an item of their own, which shows what they keep.
    shown = dirty_sessions(local) if len(local) < len(workers) else 0
    if dirty > shown and not stopped:
        simple = snapshot.local is not None and snapshot.local.kind == "simple"
        yield Item(
            level="warn",
            code="local_changes",
            title=plural(
                dirty,
                "{n} session waits on its host",
                "{n} sessions wait on their hosts",
            ),
            text=_("The nodes do not have their last changes yet"),
            href="workers/",
            link=_("Workers"),
            hurt=_("No user now. A restart or deploy loses these changes.")
            if simple
            else _("No user now. The changes survive a deploy, not the loss of their host."),
            steps=(_("Start the nodes again: the changes are copied to them by themselves."),)
            if facts.down(snapshot)
            else (_("Wait: they are copied to the nodes by themselves."),),
        )


def dirty_sessions(workers: Iterable[Worker]) -> int:
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
