"""The text format of Prometheus; needs the extra ``prometheus``.

What only grows is a counter, latency a histogram, a state a gauge. Counters are those of single
workers: Prometheus adds them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from flask_msm.operations.state import facts
from flask_msm.operations.worker_totals import NODE_COUNTS, Whose, newest_of_nodes


if TYPE_CHECKING:
    from prometheus_client import Metric

    from flask_msm.operations.snapshot import Snapshot
    from flask_msm.operations.statistics import Histogram
    from flask_msm.operations.worker_totals import WorkerTotals


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WHOSE: tuple[Whose, ...] = get_args(Whose)
_STATES = ("up", "suspect", "recovering", "draining", "drained", "down")

Rows = Iterable[tuple[list[str], float | None]]


def is_available() -> bool:
    """Return whether ``prometheus-client`` is installed."""
    try:
        import prometheus_client  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


def exposition(snapshot: Snapshot, totals: Iterable[WorkerTotals]) -> bytes:
    """Return all metrics as Prometheus reads them.

    Args:
        snapshot: The fleet as it is now.
        totals: What each worker counted since it started.
    """
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra

    workers = list(totals)

    class Fleet:
        def collect(self) -> Iterable[Metric]:
            yield from map(_sendable, families(snapshot, workers))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet())
    return generate_latest(registry)


def families(snapshot: Snapshot, workers: list[WorkerTotals]) -> Iterator[Metric]:
    """Yield all metrics, also those without a value."""
    yield from _counted(workers)
    yield from _nodes(snapshot, workers)
    yield from _states(snapshot)


def _sendable(metric: Metric) -> Metric:
    """Return *metric* with labels that can be sent: half a surrogate pair in a name cannot."""
    metric.samples = [
        sample._replace(
            labels={
                name: value.encode(errors="replace").decode()
                for name, value in sample.labels.items()
            }
        )
        for sample in metric.samples
    ]
    return metric


def _counted(workers: list[WorkerTotals]) -> Iterator[Metric]:
    """Yield what each worker counted since it started."""
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - an extra

    took = HistogramMetricFamily(
        "flask_msm_operation_duration_seconds",
        "How long reads and writes of sessions took.",
        labels=["worker", "op"],
    )
    for one in workers:
        for op, histogram, seconds in (
            ("load", one.loads, one.load_seconds),
            ("save", one.saves, one.save_seconds),
        ):
            took.add_metric([one.worker, op], buckets=_buckets(histogram), sum_value=seconds)
    yield took
    yield _counter(
        "loads",
        "Reads of sessions: found, not there, or no store knew.",
        ["worker", "result"],
        (
            ([one.worker, result], count)
            for one in workers
            for result, count in (
                ("hit", one.hits),
                ("miss", one.misses),
                ("unknown", one.unknown),
            )
        ),
    )
    yield _counter(
        "saves_kept_locally",
        "Writes that local storage took because no node did.",
        ["worker"],
        (([one.worker], one.kept_locally) for one in workers),
    )
    yield _counter(
        "failed",
        "Reads that no store answered and writes that none took.",
        ["worker", "op"],
        (
            ([one.worker, op], count)
            for one in workers
            for op, count in (("load", one.unknown), ("save", one.unsaved))
        ),
    )
    yield _counter(
        "worker_events",
        "What happened in a worker.",
        ["worker", "event"],
        (([one.worker, event], count) for one in workers for event, count in one.counts.items()),
    )
    yield _counter(
        "node_failures",
        "How often a node failed a worker.",
        ["worker", "node", "kind"],
        (
            ([one.worker, node, kind], count)
            for one in workers
            for node, (timeouts, breaks) in one.failures.items()
            for kind, count in (("timeout", timeouts), ("break", breaks))
        ),
    )


def _nodes(snapshot: Snapshot, workers: list[WorkerTotals]) -> Iterator[Metric]:
    """Yield what nodes count themselves, and how they are."""
    numbers = newest_of_nodes(workers)
    texts = {
        "hits": "Reads that found something, since the start of the node.",
        "misses": "Reads that found nothing, since the start of the node.",
        "evictions": "Items thrown out for want of memory, since the start of the node.",
        "refused_connections": "Times it took no more connections, since its start.",
    }
    for name in NODE_COUNTS:
        rows = (([node], found.get(name)) for node, found in numbers.items())
        yield _counter(f"node_{name}", texts[name], ["node"], rows)
    for name, text, field in (
        ("node_items", "Everything a node holds, also of other applications.", "items"),
        ("node_bytes", "Memory that takes.", "bytes"),
        ("node_limit_bytes", "Memory it may take.", "limit_bytes"),
        ("node_connections", "Connections that are open.", "connections"),
        ("node_answer_seconds", "How long its last answer to a probe took.", "latency"),
        ("node_statistics_time_seconds", "When the node said so, seconds since 1970.", "at"),
    ):
        rows = (([node], found.get(field)) for node, found in numbers.items())
        yield _gauge(name, text, ["node"], rows)
    nodes = snapshot.nodes
    yield _gauge(
        "node_state",
        "1 for the state a node is in.",
        ["node", "state"],
        (([node.id, state], float(node.state == state)) for node in nodes for state in _STATES),
    )
    yield _gauge(
        "node_trusted",
        "Whether the fleet lets a node say that a session does not exist.",
        ["node"],
        (([node.id], float(bool(node.trusted))) for node in nodes),
    )


def _states(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield how the fleet is."""
    modes = facts.modes(snapshot)
    yield _gauge(
        "workers",
        "Workers that are seen, by mode.",
        ["mode"],
        (([mode], count) for mode, count in modes.items()),
    )
    known = snapshot.observer.workers_known
    yield _gauge("workers_known", "Workers that live, seen or not.", [], [([], known)])
    for name, choice in (("policy", snapshot.policy), ("distribution", snapshot.distribution)):
        rows: Rows = [([choice.value], 1.0)]
        yield _gauge(f"{name}_info", "1 for what is in force.", ["value"], rows)
    yield _gauge(
        "blacklisted_attributes",
        "Attributes that could not be stored, or are pinned.",
        [],
        [([], max(snapshot.blacklist_total, len(snapshot.blacklist)))],
    )
    lost, copies = snapshot.lost, snapshot.copies
    yield _gauge(
        "lost_sessions",
        "Sessions that were asked for and lost, in the last 15 minutes.",
        [],
        [([], lost.lost if lost else 0)],
    )
    yield _gauge(
        "too_many_lost",
        "1 from MSM_LOST_SESSIONS_LIMIT on.",
        [],
        [([], float(bool(lost and lost.too_many)))],
    )
    yield _gauge(
        "single_copy_sessions",
        "Sessions with one copy left, as far as nodes list their keys.",
        [],
        [([], copies.one_copy if copies else None)],
    )
    local = snapshot.local
    kept = local.sessions if local else None
    yield _gauge("local_sessions", "Sessions in local storage.", [], [([], kept)])
    yield _gauge(
        "local_changed_sessions",
        "Sessions in local storage with changes the cluster does not have.",
        [],
        [([], local.dirty if local else None)],
    )


def _gauge(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - an extra

    family = GaugeMetricFamily(f"flask_msm_{name}", text, labels=labels)
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family


def _counter(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - an extra

    family = CounterMetricFamily(f"flask_msm_{name}", text, labels=labels)
    for values, value in rows:
        if value is not None:
            family.add_metric(values, value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many operations took at most each bound."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    seen = 0
    rows = []
    for bound, count in zip(bounds, histogram.counts, strict=True):
        seen += count
        rows.append((bound, float(seen)))
    return rows
