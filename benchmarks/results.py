"""From single times to medians, ratios and goals; the same figures for tables and JSON."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .cells import CELLS, CONTENT
from .contenders import NONE, THEIRS, THEIRS_QUIET
from .measure import quartiles


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .contenders import Contender
    from .measure import Group
    from .raw import Limit

_PACKAGES = ("flask", "werkzeug", "flask-session", "pymemcache", "redis", "itsdangerous")


@dataclass(frozen=True, slots=True)
class Results:
    """What came out.

    Attributes:
        contenders: In the order of columns.
        groups: One for each cell.
        limits: What the raw times are of.
        raw: The raw times.
        counted: Operations of one request by cell, contender and kind.
        calls: Python functions that one request calls, by cell and contender.
        waits: How often one request waits for replies, by cell and contender.
        memcached: Its version.
        requests: How many of each kind were sent to each contender.
        browsers: How many sessions they were spread over.
    """

    contenders: Sequence[Contender]
    groups: Mapping[str, Group]
    limits: Sequence[Limit]
    raw: Group
    counted: Mapping[str, Mapping[str, Mapping[str, float]]]
    calls: Mapping[str, Mapping[str, int]]
    waits: Mapping[str, Mapping[str, int]]
    memcached: str
    requests: int
    browsers: int

    def added(self, cell: str, contender: str) -> float:
        """Return the median of what *contender* adds to a request, in microseconds."""
        return statistics.median(self.groups[cell].added(contender, NONE))

    def added_processor(self, cell: str, contender: str) -> float:
        """Return the median of the processor time *contender* adds to a request, microseconds."""
        return statistics.median(self.groups[cell].added_processor(contender, NONE))

    def bare(self, cell: str) -> float:
        """Return the median of the whole request without sessions, in microseconds."""
        return statistics.median(self.groups[cell].whole(NONE))

    def added_calls(self, cell: str, contender: str) -> int:
        """Return how many calls of Python functions *contender* adds to a request."""
        return self.calls[cell][contender] - self.calls[cell][NONE]

    def limit(self, name: str) -> float:
        """Return the median of bare round trips, in microseconds."""
        return statistics.median(self.raw.whole(name))

    def ratio(self, cell: str, contender: str, to: str) -> float:
        """Return how much *contender* adds, measured by what *to* adds."""
        return self.added(cell, contender) / self.added(cell, to)

    def ratio_in_blocks(self, cell: str, contender: str, to: str) -> float:
        """Return the same for the quickest of interleaved blocks, which the goals are about."""
        group = self.groups[cell]
        return group.added_in_blocks(contender, NONE) / group.added_in_blocks(to, NONE)

    def verdicts(self) -> dict[tuple[str, str], bool]:
        """Return by cell and contender whether the goal is met, where there is one."""
        return {
            (cell.name, name): self.ratio_in_blocks(cell.name, name, THEIRS) <= goal
            for cell in CELLS
            for name, goal in cell.goals.items()
        }

    def environment(self) -> dict[str, Any]:
        """Return what was measured, and with what."""
        versions = {package: version(package) for package in _PACKAGES}
        return {
            "python": platform.python_version(),
            "memcached": self.memcached,
            **versions,
            "requests": self.requests,
            "browsers": self.browsers,
            "session_bytes": content_size(),
        }

    def as_json(self) -> str:
        """Return every figure."""
        cells = {cell.name: self._cell_as_json(cell.name) for cell in CELLS}
        raw = {limit.name: _three(self.raw.whole(limit.name)) for limit in self.limits}
        found = {"environment": self.environment(), "cells": cells, "raw_microseconds": raw}
        return json.dumps(found, indent=2) + "\n"

    def _cell_as_json(self, cell: str) -> dict[str, Any]:
        goals = next(one.goals for one in CELLS if one.name == cell)
        verdicts = self.verdicts()
        found: dict[str, Any] = {}
        for name in (contender.name for contender in self.contenders):
            group = self.groups[cell]
            found[name] = {"whole_microseconds": _three(group.whole(name))}
            if name == NONE:
                continue
            found[name] |= {
                "added_microseconds": _three(group.added(name, NONE)),
                "added_in_blocks_microseconds": group.added_in_blocks(name, NONE),
                "ratio_to_flask_session_in_blocks": self.ratio_in_blocks(cell, name, THEIRS),
                "ratio_to_flask_session": self.ratio(cell, name, THEIRS),
                "ratio_to_flask_session_no_refresh": self.ratio(cell, name, THEIRS_QUIET),
                "operations": self.counted[cell][name],
                "python_calls": self.added_calls(cell, name),
                "round_trips": self.waits[cell][name],
                "added_processor_microseconds": _three(group.added_processor(name, NONE)),
            }
            if name in goals:
                found[name] |= {"goal": goals[name], "met": verdicts[cell, name]}
        return found


def content_size() -> int:
    """Return the size of the session as compact JSON, bytes."""
    return len(json.dumps(CONTENT, separators=(",", ":")))


def _three(numbers: Sequence[float]) -> dict[str, float]:
    low, middle, high = quartiles(numbers)
    return {"lower_quartile": low, "median": middle, "upper_quartile": high}
