"""Facts that other workers wrote as JSON: in the entries of shared maps, and in their reports.

They are signed, and still another version may have written them: every fact is taken out with its
type checked, and what is odd counts as not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flask_msm.errors import one_line


#: Most items that are taken of a list, and longest text.
_MOST_ITEMS, _LONGEST = 200, 1000
#: Entries that are kept parsed: more than a fleet has.
_PARSED = 4096


class Facts:
    """Facts by name. Anything but a dictionary from JSON counts as empty."""

    __slots__ = ("_facts",)

    def __init__(self, facts: object) -> None:
        self._facts: Mapping[str, Any] = facts if isinstance(facts, dict) else {}

    def __bool__(self) -> bool:
        return bool(self._facts)

    def value(self, name: str) -> object:
        """Return a fact as it is."""
        return self._facts.get(name)

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        return _number(self._facts.get(name))

    def integer(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.number(name)
        return None if value is None else int(value)

    def time(self, name: str) -> float:
        """Return seconds since the epoch, 0.0 for none."""
        value = self.number(name) or 0.0
        # A number JSON can hold may be too large for a date.
        return value if abs(value) < 1e12 else 0.0

    def text(self, name: str, limit: int | None = _LONGEST) -> str | None:
        """Return a text, cut to *limit* characters; ``None`` where the caller has own bounds."""
        value = self._facts.get(name)
        return value[:limit] if isinstance(value, str) else None

    def line(self, name: str, limit: int) -> str:
        """Return a text in one line of at most *limit* characters, empty if it is none."""
        value = self._facts.get(name)
        return one_line(value, limit) if isinstance(value, str) else ""

    def boolean(self, name: str) -> bool:
        """Return whether something is true."""
        return self._facts.get(name) is True

    def section(self, name: str) -> Facts:
        """Return the facts under a name."""
        return Facts(self._facts.get(name))

    def names(self) -> list[str]:
        """Return the names of all facts."""
        return [name for name in self._facts if isinstance(name, str)]

    def texts(self, name: str) -> set[str]:
        """Return the texts in a list."""
        return {item for item in self._list(name) if isinstance(item, str)}

    def rows(self, name: str) -> list[Facts]:
        """Return a list of sections."""
        return [Facts(row) for row in self._list(name)]

    def series(self, name: str) -> list[float | None]:
        """Return a list of numbers, ``None`` where there is none."""
        return [_number(item) for item in self._list(name)[:_MOST_ITEMS]]

    def rows_of_numbers(self, name: str) -> list[list[float]]:
        """Return a list of lists of numbers, empty ones where there is none."""
        return [
            [number for item in row[:_MOST_ITEMS] if (number := _number(item)) is not None]
            if isinstance(row, list)
            else []
            for row in self._list(name)[:_MOST_ITEMS]
        ]

    def _list(self, name: str) -> list[Any]:
        value = self._facts.get(name)
        return value if isinstance(value, list) else []


@lru_cache(_PARSED)
def facts_in(raw: bytes | None) -> Facts:
    """Return the facts in an entry of a shared map; none if it holds something else."""
    try:
        return Facts(json.loads(raw or b""))
    except (ValueError, RecursionError):
        return Facts(None)


def _number(value: object) -> float | None:
    if type(value) is not int and type(value) is not float:
        return None
    # Neither infinite nor NaN, nor too large to calculate with.
    return value if -1e18 < value < 1e18 else None
