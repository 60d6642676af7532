"""Numbers of the history as lanes, as rows and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.operations.state.formatting import UNKNOWN, number, percent
from flask_msm.operations.state.texts import _, plural

from .charts import HOUR, Axis, Bar, Block, apart, bars, known_parts, latency_y, share_y, steps
from .times import at_most, day, span_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.operations.history import History, Point


#: Time of a row of the table, seconds, by range.
_ROW = {"15m": 60.0, "6h": HOUR / 2, "24h": HOUR, "7d": 6 * HOUR}
#: Floors of the axis of *found*; never tighter than the first.
_FLOORS = (0.97, 0.9, 0.5, 0.0)

#: Points with the time at which each begins.
Placed = list[tuple[float, "Point | None"]]
Values = list[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class BarLane:
    """Counts of each step: *most* is the largest, written at its bar."""

    bars: tuple[Bar, ...]
    known: tuple[Block, ...]
    most: str
    highest: Bar | None
    figure: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line, named at its end."""

    kind: str
    path: str
    name: str
    name_y: float


@dataclass(frozen=True, slots=True)
class LineLane:
    """Lines over a grid; *grid* has heights and what stands there."""

    lines: tuple[Line, ...]
    grid: tuple[tuple[float, str], ...]
    text: str
    figure: str = ""
    limit: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class FiguresRow:
    """The figures of a time, as the lines show them."""

    begin: str
    cells: tuple[str, ...]


def placed(history: History) -> Placed:
    """Return the points with the time at which each begins, gaps as well."""
    first = next(
        (point.at - place * history.step for place, point in enumerate(history.points) if point),
        history.end - history.step * len(history.points),
    )
    return [(first + place * history.step, point) for place, point in enumerate(history.points)]


def _values(points: Placed, of: Callable[[Point], float | None]) -> Values:
    return [(at, None if point is None else of(point)) for at, point in points]


def _known(values: Values) -> list[float]:
    return [value for _at, value in values if value is not None]


def _bar_lane(axis: Axis, values: Values, step: float, figure: str, text: str) -> BarLane:
    drawn = bars(axis, values, step, top=16.0, base=50.0)
    known = _known(values)
    most = number(max(known)) if drawn else _("none") if known else _("not known")
    highest = min(drawn, key=lambda bar: bar.y) if drawn else None
    return BarLane(drawn, known_parts(axis, values, step), most, highest, figure, text)


def lost_lane(axis: Axis, points: Placed, step: float) -> BarLane:
    """Return the sessions that were lost in each step."""
    values = _values(points, lambda point: point.lost)
    known = _known(values)
    figure = number(sum(known)) if known else UNKNOWN
    text = _("Sessions lost: {n}", n=figure if known else _("not known"))
    return _bar_lane(axis, values, step, figure, text)


def kept_lane(axis: Axis, points: Placed, step: float) -> BarLane:
    """Return the changed sessions that waited on hosts."""
    values = _values(points, lambda point: point.kept)
    known = _known(values)
    most = number(max(known)) if known else _("not known")
    figure = number(values[-1][1]) if values else UNKNOWN
    text = _("Most sessions kept on hosts at a time: {n}", n=most)
    return _bar_lane(axis, values, step, figure, text)


def latency_lane(axis: Axis, points: Placed, step: float, timeout: float | None) -> LineLane:
    """Return how long loads and saves took, with the time-out of a node as a limit."""
    columns = {
        "p50": _values(points, lambda point: point.p50),
        "p95": _values(points, lambda point: point.p95),
        "p99": _values(points, lambda point: point.p99),
    }
    last = {name: values[-1][1] if values else None for name, values in columns.items()}
    order = ("p99", "p95", "p50")
    heights = apart([0.0 if (v := last[n]) is None else latency_y(v) + 4 for n in order])
    lines = tuple(
        Line(
            name,
            steps(axis, columns[name], step, latency_y),
            "" if last[name] is None else f"{name} {at_most(last[name])}",
            height,
        )
        for name, height in zip(order, heights, strict=True)
    )
    highest = _known(columns["p99"])
    if not highest:
        text = _("Session time per request: not known")
    else:
        text = _(
            "Session time per request. At the end half of the requests take {p50}, 95 of 100 {p95},"
            " 99 of 100 {p99}. Highest p99 in this time: {most}.",
            **{name: at_most(value) for name, value in last.items()},
            most=at_most(max(highest)),
        )
    limit = None
    if timeout:
        limit = latency_y(timeout), _("time-out of a node, {n} ms", n=f"{timeout * 1000:g}")
        text += " " + _("The time-out of a node is {n} ms.", n=f"{timeout * 1000:g}")
    grid = tuple(
        (latency_y(ms / 1000), "1 s" if ms == 1000 else f"{ms} ms") for ms in (1, 4, 16, 64, 1000)
    )
    return LineLane(lines, grid, text, limit=limit)


def found_lane(axis: Axis, points: Placed, step: float) -> LineLane:
    """Return the share of sessions found, on an axis that does not magnify what is little."""
    values = _values(points, lambda point: point.hit_ratio)
    known = _known(values)
    floor = next(floor for floor in _FLOORS if floor <= min(known, default=1.0))
    y = share_y(floor)
    if not known:
        text = _("Sessions found, of those looked for: not known")
    else:
        ends = {"low": percent(min(known)), "high": percent(max(known))}
        text = _("Sessions found, of those looked for: {low} to {high} %", **ends)
    last = values[-1][1] if values else None
    grid = tuple(
        (y(share), f"{share * 100:g} %") for share in (1.0, round((1 + floor) / 2, 3), floor)
    )
    figure = UNKNOWN if last is None else f"{percent(last)} %"
    return LineLane((Line("found", steps(axis, values, step, y), "", 0.0),), grid, text, figure)


def figures(history: History, points: Placed) -> tuple[FiguresRow, ...]:
    """Return the figures row by row, as the sum or the worst of the steps in it."""
    length = _ROW[history.range]
    rows: dict[int, list[Point | None]] = {}
    for at, point in points:
        rows.setdefault(int(at // length), []).append(point)
    return tuple(
        FiguresRow(day(begin * length), _cells(found)) for begin, found in sorted(rows.items())
    )


def _cells(points: list[Point | None]) -> tuple[str, ...]:
    known = [point for point in points if point is not None]

    def joined(how: Callable[[list[float]], float], of: Callable[[Point], float | None]) -> str:
        found = [value for point in known if (value := of(point)) is not None]
        return number(how(found)) if found else UNKNOWN

    def slowest(of: Callable[[Point], float | None]) -> str:
        return at_most(max((v for point in known if (v := of(point)) is not None), default=None))

    hits = sum(point.hits for point in known)
    asked = hits + sum(point.misses for point in known)
    ratio = f"{percent(hits / asked)} %" if asked else UNKNOWN
    return (
        joined(sum, lambda point: point.lost),
        joined(max, lambda point: point.kept),
        slowest(lambda point: point.p50),
        slowest(lambda point: point.p95),
        slowest(lambda point: point.p99),
        ratio,
        joined(sum, lambda point: point.operations),
        _("{k} of {n}", k=len(known), n=len(points)),
    )


def drawn(points: Placed, timeout: float | None) -> dict[str, dict[str, object]]:
    """Return the numbers of each chart, for a script that draws them anew: latencies in ms."""

    def ms(of: Callable[[Point], float | None]) -> list[float | None]:
        values = _values(points, of)
        return [None if value is None else round(value * 1000, 3) for _at, value in values]

    def chart(*rows: list[float | None], **more: float | None) -> dict[str, object]:
        return {"x": [round(at) for at, _point in points], "y": rows, **more}

    lost = [value for _at, value in _values(points, lambda point: point.lost)]
    kept = [value for _at, value in _values(points, lambda point: point.kept)]
    return {
        "latency": chart(
            ms(lambda point: point.p50),
            ms(lambda point: point.p95),
            ms(lambda point: point.p99),
            limit=None if timeout is None else timeout * 1000,
        ),
        "lost": chart(lost),
        "kept": chart(kept),
    }


def missing(history: History) -> tuple[str, ...]:
    """Return what is missing in the numbers, in words."""
    notes = []
    gap = sum(point is None for point in history.points) * history.step
    if not any(history.points):
        notes.append(_("No numbers are known of this time."))
    elif gap:
        notes.append(
            _("No numbers are known of {time} of it: gaps are left open.", time=span_of(gap))
        )
    fewer = sum(
        point is not None
        and point.workers is not None
        and point.workers_known is not None
        and point.workers < point.workers_known
        for point in history.points
    )
    if fewer:
        notes.append(
            plural(
                fewer,
                "In {n} step some workers did not report: its counts are too low.",
                "In {n} steps some workers did not report: their counts are too low.",
            )
        )
    return tuple(notes)
