"""The workers of the snapshot, each as in its last report, and what their sessions did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from flask_msm.maintenance.points import kept_on_hosts
from flask_msm.storage.metrics import BOUNDS, STEPS, summed

from . import snapshot as doc
from .statistics import Histogram, Traffic


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.cluster.facts import Facts


#: After so many intervals without a report a worker is called stale, and then gone.
STALE_AFTER, GONE_AFTER = 3, 10
#: How bad each mode is.
_MODES = {"stopped": 2, "local": 1, "distributed": 0}


def build_worker(name: str, fields: Facts, last_heard: float) -> doc.Worker:
    """Return what a worker reported of itself, as if that was a moment ago."""
    local = fields.section("local")
    kept, dirty = local.integer("sessions"), local.integer("dirty")
    mode, kind = fields.text("mode"), local.text("kind")
    return doc.Worker(
        id=name,
        host=fields.text("host"),
        pid=fields.integer("pid"),
        version=fields.text("version"),
        started=fields.number("started"),
        last_heard=last_heard,
        mode=cast("doc.Mode | None", mode if mode in _MODES else None),
        mode_since=fields.number("mode_since"),
        policy=fields.text("policy"),
        control=fields.text("control"),
        live=fields.integer("live"),
        mirrored=None if kept is None else max(0, kept - (dirty or 0)),
        dirty=dirty,
        local=doc.LocalStorage(
            kind=kind,
            sessions=kept,
            bytes=local.integer("bytes"),
            dirty=dirty,
            limit_sessions=local.integer("limit_sessions"),
            limit_bytes=local.integer("limit_bytes"),
            error=local.text("error"),
        )
        if kind
        else None,
        traffic=build_traffic([fields]),
        counts=_counts(fields),
    )


def _counts(fields: Facts) -> dict[str, int]:
    sections = [fields.section(name) for name in ("sessions", "serialization", "cluster")]
    found = {name: _total(sections, name) for name in doc.COUNTED}
    return {name: count for name, count in found.items() if count > 0}


def with_status(worker: doc.Worker, *, now: float, interval: float, delay: float) -> doc.Worker:
    """Return *worker* as it is by now: one that is not heard of becomes stale, and then gone.

    Times are seconds. Reports may have been collected *delay* ago: that is no silence of a worker.
    """
    age = now - (worker.last_heard or 0.0)
    gone = age > GONE_AFTER * interval + delay
    stale = age > STALE_AFTER * interval + delay and not gone
    return replace(worker, stale=stale, gone=gone) if stale or gone else worker


def common_mode(workers: Sequence[doc.Worker]) -> tuple[doc.Mode | None, float | None]:
    """Return what most of them do, the worse one on a tie, and since when the first one does."""
    modes = [worker.mode for worker in workers if worker.mode and not worker.stale]
    if not modes:
        return None, None
    mode = max(set(modes), key=lambda mode: (modes.count(mode), _MODES[mode]))
    since = [w.mode_since for w in workers if w.mode == mode and w.mode_since is not None]
    return mode, min(since, default=None)


def build_traffic(reports: list[Facts]) -> Traffic | None:
    """Return the sum of what workers reported; ``None`` when none of them reported anything."""
    reports = [report for report in reports if report.section("traffic").names()]
    sections = [report.section("traffic") for report in reports]
    if not sections:
        return None
    found = [fields.rows_of_numbers("found") for fields in sections]
    hits = _by_step([[row[0] if row else None for row in rows] for rows in found], sum)
    misses = _by_step([[row[1] if len(row) > 1 else None for row in rows] for rows in found], sum)
    ratios = tuple(
        None if hit is None or not hit + (miss or 0) else hit / (hit + (miss or 0))
        for hit, miss in zip(hits, misses, strict=False)
    )
    return Traffic(
        loads=_histogram(sections, "loads"),
        saves=_histogram(sections, "saves"),
        hits=_total(sections, "hits"),
        misses=_total(sections, "misses"),
        failed=_total(sections, "failed"),
        kept_locally=_total(sections, "kept_locally"),
        operations_series=_by_step([fields.series("operations") for fields in sections], sum),
        hit_ratio_series=ratios,
        p95_series=_by_step([fields.series("p95") for fields in sections], max),
        failed_series=_by_step([fields.series("failures") for fields in sections], sum),
        classes_series=_classes([fields.rows_of_numbers("classes") for fields in sections]),
        found_series=tuple(
            None if hit is None else (int(hit), int(miss or 0))
            for hit, miss in zip(hits, misses, strict=False)
        ),
        kept_series=_kept(reports),
    )


def _kept(reports: list[Facts]) -> tuple[int | None, ...]:
    """Return how many sessions waited on hosts at the end of each step."""
    rows = [(report, report.section("traffic").series("kept")) for report in reports]
    complete = [(report, row) for report, row in rows if len(row) == STEPS]
    found = [
        kept_on_hosts(
            (report, None if (kept := row[step]) is None else int(kept)) for report, row in complete
        )
        for step in range(STEPS)
    ]
    return tuple(found)


def _classes(rows: list[list[list[float]]]) -> tuple[tuple[int, ...] | None, ...]:
    """Put the classes of several workers for each step together."""
    size = len(BOUNDS) + 1
    complete = [row for row in rows if len(row) == STEPS]
    steps = zip(*complete, strict=True)
    known = [[counts for counts in step if len(counts) == size] for step in steps]
    return tuple(
        tuple(int(sum(column)) for column in zip(*step, strict=True)) if step else None
        for step in known
    )


def _total(sections: list[Facts], name: str) -> int:
    return sum(fields.integer(name) or 0 for fields in sections)


def _histogram(sections: list[Facts], name: str) -> Histogram | None:
    rows = [fields.series(name) for fields in sections]
    size = len(BOUNDS) + 1
    complete = [[int(count or 0) for count in row] for row in rows if len(row) == size]
    return Histogram(bounds=BOUNDS, counts=tuple(summed(complete))) if complete else None


def _by_step(rows: list[list[float | None]], together: Any) -> tuple[float | None, ...]:
    """Put the values of several workers for each step together; ``None`` where none has any."""
    complete = [row for row in rows if len(row) == STEPS]
    columns = [
        [value for value in column if value is not None] for column in zip(*complete, strict=True)
    ]
    return tuple(together(column) if column else None for column in columns)
