"""What sessions did: counts, latencies and series."""

from __future__ import annotations

from dataclasses import dataclass


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
        loads: Latency of reads.
        saves: Latency of writes.
        hits: Reads that found a session.
        misses: Reads that found none.
        failed: Reads that no store answered and writes that none took.
        retried: Operations that succeeded at the second try.
        from_backup: Reads that were answered by another copy than the first.
        kept_locally: Writes that went to local storage only.
        operations_series: Reads and writes in each step.
        hit_ratio_series: Share of reads that found a session.
        p95_series: 95 of 100 operations took at most so many seconds.
        failed_series: As *failed*.
    """

    loads: Histogram | None = None
    saves: Histogram | None = None
    hits: int = 0
    misses: int = 0
    failed: int = 0
    retried: int | None = None
    from_backup: int | None = None
    kept_locally: int | None = None
    operations_series: tuple[float | None, ...] = ()
    hit_ratio_series: tuple[float | None, ...] = ()
    p95_series: tuple[float | None, ...] = ()
    failed_series: tuple[float | None, ...] = ()
