"""Where the parts of a chart lie: x in per cent of its width, y in pixels from its top.

Nothing here knows what is drawn; the templates draw it. A gap in the data stays a gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.operations.state.formatting import utc


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


HOUR, DAY = 3600.0, 86400.0
#: The step of an axis that is at most so long, seconds.
_STEPS = ((HOUR, 180.0), (12 * HOUR, HOUR), (2 * DAY, 3 * HOUR), (math.inf, DAY))
#: Labels of the axis keep so far from its ends, per cent.
_LEFT, _RIGHT = 2.0, 93.0
#: From here on a label is too near to the last one where the chart is narrow.
_CROWDED = 82.0
#: Width of the inner drawing that lines are drawn in, in its own units.
WIDE = 1000
#: The classes of latencies double, and so does the axis: pixels for each doubling, place of 1 ms.
DOUBLING, ONE_MS = 11.5, 121.0
_TOP, _BOTTOM = 4.0, 144.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis with its label; *kind* says where there is no room for it."""

    x: float
    label: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """What lasts from *x* on for *width*; *kind* is a class of the style sheet."""

    x: float
    width: float
    kind: str
    title: str = ""

    @property
    def end(self) -> float:
        """Where it ends."""
        return round(self.x + self.width, 2)

    @property
    def middle(self) -> float:
        """Where its middle lies."""
        return round(self.x + self.width / 2, 2)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a step."""

    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Changes that lie so close together that they have one marker."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """The time from *begin* to *end*, seconds since the epoch."""

    begin: float
    end: float

    def x(self, at: float) -> float:
        """Return where *at* lies, within the chart."""
        share = (at - self.begin) / (self.end - self.begin)
        return round(min(1.0, max(0.0, share)) * 100, 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return round times with their labels, in UTC."""
        length = self.end - self.begin
        step = next(step for longest, step in _STEPS if length <= longest)
        first = int(self.begin // step + 1)
        times = [number * step for number in range(first, math.ceil(self.end / step))]
        found = [(self.x(at), at) for at in times]
        shown = [(x, at) for x, at in found if _LEFT < x < _RIGHT]
        return tuple(
            Tick(x, _label(at), "w m" if x > _CROWDED else "w" if place % 3 else "")
            for place, (x, at) in enumerate(shown)
        )

    def block(
        self, begin: float, end: float | None, kind: str, title: str, *, least: float
    ) -> Block:
        """Return what lasts from *begin* to *end* (``None``: until now), at least *least* wide."""
        left = self.x(begin)
        right = 100.0 if end is None else self.x(end)
        width = max(right - left, least)
        return Block(round(min(left, 100 - width), 2), round(width, 2), kind, title)


def _label(at: float) -> str:
    when = utc(at)
    if when is None:
        return ""
    return f"{when:%a} {when.day}" if at % DAY == 0 else f"{when:%H:%M}"


def merged(blocks: Iterable[Block], title: Callable[[int], str]) -> tuple[Block, ...]:
    """Return *blocks* of one kind, from left to right; those that touch are one.

    Args:
        blocks: Oldest first.
        title: Returns what is said of so many that are drawn as one.
    """
    found: list[tuple[Block, int]] = []
    for block in blocks:
        last, count = found[-1] if found else (None, 0)
        if last is not None and block.x <= last.end:
            right = max(last.end, block.end)
            joined = Block(last.x, round(right - last.x, 2), last.kind, title(count + 1))
            found[-1] = joined, count + 1
        else:
            found.append((block, 1))
    return tuple(block for block, _ in found)


def marks(places: Sequence[float], near: float = 3.0) -> tuple[Mark, ...]:
    """Return numbered markers at *places*; those closer than *near* are one."""
    groups: list[tuple[float, int, int]] = []
    for number, x in enumerate(places, 1):
        if groups and x - groups[-1][0] < near:
            groups[-1] = (*groups[-1][:2], number)
        else:
            groups.append((x, number, number))
    return tuple(
        Mark(x, str(first) if first == last else f"{first}\N{EN DASH}{last}")
        for x, first, last in groups
    )


def bars(
    axis: Axis,
    values: Iterable[tuple[float, float | None]],
    step: float,
    *,
    top: float,
    base: float,
) -> tuple[Bar, ...]:
    """Return a bar for each value above 0, from *base* up; the largest one ends at *top*."""
    known = [(at, value) for at, value in values if value]
    most = max((value for _, value in known), default=0.0)
    found = []
    for at, value in known:
        left, right = axis.x(at), axis.x(at + step)
        height = max(2.0, (base - top) * value / most)
        found.append(Bar(left, round(right - left, 2), round(base - height, 1), round(height, 1)))
    return tuple(found)


def known_parts(
    axis: Axis, values: Iterable[tuple[float, float | None]], step: float
) -> tuple[Block, ...]:
    """Return the parts of the axis of which something is known."""
    parts: list[list[float]] = []
    for at, value in values:
        if value is None:
            continue
        if parts and at <= parts[-1][1] + 1:
            parts[-1][1] = at + step
        else:
            parts.append([at, at + step])
    return tuple(axis.block(begin, end, "known", "", least=0.0) for begin, end in parts)


def steps(
    axis: Axis,
    values: Iterable[tuple[float, float | None]],
    step: float,
    y: Callable[[float], float],
) -> str:
    """Return the line through *values* as a path in steps, not slopes; broken where one is missing.

    Its x runs from 0 to ``WIDE``.
    """

    def x(at: float) -> str:
        return f"{axis.x(at) * WIDE / 100:g}"

    path: list[str] = []
    last: float | None = None
    end = axis.begin
    for at, value in values:
        if value != last:
            if last is not None:
                path.append(f"H{x(end)}")
            if value is not None:
                path.append(f"M{x(at)} {y(value):g}" if last is None else f"V{y(value):g}")
        last, end = value, at + step
    if last is not None:
        path.append(f"H{x(end)}")
    return "".join(path)


def latency_y(seconds: float) -> float:
    """Return the height of a latency, doubling by doubling."""
    if seconds <= 0:
        return _BOTTOM
    y = ONE_MS - DOUBLING * math.log2(seconds * 1000)
    return round(min(_BOTTOM, max(_TOP, y)), 1)


def share_y(floor: float) -> Callable[[float], float]:
    """Return the height of a ratio between *floor* and 1."""

    def y(share: float) -> float:
        return round(18 + 58 * (1 - max(share, floor)) / (1 - floor), 1)

    return y


def apart(heights: Sequence[float], least: float = 14.0) -> tuple[float, ...]:
    """Return *heights*, from top to bottom, moved down so that texts there do not overlap."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + least) if found else height)
    return tuple(found)
