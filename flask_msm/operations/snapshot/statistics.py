"""What a memcached node reported about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """What a node reported about itself, as one worker read it.

    Attributes:
        at: When.
        version: Of memcached.
        uptime: Seconds since it was started.
        items: Everything it holds, also expired items and those of other applications.
        bytes: Memory they take.
        limit_bytes: Memory they may take.
        hits: Reads that found something, since its start.
        misses: Reads that found nothing, since its start.
        hit_ratio: Share of reads that found something, in the window.
        evictions: Items thrown out for want of memory, since its start.
        evictions_per_minute: The same per minute, in the window.
        evicted_unfetched: Those among all of them that were not read since they were written.
        expired_unfetched: Items that ran out of time and were never read, since its start.
        connections: Open now.
        max_connections: Allowed.
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
