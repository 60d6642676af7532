"""What sessions did in one worker, or in several of them together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask_msm.operations import snapshot as doc
from flask_msm.storage.metrics import BOUNDS, STEPS, summed


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.operations.report_reader import ReportFields


def traffic_of(said: list[ReportFields]) -> doc.Traffic | None:
    """Return the sum of what workers reported; ``None`` when none of them reported anything."""
    said = [facts for facts in said if facts.names()]
    if not said:
        return None
    total = partial(_total, said)
    found = [facts.rows_of_numbers("found") for facts in said]
    hits = _by_step([[row[0] if row else None for row in rows] for rows in found], sum)
    misses = _by_step([[row[1] if len(row) > 1 else None for row in rows] for rows in found], sum)
    ratios = tuple(
        None if hit is None or not hit + (miss or 0) else hit / (hit + (miss or 0))
        for hit, miss in zip(hits, misses, strict=False)
    )
    return doc.Traffic(
        loads=_histogram(said, "loads"),
        saves=_histogram(said, "saves"),
        hits=total("hits"),
        misses=total("misses"),
        failed=total("failed"),
        retried=total("retried") if any("retried" in facts.names() for facts in said) else None,
        kept_locally=total("kept_locally"),
        operations_series=_by_step([facts.series("operations") for facts in said], sum),
        hit_ratio_series=ratios,
        p95_series=_by_step([facts.series("p95") for facts in said], max),
        failed_series=_by_step([facts.series("failures") for facts in said], sum),
    )


def _total(said: Iterable[ReportFields], name: str) -> int:
    return sum(facts.whole(name) or 0 for facts in said)


def _histogram(said: list[ReportFields], name: str) -> doc.Histogram | None:
    rows = [facts.series(name) for facts in said]
    size = len(BOUNDS) + 1
    whole = [[int(count or 0) for count in row] for row in rows if len(row) == size]
    return doc.Histogram(bounds=BOUNDS, counts=tuple(summed(whole))) if whole else None


def _by_step(rows: list[list[float | None]], together: Any) -> tuple[float | None, ...]:
    """Put the values of several workers for each step together; ``None`` where none has any."""
    told = [row for row in rows if len(row) == STEPS]
    columns = [
        [value for value in column if value is not None] for column in zip(*told, strict=True)
    ]
    return tuple(together(column) if column else None for column in columns)
