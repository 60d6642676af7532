"""The events of the snapshot: one for all workers that saw the same."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

from flask_msm.cluster.facts import Facts

from . import snapshot as doc


if TYPE_CHECKING:
    from collections.abc import Iterable


#: What several workers saw within so many seconds is one event.
SAME = 5.0
MOST_EVENTS = 300

#: When, seen by which worker, and what.
Sighting = tuple[float, str, Facts]
#: What makes two sightings the same event: kind, text, node.
_Same = tuple[str | None, str | None, str | None]


def newest(seen: Iterable[Sighting]) -> tuple[tuple[doc.Event, ...], int]:
    """Return the newest of the events that were seen, newest first, and how many there are."""
    last: dict[_Same, tuple[float, str, Facts, dict[str, None]]] = {}
    rows: list[tuple[float, str, Facts, dict[str, None]]] = []
    for at, worker, fields in sorted(seen, key=lambda event: event[0]):
        key = fields.text("kind"), fields.text("text"), fields.text("node")
        # What an operator did happened once, however alike it looks.
        same = None if fields.text("actor") else last.get(key)
        if same is not None and at - same[0] <= SAME:
            same[3][worker] = None
            continue
        last[key] = at, worker, fields, {worker: None}
        rows.append(last[key])
    return tuple(build_event(*row) for row in rows[: -MOST_EVENTS - 1 : -1]), len(rows)


def build_event(at: float, worker: str, fields: Facts, workers: Iterable[str]) -> doc.Event:
    """Return an event that *worker* saw first."""
    level = fields.text("level")
    return doc.Event(
        id=event_id(worker, fields.integer("id") or 0),
        at=at,
        level=cast("doc.Level", level if level in ("info", "warning", "error") else "info"),
        kind=(fields.text("kind") or "event")[:60],
        text=(fields.text("text") or "")[:500],
        node=fields.text("node"),
        workers=tuple(name for name in workers if name),
        actor=fields.text("actor"),
        reason=fields.text("reason"),
        before=fields.text("before"),
        after=fields.text("after"),
        result=fields.text("result"),
    )


def event_id(worker: str, number: int) -> str:
    """Return the name of an event in the fleet."""
    return f"{_short(worker)}.{number}"


@lru_cache(maxsize=1024)
def _short(worker: str) -> str:
    return blake2b(worker.encode(errors="replace"), digest_size=4).hexdigest()
