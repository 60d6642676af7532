"""What the nodes' statistics were over the last fifteen minutes, as one worker read them."""

from __future__ import annotations

from collections import deque
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from .node_statistics import Numbers


#: A point is kept every so many seconds, and so many points.
STEP = 30.0
POINTS = 31
#: Answers that are kept one by one, for as long as the points: one every two seconds.
SAMPLES = 450


class Point(NamedTuple):
    """Statistics ``at`` one time (seconds since the epoch), which took ``latency`` seconds."""

    at: float
    latency: float
    hits: int | None
    misses: int | None
    evictions: int | None


class RecentStatistics:
    """Points of one node."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        #: When, and how long the node took.
        self._answers: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def add(self, numbers: Numbers) -> None:
        """Keep *numbers*, if the last point is old enough; the worst latency between counts."""
        point = Point(numbers.at, numbers.latency, numbers.hits, numbers.misses, numbers.evictions)
        # While a node does not answer, its last numbers are passed again.
        if not self._answers or self._answers[-1][0] != point.at:
            self._answers.append((point.at, point.latency))
        while point.at - self._answers[0][0] >= STEP * (POINTS - 1):
            self._answers.popleft()
        last = self._points[-1] if self._points else None
        if last is not None and 0 <= point.at - last.at < STEP:
            worst = max(last.latency, point.latency)
            self._points[-1] = last._replace(latency=worst)
        else:
            self._points.append(point)

    def latencies(self) -> list[float]:
        """Return the worst latency of each step, oldest first, seconds."""
        return [point.latency for point in self._points]

    def quantiles(self, *percents: int) -> list[float | None]:
        """Return the latencies in seconds that so many of 100 answers did not exceed."""
        known = sorted(map(itemgetter(1), self._answers))
        return [
            known[max(0, ceil(len(known) * percent / 100) - 1)] if known else None
            for percent in percents
        ]

    def hit_ratio(self) -> float | None:
        """Return the share of reads that found something, ``None`` without reads or numbers."""
        hits, misses = self._grown("hits"), self._grown("misses")
        if hits is None or misses is None or hits + misses == 0:
            return None
        return hits / (hits + misses)

    def evictions_per_minute(self) -> float | None:
        """Return how many items were thrown out in a minute, ``None`` when that is not known."""
        grown = self._grown("evictions")
        if grown is None:
            return None
        minutes = (self._points[-1].at - self._points[0].at) / 60
        return grown / minutes if minutes > 0 else 0.0

    def _grown(self, name: str) -> int | None:
        """Return by how much a number rose; it begins at 0 again when a node is restarted."""
        grown, earlier = 0, None
        for point in self._points:
            value: int | None = getattr(point, name)
            if value is None:
                return None
            if earlier is not None:
                grown += value - earlier if value >= earlier else value
            earlier = value
        return None if earlier is None else grown
