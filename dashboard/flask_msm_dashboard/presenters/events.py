"""Which events are shown, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask_msm.operations.state.formatting import cut
from flask_msm.operations.state.texts import _, plural


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.operations.snapshot import Event, Snapshot


#: Events on one page.
PAGE = 50
_GOOD = frozenset({"node_up", "mode_back", "circuit_closed", "node_rebuilt", "rebuilt"})
_FILTERS = ("kind", "node", "actor")
#: What may be chosen as ``since``, seconds; a time in ISO 8601 is taken as well.
_SINCE = {"15m": 900.0, "1h": 3600.0, "1d": 86400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event.

    Attributes:
        event: What happened.
        level: ``ok``, ``info``, ``warn``, ``bad`` or ``who`` (an operator did it).
        by: Who did it, if the text does not name the operator.
        detail: More of it.
        change: What held before and after, and what became of it.
    """

    event: Event
    level: str
    by: str
    detail: str
    change: str = ""


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
        sinces: What may be chosen as ``since``, and what it is called.
        fault: What is wrong with the query, in words.
    """

    rows: list[EventRow]
    total: int
    older: str | None
    chosen: Mapping[str, str]
    kinds: list[str]
    nodes: list[str]
    actors: list[str]
    sinces: list[tuple[str, str]]
    fault: str = ""


def event_row(event: Event) -> EventRow:
    """Return how *event* is shown."""
    if event.actor and event.level == "info":
        level = "who"
    elif event.kind in _GOOD or event.kind.endswith("_over"):
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
    return EventRow(event=event, level=level, by=by, detail=", ".join(parts), change=_change(event))


def _change(event: Event) -> str:
    parts = []
    if event.before is not None:
        parts.append(_("Before: {value}", value=event.before))
    if event.after is not None:
        parts.append(_("After: {value}", value=event.after))
    if event.result is not None:
        parts.append(_("Result: {value}", value=event.result))
    return ". ".join(parts)


def event_page(snapshot: Snapshot, query: Mapping[str, str]) -> EventPage:
    """Return the events *query* asks for: ``kind``, ``node``, ``actor``, ``since``, ``before``."""
    chosen = {name: query[name] for name in _FILTERS if query.get(name)}
    since, fault = _since(query.get("since", ""), snapshot.at)
    if since is not None:
        chosen["since"] = query["since"]
    found = [
        event
        for event in snapshot.events
        if (since is None or event.at >= since)
        and all(getattr(event, name) == chosen[name] for name in _FILTERS if name in chosen)
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
        sinces=_sinces(chosen.get("since")),
        fault=fault,
    )


def _since(text: str, now: float) -> tuple[float | None, str]:
    """Return the time *text* means, or what is wrong with it."""
    if not text:
        return None, ""
    if text in _SINCE:
        return now - _SINCE[text], ""
    try:
        when = datetime.fromisoformat(text)
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp(), ""
    except (ValueError, OverflowError):
        return None, _(
            "since={text} is not understood, all events are shown. It may be {allowed}, or a time"
            " such as 2026-01-31T12:00:00Z.",
            text=cut(text, 40),
            allowed=", ".join(_SINCE),
        )


def _sinces(chosen: str | None) -> list[tuple[str, str]]:
    found = [
        ("15m", _("the last 15 minutes")),
        ("1h", _("the last hour")),
        ("1d", _("the last day")),
    ]
    if chosen and chosen not in _SINCE:
        found.append((chosen, chosen))
    return found
