"""Which events are shown, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ..texts import _, plural


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.snapshot import Event, Snapshot


#: Events on one page.
PAGE = 50
_GOOD = frozenset({"node_up", "mode_back", "circuit_closed", "node_rebuilt", "rebuilt"})
_FILTERS = ("kind", "node", "actor")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event.

    Attributes:
        event: What happened.
        level: ``ok``, ``info``, ``warn``, ``bad`` or ``who`` (an operator did it).
        by: Who did it, if the text does not say so.
        detail: More of it.
    """

    event: Event
    level: str
    by: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events.

    Attributes:
        rows: What is shown.
        total: How many match.
        older: Query of the next page, if there is one.
        chosen: What was filtered by.
        kinds: Kinds there are.
        nodes: Nodes there are events of.
        actors: Operators there are events of.
    """

    rows: list[EventRow]
    total: int
    older: str | None
    chosen: Mapping[str, str]
    kinds: list[str]
    nodes: list[str]
    actors: list[str]


def event_row(event: Event) -> EventRow:
    """Return how *event* is shown."""
    if event.actor and event.level == "info":
        level = "who"
    elif event.kind in _GOOD:
        level = "ok"
    else:
        level = {"error": "bad", "warning": "warn"}.get(event.level, "info")
    parts = [event.detail] if event.detail else []
    if event.reason and event.reason not in event.text:
        parts.append(_("Reason: {reason}", reason=event.reason))
    if len(event.workers) > 1:
        parts.append(plural(len(event.workers), "seen by {n} worker", "seen by {n} workers"))
    by = ""
    if event.actor and event.actor not in event.text:
        by = _("by {name}", name=event.actor)
    return EventRow(event=event, level=level, by=by, detail=", ".join(parts))


def event_page(snapshot: Snapshot, query: Mapping[str, str]) -> EventPage:
    """Return the events *query* asks for: ``kind``, ``node``, ``actor``, ``before``."""
    chosen = {name: query[name] for name in _FILTERS if query.get(name)}
    found = [
        event
        for event in snapshot.events
        if all(getattr(event, name) == value for name, value in chosen.items())
    ]
    begin = 0
    before = query.get("before")
    if before:
        places = [place for place, event in enumerate(found) if event.id == before]
        begin = places[0] + 1 if places else 0
    rows = found[begin : begin + PAGE]
    older = None
    if begin + PAGE < len(found):
        older = urlencode({**chosen, "before": rows[-1].id}, errors="replace")
    return EventPage(
        rows=[event_row(event) for event in rows],
        total=len(found),
        older=older,
        chosen=chosen,
        kinds=sorted({event.kind for event in snapshot.events}),
        nodes=sorted({event.node for event in snapshot.events if event.node}),
        actors=sorted({event.actor for event in snapshot.events if event.actor}),
    )
