"""The snapshot in the text format of Prometheus; needs the extra ``prometheus``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flask_msm.operations.state import facts


if TYPE_CHECKING:
    from prometheus_client import Metric

    from flask_msm.operations.snapshot import Snapshot


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LOST = ("key_unknown", "not_found", "not_known")
_STATES = ("up", "suspect", "recovering", "draining", "drained", "down")


def is_available() -> bool:
    """Return whether ``prometheus-client`` is installed."""
    try:
        import prometheus_client  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


def exposition(snapshot: Snapshot) -> bytes:
    """Return all metrics as Prometheus reads them.

    All are of the window, but for what ends in ``_total``: that is since the worker started.
    """
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra

    class Fleet:
        def collect(self) -> Iterable[Metric]:
            return _metrics(snapshot)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet())
    return generate_latest(registry)


def _metrics(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - an extra

    def gauge(
        name: str, text: str, labels: list[str], rows: Iterable[tuple[list[str], float | None]]
    ) -> Metric:
        family = GaugeMetricFamily(f"flask_msm_{name}", text, labels=labels)
        for values, value in rows:
            if value is not None:
                family.add_metric(values, value)
        return family

    modes = facts.modes(snapshot)
    yield gauge(
        "workers",
        "Workers that are seen, by mode.",
        ["mode"],
        (([mode], count) for mode, count in modes.items()),
    )
    yield gauge(
        "workers_known",
        "Workers that are known to live, seen or not.",
        [],
        [([], snapshot.observer.workers_known)],
    )
    yield _counted(snapshot)
    lost, copies = snapshot.lost, snapshot.copies
    if lost is not None:
        yield gauge(
            "sessions_lost",
            "Sessions lost in the window, by why; for one that counts by several, by each.",
            ["reason"],
            (([reason], getattr(lost, reason)) for reason in _LOST),
        )
        yield gauge(
            "cookies_without_session",
            "Cookies in the window that found no session, and none was lost.",
            ["reason"],
            (([reason], getattr(lost, reason)) for reason in ("refused", "expired", "ended")),
        )
        yield gauge(
            "sessions_lost_too_many", "1 from the limit on.", [], [([], float(lost.too_many))]
        )
        yield gauge("sessions_asked", "Sessions asked for in the window.", [], [([], lost.asked)])
    if copies is not None:
        yield gauge("sessions", "Sessions on the nodes.", [], [([], copies.sessions)])
        yield gauge(
            "sessions_one_copy",
            "Sessions that one node alone has.",
            [],
            [([], copies.one_copy)],
        )
    nodes = snapshot.nodes
    yield gauge(
        "node_state",
        "1 for the state a node is in.",
        ["node", "state"],
        (([node.id, state], float(node.state == state)) for node in nodes for state in _STATES),
    )
    yield gauge(
        "node_trusted",
        "Whether the fleet lets a node say that a session does not exist.",
        ["node"],
        (([n.id], None if n.trusted is None else float(n.trusted)) for n in nodes),
    )
    for name, text, field in (
        ("node_items", "Everything a node holds, also of other applications.", "items"),
        ("node_bytes", "Memory that takes.", "bytes"),
        ("node_limit_bytes", "Memory it may take.", "limit_bytes"),
        ("node_evictions", "Items thrown out since the start of the node.", "evictions"),
        ("node_hit_ratio", "Share of reads that found something, in the window.", "hit_ratio"),
        ("node_connections", "Connections that are open.", "connections"),
        ("node_latency_seconds", "95 of 100 answers took no longer.", "latency_p95"),
        ("node_statistics_time_seconds", "When the node said so, seconds since 1970.", "at"),
    ):
        yield gauge(
            name,
            text,
            ["node"],
            (([n.id], getattr(n.stats, field) if n.stats else None) for n in nodes),
        )
    traffic = snapshot.traffic
    if traffic is not None:
        yield gauge(
            "operations", "Reads and writes in the window.", [], [([], facts.operations(snapshot))]
        )
        for name in ("hits", "misses", "failed"):
            yield gauge(name, f"Session {name} in the window.", [], [([], getattr(traffic, name))])
        p95 = facts.quantile((traffic.loads, traffic.saves), 0.95)
        yield gauge("latency_seconds", "95 of 100 operations took no longer.", [], [([], p95)])
    for name, choice in (("policy", snapshot.policy), ("distribution", snapshot.distribution)):
        yield gauge(f"{name}_info", "1 for what is in force.", ["value"], [([choice.value], 1.0)])
    yield gauge(
        "blacklisted_attributes",
        "Attributes that could not be stored, or are pinned.",
        [],
        [([], max(snapshot.blacklist_total, len(snapshot.blacklist)))],
    )
    if snapshot.local is not None:
        yield gauge(
            "local_sessions", "Sessions in local storage.", [], [([], snapshot.local.sessions)]
        )
        yield gauge(
            "local_changed_sessions",
            "Sessions in local storage with changes the cluster does not have.",
            [],
            [([], snapshot.local.dirty)],
        )


def _counted(snapshot: Snapshot) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - an extra

    text = "What happened in a worker since it started."
    family = CounterMetricFamily("flask_msm_worker_events", text, labels=["worker", "event"])
    for worker in snapshot.workers:
        for event, count in worker.counts.items():
            family.add_metric([worker.id, event], count)
    return family
