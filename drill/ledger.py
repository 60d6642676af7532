"""What was acknowledged to a visitor, and what of it is missing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from .browser import Answer


class Entry(NamedTuple):
    """A change that was acknowledged.

    Attributes:
        value: The value; later ones are greater.
        at: When it was acknowledged, monotonic time in seconds.
        where: Who acknowledged it and what was the matter then, in words.
    """

    value: int
    at: float
    where: str


Entries = dict[str, Entry]


class Ledger:
    """The newest change of each attribute that was acknowledged to one tab."""

    def __init__(self) -> None:
        self._entries: Entries = {}
        self._lost: set[tuple[str, int]] = set()

    def entries(self) -> Entries:
        """Return what was acknowledged so far."""
        return dict(self._entries)

    def acknowledge(self, body: dict[str, int], answer: Answer, phase: str) -> None:
        """Take note that the change *body* was acknowledged by *answer*."""
        where = f"{answer.site}, {answer.mode}, {phase}"
        for name, value in body.items():
            self._entries[name] = Entry(value, time.monotonic(), where)

    def newly_lost(self, missing: Entries) -> Entries:
        """Return what of *missing* was not called lost before; it is from now on."""
        fresh = {
            name: entry for name, entry in missing.items() if (name, entry.value) not in self._lost
        }
        self._lost |= {(name, entry.value) for name, entry in fresh.items()}
        return fresh


def missing_of(wanted: Entries, answer: Answer) -> Entries:
    """Return what of *wanted* an answer lacks."""
    return {
        name: entry
        for name, entry in wanted.items()
        if is_behind(answer.body.get(name), entry.value)
    }


def is_behind(found: object, value: int) -> bool:
    """Return whether *found* is older than *value*, or nothing."""
    return not isinstance(found, int) or found < value


def in_words(missing: Entries, answer: Answer) -> list[str]:
    """Return what an answer lacks, who had acknowledged it, and how long before."""
    return [
        f"{name!r} is {answer.body.get(name)} at {answer.site}, not {entry.value}"
        f" ({entry.where}, {answer.sent - entry.at:.3f} s before)"
        for name, entry in missing.items()
    ]
