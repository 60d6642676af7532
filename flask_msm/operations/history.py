"""What happened in the last minutes, hours or days: numbers, states of nodes, outages, changes.

Plain data, made by the console and read by what shows it, as the snapshot is: what is not known is
``None``, times are floats in seconds since the epoch, ratios are between 0 and 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from flask_msm.cluster.facts import Facts
from flask_msm.maintenance.history_records import DAY, DAY_STEP, HOUR, WEEK, WEEK_STEP
from flask_msm.maintenance.points import CLASSES, joined
from flask_msm.storage.metrics import quantile


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask_msm.cluster.phases import PhaseName
    from flask_msm.maintenance.history_records import Book, Logged

    from .snapshot import Level, Snapshot


RangeName = Literal["15m", "6h", "24h", "7d"]
RANGES: dict[RangeName, tuple[float, float]] = {
    "15m": (900.0, 30.0),
    "6h": (6 * HOUR, DAY_STEP),
    "24h": (DAY, DAY_STEP),
    "7d": (WEEK, WEEK_STEP),
}
#: What a worker saw so many seconds before most of them did belongs to the outage.
BEFORE = 60.0
#: The reason at the end of an event, without the class of the error.
_REASON = re.compile(r"\((?:\w+: )?(.+)\)\Z")
#: What a node may be in the history.
_STATES = frozenset({"up", "filling", "down", "drained", "unreached"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What all workers counted in one step.

    Attributes:
        at: When the step began.
        workers: Workers whose numbers are in it.
        workers_known: Workers that were known to live: with fewer in it, it is too low.
        operations: Reads and writes.
        hits: Reads that found a session.
        misses: Reads that found none.
        failed: Reads that no store answered, and writes that none took.
        lost: Sessions that were lost; ``None`` where that is not counted.
        kept: Changed sessions that waited on hosts at its end.
        p50: Half of the operations took at most so many seconds.
        p95: 95 of 100 operations took at most so many seconds.
        p99: 99 of 100 operations took at most so many seconds.
    """

    at: float
    workers: int | None = None
    workers_known: int | None = None
    operations: int = 0
    hits: int = 0
    misses: int = 0
    failed: int = 0
    lost: int | None = None
    kept: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @property
    def hit_ratio(self) -> float | None:
        """Share of the reads that found something, ``None`` without any."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in which a node was in one state; *end* is ``None`` while it is.

    Attributes:
        state: ``up``, ``filling`` (being filled again), ``down``, ``drained``, or ``unreached``
            (by some workers, while most reach it).
    """

    node: str
    state: PhaseName
    begin: float
    end: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which nodes were down or being filled, or sessions were lost.

    Attributes:
        end: ``None`` while it lasts.
        nodes: Ids of the nodes that were down or lacked sessions; none if sessions were lost while
            all were well.
        lost: Sessions that were lost meanwhile; ``None`` where that is not counted.
        kept: Most changed sessions that waited on hosts; ``None`` where that is not known.
        why: What a worker saw first, for example ``connection refused``; ``None`` if that is not
            known, or hidden.
    """

    begin: float
    end: float | None = None
    nodes: tuple[str, ...] = ()
    lost: int | None = None
    kept: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an operator changed.

    Attributes:
        kind: Short name, for example ``policy_changed``.
        text: In one sentence.
        before: What held until then.
        after: What holds since then.
    """

    at: float
    kind: str
    text: str
    node: str | None = None
    who: str | None = None
    why: str | None = None
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A warning or an error that workers saw, once for all of them."""

    at: float
    level: Level
    kind: str
    text: str
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened in a range.

    Attributes:
        range: ``15m``, ``6h``, ``24h`` or ``7d``.
        begin: Its left edge.
        end: Its right edge: now.
        step: Length of a step in seconds.
        points: One for each step that is over, oldest first; ``None`` for a gap.
        spans: States of the nodes, by node and time.
        outages: Oldest first.
        changes: Oldest first.
        incidents: Oldest first.
    """

    range: RangeName
    begin: float
    end: float
    step: float
    points: tuple[Point | None, ...] = ()
    spans: tuple[Span, ...] = ()
    outages: tuple[Outage, ...] = ()
    changes: tuple[Change, ...] = ()
    incidents: tuple[Incident, ...] = ()


def build_history(name: RangeName, book: Book, snapshot: Snapshot) -> History:
    """Return the history of a range, from the records and from what is seen now."""
    length, step = RANGES[name]
    end = snapshot.at
    begin = end - length
    log = book.log()
    points = _recent(snapshot) if name == "15m" else _slots(name, book, begin, end)
    spans = _spans(log, snapshot, begin)
    known = [point for point in points if point is not None]
    incidents = tuple(_incident(one) for one in log if one.kind == "event")
    outages = _outages(spans, known, step)
    return History(
        range=name,
        begin=begin,
        end=end,
        step=step,
        points=points,
        spans=spans,
        outages=tuple(
            replace(one, why=_why(one, outages[:place], incidents))
            for place, one in enumerate(outages)
        ),
        changes=tuple(_change(one) for one in log if one.kind == "change" and one.at >= begin),
        incidents=tuple(one for one in incidents if one.at >= begin),
    )


def _slots(name: RangeName, book: Book, begin: float, end: float) -> tuple[Point | None, ...]:
    """Return the points of the steps that are over."""
    step = int(RANGES[name][1])
    days = book.points("day")
    found = _hours(book.points("week"), days) if name == "7d" else days
    first = int(begin // step + 1) * step
    return tuple(
        _point(at, Facts(found[at])) if at in found else None
        for at in range(first, int(end // step) * step, step)
    )


def _hours(
    weeks: dict[int, dict[str, Any]], days: dict[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return the points of all hours; those that were not written down are made of the day's."""
    hours: dict[int, list[Facts]] = {}
    for at in sorted(days):
        hours.setdefault(at // WEEK_STEP * WEEK_STEP, []).append(Facts(days[at]))
    return {at: joined(points) for at, points in hours.items()} | weeks


def _point(at: float, facts: Facts) -> Point:
    row = facts.series("classes")
    classes = [int(count or 0) for count in row] if len(row) == CLASSES else []
    return Point(
        at=at,
        workers=facts.integer("workers"),
        workers_known=facts.integer("of"),
        hits=facts.integer("hits") or 0,
        misses=facts.integer("misses") or 0,
        failed=facts.integer("failed") or 0,
        lost=facts.integer("lost"),
        kept=facts.integer("kept"),
        **_latencies(classes),
    )


def _latencies(classes: Sequence[int]) -> dict[str, Any]:
    if not sum(classes):
        return {}
    quantiles = {f"p{share}": quantile(classes, share / 100) for share in (50, 95, 99)}
    return {"operations": sum(classes), **quantiles}


def _recent(snapshot: Snapshot) -> tuple[Point | None, ...]:
    """Return the steps of the last fifteen minutes, from what workers report now."""
    traffic = snapshot.traffic
    if traffic is None:
        return ()
    steps = len(traffic.classes_series)
    begin = snapshot.at - snapshot.step * steps
    lost = snapshot.lost.series if snapshot.lost else ()
    found = zip(
        traffic.classes_series,
        traffic.found_series,
        traffic.failed_series,
        lost or [None] * steps,
        traffic.kept_series or [None] * steps,
        strict=False,
    )
    points: list[Point | None] = []
    for number, (classes, reads, failed, gone, kept) in enumerate(found):
        if classes is None and kept is None and not gone:
            points.append(None)
            continue
        hits, misses = reads or (0, 0)
        numbers = {"hits": hits, "misses": misses, "failed": int(failed or 0)}
        at = begin + number * snapshot.step
        latencies = _latencies(classes or ())
        points.append(Point(at=at, **numbers, lost=gone, kept=kept, **latencies))
    return tuple(points)


def _spans(log: Sequence[Logged], snapshot: Snapshot, begin: float) -> tuple[Span, ...]:
    """Return the states of the nodes that are configured, cut to the range."""
    spans: list[Span] = []
    for node in snapshot.nodes:
        states = [
            (one.at, str(one.facts.get("state")))
            for one in log
            if one.kind == "state"
            and one.facts.get("node") == node.id
            and one.facts.get("state") in _STATES
        ]
        # What is seen now may not be written down yet.
        if node.phase is not None and (not states or states[-1][1] != node.phase):
            last = states[-1][0] if states else begin
            since = snapshot.at if node.phase_since is None else node.phase_since
            states.append((min(max(since, last), snapshot.at), node.phase))
        ends = (*[at for at, _ in states[1:]], None)
        for (at, state), until in zip(states, ends, strict=False):
            if until is None or until > begin:
                spans.append(
                    Span(
                        node=node.id,
                        state=cast("PhaseName", state),
                        begin=max(at, begin),
                        end=until,
                    )
                )
    return tuple(spans)


def _outages(spans: Iterable[Span], points: Sequence[Point], step: float) -> tuple[Outage, ...]:
    """Return the times in which something was wrong; those that touch are one."""
    down = _joined(
        Outage(begin=span.begin, end=span.end, nodes=(span.node,))
        for span in spans
        if span.state in ("down", "filling")
    )
    # A step is as long as an hour: it does not make the outage longer in which sessions were lost.
    alone = _joined(
        Outage(begin=point.at, end=point.at + step)
        for point in points
        if point.lost and not any(_is_within(point, outage, step) for outage in down)
    )
    found = sorted((*down, *alone), key=lambda outage: outage.begin)
    return tuple(_with_numbers(outage, points, step) for outage in found)


def _joined(parts: Iterable[Outage]) -> list[Outage]:
    found: list[Outage] = []
    for part in sorted(parts, key=lambda part: (part.begin, part.end or 0.0)):
        last = found[-1] if found else None
        if last is not None and (last.end is None or part.begin <= last.end):
            end = None if None in (last.end, part.end) else max(last.end or 0.0, part.end or 0.0)
            nodes = dict.fromkeys((*last.nodes, *part.nodes))
            found[-1] = replace(last, end=end, nodes=tuple(nodes))
        else:
            found.append(part)
    return found


def _is_within(point: Point, outage: Outage, step: float) -> bool:
    return point.at + step > outage.begin and (outage.end is None or point.at < outage.end)


def _with_numbers(outage: Outage, points: Sequence[Point], step: float) -> Outage:
    within = [point for point in points if _is_within(point, outage, step)]
    lost = [point.lost for point in within if point.lost is not None]
    kept = [point.kept for point in within if point.kept is not None]
    return replace(outage, lost=sum(lost) if lost else None, kept=max(kept) if kept else None)


def _why(outage: Outage, earlier: Iterable[Outage], incidents: Iterable[Incident]) -> str | None:
    """Return why the outage began: the reason that was seen first of one of its nodes."""
    end = float("inf") if outage.end is None else outage.end
    # What was seen just before belongs to it, unless it is of an outage that was over by then.
    over = [one.end for one in earlier if one.end and not set(one.nodes).isdisjoint(outage.nodes)]
    begin = max([outage.begin - BEFORE, *over])
    seen = sorted(
        [one for one in incidents if one.node in outage.nodes and begin < one.at <= end],
        key=lambda one: one.at,
    )
    for one in seen:
        if one.kind in {"node_down", "node_suspect"} and (found := _REASON.search(one.text)):
            return found[1]
    # It was away for less than a look at it takes.
    return "came back empty" if any(one.kind == "node_lost_memory" for one in seen) else None


def _change(one: Logged) -> Change:
    facts = Facts(one.facts)
    return Change(
        at=one.at,
        kind=facts.line("kind", 60),
        text=facts.line("text", 300),
        node=facts.text("node", 100),
        who=facts.text("who", 200),
        why=facts.text("why", 200),
        before=facts.text("before", 200),
        after=facts.text("after", 200),
    )


def _incident(one: Logged) -> Incident:
    facts = Facts(one.facts)
    return Incident(
        at=one.at,
        level="error" if facts.text("level") == "error" else "warning",
        kind=facts.line("kind", 60),
        text=facts.line("text", 300),
        node=facts.text("node", 100),
    )
