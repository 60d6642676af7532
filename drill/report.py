"""How the acts went, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from .play import Played, Times


#: So many of what went wrong in an act are printed; the JSON has all.
_COMPLAINTS = 15

_NOTES = (
    "worker ms, client ms: p50 / p99 / slowest, in the worker and at the browser.",
    "not visible until return: acknowledged changes + logouts that another host could not know of.",
)


def _unseen(one: Played) -> str:
    return f"{one.unseen} + {one.undone_elsewhere}" if one.undone_elsewhere else str(one.unseen)


def _times(times: Times) -> str:
    return " / ".join(_milliseconds(time) for time in times)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


_COLUMNS: tuple[tuple[str, Callable[[Played], str]], ...] = (
    ("act", lambda one: one.title),
    ("requests", lambda one: str(one.requests)),
    ("errors", lambda one: str(one.errors)),
    ("sent again", lambda one: str(one.sent_again)),
    ("lost changes", lambda one: str(one.lost)),
    ("signed out", lambda one: str(one.signed_out)),
    ("logouts undone", lambda one: f"{one.undone} of {one.logouts}"),
    ("not visible until return", _unseen),
    ("worker ms", lambda one: _times(one.worker)),
    ("client ms", lambda one: _times(one.client)),
    ("slowest local ms", lambda one: _milliseconds(one.slowest_local)),
    ("recovered s", lambda one: f"{one.recovery:.1f}"),
    ("fast path before", lambda one: "-" if one.fast is None else f"{one.fast:.0%}"),
)


def text(played: Sequence[Played], notes: Sequence[str]) -> str:
    """Return the table for people at a terminal."""
    rows = _rows(played)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", *_NOTES, *notes])


def markdown(played: Sequence[Played], notes: Sequence[str]) -> str:
    """Return the table as it stands in ``README.md`` of this folder."""
    head, *rows = _rows(played)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*table, "", *(f"- {note}" for note in (*_NOTES, *notes))])


def as_json(played: Sequence[Played], notes: Sequence[str]) -> str:
    """Return everything there is to know."""
    return json.dumps({"notes": list(notes), "acts": [one.as_json() for one in played]}, indent=2)


def complaints(played: Sequence[Played]) -> str:
    """Return what went wrong, in words."""
    lines = []
    for one in played:
        lines += [f"{one.title}: {line}" for line in one.complaints[:_COMPLAINTS]]
        if left := len(one.complaints) - _COMPLAINTS:
            lines += [f"{one.title}: and {left} more"] if left > 0 else []
    return "\n".join(lines)


def _rows(played: Sequence[Played]) -> list[list[str]]:
    titles = [title for title, _ in _COLUMNS]
    return [titles, *([cell(one) for _, cell in _COLUMNS] for one in played)]
