"""How workers are shown, by host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.operations.state import facts
from flask_msm.operations.state.formatting import UNKNOWN, number, quoted
from flask_msm.operations.state.texts import _, listed, plural


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.operations.snapshot import NodeStateName, Snapshot, Worker


_LEVELS = {"distributed": "ok", "local": "warn", "stopped": "off"}
_SIGNS = {
    "up": ("ok", "up"),
    "suspect": ("warn", "up, failing"),
    "recovering": ("warn", "being filled"),
    "draining": ("off", "being drained"),
    "drained": ("off", "drained"),
    "down": ("bad", "down"),
}


def mode_name(mode: str | None) -> str:
    """Return a mode in words."""
    return {
        "distributed": _("On the nodes"),
        "local": _("Kept on its host"),
        "stopped": _("Stopped"),
    }.get(mode or "", _("Unknown"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One worker.

    Attributes:
        worker: What is known of it.
        anchor: Where it is on its page.
        short: Its process, or its name.
        level: ``ok``, ``warn``, ``off`` or ``bad``.
        mode: In words.
        note: ``silent`` or ``gone``, if it is.
        here: Whether it answered this request.
        operations: Per second.
        failed: In the window.
        opinions: Node id, level and word for each node.
    """

    worker: Worker
    anchor: str
    short: str
    level: str
    mode: str
    note: str
    here: bool
    operations: str
    failed: str
    opinions: tuple[tuple[str, str, str], ...] = ()


def worker_rows(
    snapshot: Snapshot, workers: Iterable[Worker], *, opinions: bool = True
) -> list[WorkerRow]:
    """Return rows for *workers*, with their *opinions* of nodes or without."""
    seen: dict[str, list[tuple[str, str, str]]] = {}
    for node in snapshot.nodes if opinions else ():
        for opinion in node.opinions:
            level, word = _sign(opinion.state)
            seen.setdefault(opinion.worker, []).append((node.id, level, word))
    return [_row(worker, snapshot, tuple(seen.get(worker.id, ()))) for worker in workers]


def _sign(state: NodeStateName) -> tuple[str, str]:
    level, word = _SIGNS.get(state, ("off", state))
    return level, _(word)


def _row(
    worker: Worker, snapshot: Snapshot, opinions: tuple[tuple[str, str, str], ...]
) -> WorkerRow:
    level = _LEVELS.get(worker.mode or "", "off")
    note = ""
    if worker.gone:
        level, note = "off", _("gone")
    elif worker.stale:
        level, note = "warn", _("silent")
    traffic = worker.traffic
    rate = None
    if traffic is not None:
        known = [value for value in traffic.operations_series if value is not None]
        rate = sum(known) / facts.elapsed(snapshot)
    return WorkerRow(
        worker=worker,
        anchor="w-" + quoted(worker.id),
        short=str(worker.pid) if worker.pid is not None else worker.id,
        level=level,
        mode=mode_name(worker.mode),
        note=note,
        here=worker.id == snapshot.observer.worker,
        operations=number(rate, 0 if rate is None or rate >= 10 or not rate else 1),
        failed=number(traffic.failed if traffic else None),
        opinions=opinions,
    )


def by_host(rows: Iterable[WorkerRow]) -> dict[str, list[WorkerRow]]:
    """Return *rows* by host, in their order."""
    hosts: dict[str, list[WorkerRow]] = {}
    for row in rows:
        hosts.setdefault(row.worker.host or _("unknown host"), []).append(row)
    return hosts


def reporting(snapshot: Snapshot) -> str:
    """Return in words how much of the fleet is seen."""
    if not snapshot.nodes:
        return _("No worker reports: no node is configured")
    observer = snapshot.observer
    seen, known = observer.workers_seen, observer.workers_known
    if observer.source == "host":
        return plural(
            seen,
            "{n} worker of this host, others cannot be seen",
            "{n} workers of this host, others cannot be seen",
        )
    if known is None:
        return _("{k} reporting", k=seen)
    if observer.source == "self" and seen < known:
        return _("Asking the other workers")
    return _("{k} of {n} reporting", k=seen, n=max(seen, known))


def workers_note(snapshot: Snapshot) -> str:
    """Return the sentence under the chips."""
    workers = facts.living(snapshot)
    here = _("You are reading worker {id}.", id=snapshot.observer.worker)
    if not snapshot.nodes:
        return f"{_('Workers report to nodes.')} {here}"
    odd = [worker for worker in workers if worker.mode != snapshot.mode]
    if not odd:
        mode = mode_name(snapshot.mode).lower()
        if len(workers) <= 1 and (snapshot.observer.workers_known or 0) > 1:
            return f"{_('What the others say is being gathered.')} {here}"
        if len(workers) <= 1:
            only = _(
                "Only this worker reports. Others appear when they handle their first request."
            )
            return f"{only} {here}"
        return _("Sessions of all: {mode}.", mode=mode) + " " + here
    texts = [
        _("{id}: {mode}", id=worker.id, mode=mode_name(worker.mode).lower()) for worker in odd[:2]
    ]
    if len(odd) > 2:
        texts.append(_("{n} more", n=len(odd) - 2))
    return ", ".join(texts) + ". " + here


def agreements(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return on what how many workers agree: level and sentence."""
    workers = facts.living(snapshot)
    found = []
    for label, values in (
        (_("mode"), [mode_name(w.mode) for w in workers if w.mode]),
        (_("policy"), [w.policy for w in workers if w.policy]),
        (_("version"), [w.version for w in workers if w.version]),
    ):
        if not values:
            continue
        common = max(set(values), key=values.count)
        k, n = values.count(common), len(values)
        text = _("{k} of {n} agree on {label} {value}", k=k, n=n, label=label, value=common)
        found.append(("ok" if k == n else "warn", text))
    return found


def filtered(snapshot: Snapshot, mode: str, host: str) -> list[Worker]:
    """Return the workers in *mode* on *host*; empty texts choose all."""
    return [
        worker
        for worker in snapshot.workers
        if (not mode or worker.mode == mode) and (not host or worker.host == host)
    ]


def hosts_of(snapshot: Snapshot) -> list[str]:
    """Return the names of the hosts."""
    return sorted({worker.host for worker in snapshot.workers if worker.host})


def kept_text(worker: Worker) -> str:
    """Return in words what a worker keeps itself."""
    words = []
    if worker.live:
        words.append(_("{n} live", n=number(worker.live)))
    if worker.dirty:
        words.append(_("{n} changed", n=number(worker.dirty)))
    if worker.mirrored:
        words.append(_("{n} mirrored", n=number(worker.mirrored)))
    if words:
        return listed(words)
    return _("None") if worker.mirrored is not None or worker.dirty is not None else UNKNOWN
