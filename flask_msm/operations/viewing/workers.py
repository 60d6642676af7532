"""The workers, each as in its last report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from flask_msm.operations import snapshot as doc

from .traffic import traffic_of


if TYPE_CHECKING:
    from flask_msm.operations.report_reader import ReportFields, WorkerView


#: How bad each mode is.
_MODES = {"stopped": 2, "local": 1, "distributed": 0}


def worker_of(worker: WorkerView) -> doc.Worker:
    """Return what a worker reported of itself."""
    facts, local = worker.facts, worker.facts.inner("local")
    kept, dirty = local.whole("sessions"), local.whole("dirty")
    mode = facts.text("mode")
    return doc.Worker(
        id=worker.name,
        host=facts.text("host"),
        pid=facts.whole("pid"),
        version=facts.text("version"),
        started=facts.number("started"),
        last_heard=worker.heard_at,
        mode=cast("doc.Mode | None", mode if mode in _MODES else None),
        mode_since=facts.number("mode_since"),
        policy=facts.text("policy"),
        control=facts.text("control"),
        stale=worker.status == "stale",
        gone=worker.status == "gone",
        live=facts.whole("live"),
        mirrored=None if kept is None else max(0, kept - (dirty or 0)),
        dirty=dirty,
        local=doc.LocalStorage(
            kind=local.text("kind") or "",
            sessions=kept,
            bytes=local.whole("bytes"),
            dirty=dirty,
            limit_sessions=local.whole("limit_sessions"),
            limit_bytes=local.whole("limit_bytes"),
            error=local.text("error"),
        )
        if local.text("kind")
        else None,
        traffic=traffic_of([facts.inner("traffic")]),
        counts=_counts(facts),
    )


def _counts(facts: ReportFields) -> dict[str, int]:
    said = [facts.inner(name) for name in ("sessions", "serialization", "cluster")]
    found = {name: sum(one.whole(name) or 0 for one in said) for name in doc.COUNTED}
    return {name: count for name, count in found.items() if count > 0}


def with_status(made: doc.Worker, worker: WorkerView) -> doc.Worker:
    """Return *made* as it is by now: a worker not seen becomes stale, and then gone."""
    stale, gone = worker.status == "stale", worker.status == "gone"
    if (made.stale, made.gone) == (stale, gone):
        return made
    return replace(made, stale=stale, gone=gone)


def mode_of(workers: list[doc.Worker]) -> tuple[doc.Mode | None, float | None]:
    """Return what most of them do, the worse one on a tie, and since when the first one does."""
    modes = [worker.mode for worker in workers if worker.mode and not worker.stale]
    if not modes:
        return None, None
    mode = max(set(modes), key=lambda mode: (modes.count(mode), _MODES[mode]))
    since = [w.mode_since for w in workers if w.mode == mode and w.mode_since is not None]
    return mode, min(since, default=None)
