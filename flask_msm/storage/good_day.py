"""Which path the requests of a good day take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fast_path import FastPath
from .known_records import KnownRecords
from .sticky_path import StickyPath


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.routing import Router
    from flask_msm.process.background import Background
    from flask_msm.record.keys import Keyring
    from flask_msm.settings.settings import Settings

    from .failover import FailoverStore
    from .looks_behind import LooksBehind
    from .second_looks import SecondLooks


def good_day(
    store: FailoverStore,
    settings: Settings,
    *,
    router: Router,
    second_looks: SecondLooks,
    looks_behind: LooksBehind,
    keys: Callable[[], Keyring],
    queue: Callable[[str], Background],
    record_format: Callable[[], int],
) -> FastPath | StickyPath:
    """Return the path for sessions that any host may serve, or that one host does.

    *queue* makes a queue behind responses with a thread of that name; *record_format* returns the
    format that records are written in.
    """
    if settings.sticky:
        return StickyPath(
            store,
            enabled=settings.fast_path,
            most=settings.record_cache_bytes,
            router=router,
            ended=store.ended_sessions,
            queue=queue("flask-msm-sticky"),
            clock=store.nodes.clock,
            timeout=settings.request_deadline,
        )
    return FastPath(
        store,
        enabled=settings.fast_path,
        writes=not settings.backup_async,
        router=router,
        ended=store.ended_sessions,
        second_looks=second_looks,
        looks_behind=looks_behind,
        known=KnownRecords(settings.record_cache_bytes),
        keys=keys,
        record_format=record_format,
    )


def counts(path: FastPath | StickyPath) -> dict[str, int]:
    """Return how many reads and changes took *path*, and how many were left to its store."""
    return {
        "fast_reads": path.reads,
        "other_reads": path.other_reads,
        "fast_writes": path.writes,
        "other_writes": path.other_writes,
    }
