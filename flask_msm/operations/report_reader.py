"""Typed access to a report of another worker.

Reports come from the network. They are signed, and still another version may have written them:
every fact is taken out with its type checked, and what is odd counts as not reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping


#: Most items that are taken of a list.
_MOST_ITEMS = 200


class ReportFields:
    """A part of a report, its fields taken out with the type they must have.

    Args:
        fields: A dictionary from JSON, or anything else, which counts as empty.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: object) -> None:
        self._fields: Mapping[str, Any] = fields if isinstance(fields, dict) else {}

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        return _number(self._fields.get(name))

    def integer(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.number(name)
        return None if value is None else int(value)

    def text(self, name: str, limit: int | None = 1000) -> str | None:
        """Return a text, cut to *limit* characters; ``None`` where the caller has own bounds."""
        value = self._fields.get(name)
        return value[:limit] if isinstance(value, str) else None

    def boolean(self, name: str) -> bool:
        """Return whether something was reported as true."""
        return self._fields.get(name) is True

    def section(self, name: str) -> ReportFields:
        """Return the fields under a name."""
        return ReportFields(self._fields.get(name))

    def names(self) -> list[str]:
        """Return the names of all fields."""
        return [name for name in self._fields if isinstance(name, str)]

    def rows(self, name: str) -> list[ReportFields]:
        """Return a list of sections."""
        return [ReportFields(row) for row in self._list(name)]

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
        value = self._fields.get(name)
        return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if type(value) is not int and type(value) is not float:
        return None
    # Neither infinite nor NaN, nor too large to calculate with.
    return value if -1e18 < value < 1e18 else None
