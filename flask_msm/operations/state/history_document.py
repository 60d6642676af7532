"""The history as JSON. See ``docs/events.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .formatting import MAX_TEXT, cut, iso


if TYPE_CHECKING:
    from flask_msm.operations.history import Change, History, Incident, Outage, Point, Span


#: What may be asked for.
RANGES = ("15m", "6h", "24h", "7d")
#: Rises when something is renamed, removed, or gets another meaning. Additions do not count.
SCHEMA = 1


def history_document(history: History) -> dict[str, Any]:
    """Return the history. Unknown is ``None``; times are UTC in ISO 8601."""
    return {
        "schema": SCHEMA,
        "range": history.range,
        "begin": iso(history.begin),
        "end": iso(history.end),
        "step_s": history.step,
        "points": [None if point is None else _point(point) for point in history.points],
        "spans": [_span(span) for span in history.spans],
        "outages": [_outage(outage) for outage in history.outages],
        "changes": [_change(change) for change in history.changes],
        "incidents": [_incident(incident) for incident in history.incidents],
    }


def _at(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _point(point: Point) -> dict[str, Any]:
    return {
        "at": iso(point.at),
        "workers": point.workers,
        "workers_known": point.workers_known,
        "operations": point.operations,
        "hits": point.hits,
        "misses": point.misses,
        "hit_ratio": point.hit_ratio,
        "failed": point.failed,
        "lost": point.lost,
        "kept": point.kept,
        "latency_ms": {"p50": _ms(point.p50), "p95": _ms(point.p95), "p99": _ms(point.p99)},
    }


def _span(span: Span) -> dict[str, Any]:
    return {"node": span.node, "state": span.state, "begin": iso(span.begin), "end": _at(span.end)}


def _outage(outage: Outage) -> dict[str, Any]:
    return {
        "begin": iso(outage.begin),
        "end": _at(outage.end),
        "nodes": list(outage.nodes),
        "lost": outage.lost,
        "kept": outage.kept,
        "why": cut(outage.why, MAX_TEXT),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "at": iso(change.at),
        "kind": change.kind,
        "text": cut(change.text, MAX_TEXT),
        "node": change.node,
        "who": change.who,
        "why": cut(change.why, MAX_TEXT),
        "before": cut(change.before, MAX_TEXT),
        "after": cut(change.after, MAX_TEXT),
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "at": iso(incident.at),
        "level": incident.level,
        "kind": incident.kind,
        "text": cut(incident.text, MAX_TEXT),
        "node": incident.node,
    }
