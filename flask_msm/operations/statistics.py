"""What memcached nodes and the sessions of workers counted, as the snapshot shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """What a node reported about itself, as one worker read it.

    Attributes:
        items: Everything it holds, also expired items and those of other applications.
        hits: Reads that found something, since its start.
        misses: Reads that found nothing, since its start.
        hit_ratio: Share of reads that found something, in the window.
        evictions: Items thrown out for want of memory, since its start.
        evictions_per_minute: The same per minute, in the window.
        evicted_unfetched: Those among all of them that were not read since they were written.
        expired_unfetched: Items that ran out of time and were never read, since its start.
        refused_connections: Times it took no more connections, since its start.
        latency: Time in seconds the statistics took.
        latency_p50: Half of the answers in the window took at most so many seconds.
        latency_p95: 95 of 100 answers in the window took at most so many seconds.
        latency_p99: 99 of 100 answers in the window took at most so many seconds.
        latencies: The worst of each step of the window, oldest first; ``None`` where none is
            known.
    """

    at: float
    version: str | None = None
    uptime: float | None = None
    items: int | None = None
    bytes: int | None = None
    limit_bytes: int | None = None
    hits: int | None = None
    misses: int | None = None
    hit_ratio: float | None = None
    evictions: int | None = None
    evictions_per_minute: float | None = None
    evicted_unfetched: int | None = None
    expired_unfetched: int | None = None
    connections: int | None = None
    max_connections: int | None = None
    refused_connections: int | None = None
    latency: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_p99: float | None = None
    latencies: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How long operations took.

    Attributes:
        bounds: Upper bounds of the classes in seconds, rising.
        counts: Operations in each class, and in one more above the last bound.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What sessions did in the window, of one worker or of all that were seen.

    A series has one value for each step of the window, oldest first; ``None`` where nothing is
    known.

    Attributes:
        failed: Reads that no store answered and writes that none took.
        kept_locally: Writes that went to local storage only.
        operations_series: Reads and writes in each step.
        p95_series: 95 of 100 operations took at most so many seconds.
        classes_series: Reads and writes in each class of time, as in a histogram.
        found_series: Reads that found a session, and reads that found none.
        kept_series: Changed sessions that waited on hosts at its end.
    """

    loads: Histogram | None = None
    saves: Histogram | None = None
    hits: int = 0
    misses: int = 0
    failed: int = 0
    kept_locally: int | None = None
    operations_series: tuple[float | None, ...] = ()
    hit_ratio_series: tuple[float | None, ...] = ()
    p95_series: tuple[float | None, ...] = ()
    failed_series: tuple[float | None, ...] = ()
    classes_series: tuple[tuple[int, ...] | None, ...] = ()
    found_series: tuple[tuple[int, int] | None, ...] = ()
    kept_series: tuple[int | None, ...] = ()
