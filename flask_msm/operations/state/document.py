"""The documented JSON, for tests, scripts and monitoring. See ``docs/events.md``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from . import facts
from .attention import attention
from .formatting import MAX_NAME, MAX_TEXT, cut, iso
from .numbers import numbers
from .readiness import waits_for
from .verdict import verdict


if TYPE_CHECKING:
    from flask_msm.operations.losses import Lost
    from flask_msm.operations.snapshot import (
        BlacklistEntry,
        Choice,
        Event,
        LocalStorage,
        Node,
        Snapshot,
        Worker,
    )
    from flask_msm.operations.statistics import Histogram

    from .attention import Item


#: Rises when something is renamed, removed, or gets another meaning. Additions do not count.
SCHEMA = 1
#: Longest lists; ``*_total`` is their full length.
MOST_NODES, MOST_WORKERS, MOST_EVENTS, MOST_ENTRIES = 200, 200, 50, 100
#: What only the clock moves.
_CLOCKS = frozenset({"generated_at", "retry_at", "stats_at", "last_heard", "age_s", "rev"})


def document(snapshot: Snapshot, *, poll_after: float) -> dict[str, Any]:
    """Return the state document. Unknown is ``None``; times are UTC in ISO 8601.

    Args:
        snapshot: What was seen, already without what settings hide.
        poll_after: Time in seconds after which it is worth asking again.
    """
    observer, found, waits = snapshot.observer, verdict(snapshot), waits_for(snapshot)
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "build": observer.version,
        "generated_at": iso(snapshot.at),
        "poll_after_ms": int(poll_after * 1000),
        "window_s": snapshot.window,
        "step_s": snapshot.step,
        "app": observer.app,
        "env": observer.environment,
        "observer": {
            "worker": observer.worker,
            "source": observer.source,
            "complete": observer.complete,
            "workers_known": observer.workers_known,
            "workers_seen": observer.workers_seen,
            "age_s": None
            if observer.gathered_at is None
            else round(max(0.0, snapshot.at - observer.gathered_at), 1),
        },
        "mode": snapshot.mode,
        "modes": facts.modes(snapshot),
        "verdict": {
            "level": found.level,
            "code": found.code,
            "title": found.title,
            "text": found.text,
            "since": _at(found.since),
        },
        "attention": [item_facts(item) for item in attention(snapshot)[:20]],
        "kpis": [
            {
                "id": number.id,
                "value": number.raw,
                "unit": number.unit,
                "series": list(number.series),
                "level": number.level or None,
                "note": number.note,
            }
            for number in numbers(snapshot)
        ],
        "safe_to_restart": not waits,
        "waits_for": [wait._asdict() for wait in waits],
        "silences": [
            {
                "node": silence.node,
                "until": _at(silence.until),
                "note": silence.note,
                "by": silence.set_by,
                "since": _at(silence.set_at),
            }
            for silence in snapshot.silences
        ],
        "replicas": snapshot.replicas,
        "nodes": [_node(node) for node in snapshot.nodes[:MOST_NODES]],
        "nodes_total": len(snapshot.nodes),
        "workers": _workers(snapshot),
        "workers_total": len(snapshot.workers),
        "policy": _choice(snapshot.policy),
        "on_reconnect": _choice(snapshot.on_reconnect),
        "distribution": _choice(snapshot.distribution),
        "local": _local(snapshot.local),
        "lost": _lost(snapshot.lost),
        "copies": None
        if snapshot.copies is None
        else {**asdict(snapshot.copies), "at": _at(snapshot.copies.at)},
        "blacklist": [entry_facts(entry) for entry in snapshot.blacklist[:MOST_ENTRIES]],
        "blacklist_total": max(snapshot.blacklist_total, len(snapshot.blacklist)),
        "conditions": [
            {
                "kind": condition.kind,
                "subject": condition.subject,
                "level": condition.level,
                "text": cut(condition.text, MAX_TEXT),
                "node": condition.node,
                "since": _at(condition.since),
            }
            for condition in snapshot.conditions
        ],
        "events": [event_facts(event) for event in snapshot.events[:MOST_EVENTS]],
        "events_total": max(snapshot.events_total, len(snapshot.events)),
    }
    state["rev"] = revision(state)
    return state


def item_facts(item: Item) -> dict[str, Any]:
    """Return one thing to look at; *href* is relative to the dashboard."""
    return {
        "level": item.level,
        "code": item.code,
        "title": item.title,
        "text": item.text,
        "since": _at(item.since),
        "href": item.href,
        "hurt": item.hurt or None,
        "steps": list(item.steps),
    }


def revision(state: dict[str, Any]) -> str:
    """Return a short name of the content, the same while only clocks move."""
    data = json.dumps(_still(state), separators=(",", ":"), sort_keys=True).encode()
    return blake2b(data, digest_size=6).hexdigest()


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _still(part) for name, part in value.items() if name not in _CLOCKS}
    if isinstance(value, list):
        return [_still(part) for part in value]
    return value


def _at(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "value": choice.value,
        "configured": choice.configured,
        "version": choice.stamp,
        "applied_by": choice.applied_by,
        "of": choice.of,
        "set_by": choice.set_by,
        "set_at": _at(choice.set_at),
        "reason": cut(choice.reason, MAX_TEXT),
    }


def _node(node: Node) -> dict[str, Any]:
    stats = node.stats
    up = sum(opinion.state in facts.ANSWERING for opinion in node.opinions)
    return {
        "id": node.id,
        "address": node.address,
        "state": node.state,
        "trusted": node.trusted,
        "phase": node.phase,
        "since": _at(node.since),
        "seen_up": up,
        "seen_by": len(node.opinions),
        "circuit": {
            "state": facts.circuit_of(node),
            "failures": node.failures,
            "retry_at": _at(node.retry_at),
        },
        "timeouts": _sum(opinion.timeouts for opinion in node.opinions),
        "breaks": _sum(opinion.breaks for opinion in node.opinions),
        "last_error": None
        if node.error is None
        else {
            "type": facts.error_class(node.error),
            "text": cut(node.error, MAX_TEXT),
            "at": _at(node.error_at),
        },
        "latency_ms": {
            "p50": _ms(stats.latency_p50 if stats else None),
            "p95": _ms(stats.latency_p95 if stats else None),
            "p99": _ms(stats.latency_p99 if stats else None),
            "series": [_ms(value) for value in stats.latencies] if stats else [],
        },
        "hit_ratio": stats.hit_ratio if stats else None,
        "items": stats.items if stats else None,
        "bytes": stats.bytes if stats else None,
        "limit_bytes": stats.limit_bytes if stats else None,
        "evictions": stats.evictions if stats else None,
        "evictions_per_min": stats.evictions_per_minute if stats else None,
        "evicted_unfetched": stats.evicted_unfetched if stats else None,
        "expired_unfetched": stats.expired_unfetched if stats else None,
        "connections": stats.connections if stats else None,
        "refused_connections": stats.refused_connections if stats else None,
        "version": stats.version if stats else None,
        "stats_at": _at(stats.at if stats else None),
        "stale": stats is not None and node.state == "down",
        "rebuild": asdict(node.rebuild) if node.rebuild else None,
        "drain": None
        if node.drain is None
        else {
            "value": node.drain.value,
            "set_by": node.drain.set_by,
            "set_at": _at(node.drain.set_at),
            "reason": cut(node.drain.reason, MAX_TEXT),
        },
        "drain_version": node.stamp,
    }


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value * 1000, 3)


def _workers(snapshot: Snapshot) -> list[dict[str, Any]]:
    here = snapshot.observer.worker
    seen: dict[str, dict[str, str]] = {}
    for node in snapshot.nodes[:MOST_NODES]:
        for opinion in node.opinions:
            seen.setdefault(opinion.worker, {})[node.id] = opinion.state
    return [
        _worker(worker, seen.get(worker.id, {}), here=worker.id == here)
        for worker in snapshot.workers[:MOST_WORKERS]
    ]


def _worker(worker: Worker, seen: dict[str, str], *, here: bool) -> dict[str, Any]:
    traffic = worker.traffic
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "mode": worker.mode,
        "since": _at(worker.mode_since),
        "policy": worker.policy,
        "control": worker.control,
        "last_heard": _at(worker.last_heard),
        "started": _at(worker.started),
        "stale": worker.stale,
        "gone": worker.gone,
        "live_sessions": worker.live,
        "dirty_sessions": worker.dirty,
        "mirrored_sessions": worker.mirrored,
        "operations": _total(traffic.loads, traffic.saves) if traffic else None,
        "failed": traffic.failed if traffic else None,
        "nodes": seen,
        "version": worker.version,
        "counts": dict(worker.counts),
        "self": here,
    }


def _total(*histograms: Histogram | None) -> int:
    return sum(sum(histogram.counts) for histogram in histograms if histogram is not None)


def _lost(lost: Lost | None) -> dict[str, Any] | None:
    if lost is None:
        return None
    return {**asdict(lost), "since": _at(lost.since), "too_many": lost.too_many}


def _local(local: LocalStorage | None) -> dict[str, Any] | None:
    return None if local is None else asdict(local)


def entry_facts(entry: BlacklistEntry) -> dict[str, Any]:
    """Return an entry of the blacklist as the document has it."""
    return {
        "key": cut(entry.attribute, MAX_NAME),
        "type": cut(entry.type_name, MAX_TEXT),
        "path": cut(entry.path, MAX_TEXT),
        "error": {"type": entry.error, "text": cut(entry.reason, MAX_TEXT)},
        "endpoint": entry.endpoint,
        "first_seen": _at(entry.first_seen),
        "last_seen": _at(entry.last_seen),
        "count": entry.count,
        "workers": len(entry.workers),
        "added_by": entry.added_by,
        "pinned": entry.pinned,
        "from_config": entry.from_config,
    }


def event_facts(event: Event) -> dict[str, Any]:
    """Return an event as the document has it."""
    return {
        "id": event.id,
        "at": _at(event.at),
        "level": event.level,
        "kind": event.kind,
        "text": cut(event.text, MAX_TEXT),
        "detail": cut(event.detail, MAX_TEXT),
        "node": event.node,
        "workers": list(event.workers[:MOST_WORKERS]),
        "actor": event.actor,
        "reason": cut(event.reason, MAX_TEXT),
        "before": cut(event.before, MAX_TEXT),
        "after": cut(event.after, MAX_TEXT),
        "result": cut(event.result, MAX_TEXT),
    }
