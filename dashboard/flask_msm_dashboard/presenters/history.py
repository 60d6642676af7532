"""What the page *History* shows: everything on one axis, and the same as rows and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.operations.state.formatting import UNKNOWN, cut, number
from flask_msm.operations.state.texts import _, listed, plural

from .charts import DAY, Axis, Block, Mark, Tick, marks, merged
from .history_numbers import (
    BarLane,
    FiguresRow,
    LineLane,
    drawn,
    figures,
    found_lane,
    kept_lane,
    latency_lane,
    lost_lane,
    missing,
    placed,
)
from .times import day, hour, moment, second, span_of


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.operations.history import Change, History, Outage, Span


#: What may be shown, and what it is called.
RANGES = {"15m": "15 min", "6h": "6 h", "24h": "24 h", "7d": "7 d"}
#: Most outages and changes that are shown: the newest.
MOST = 50
#: Least width of what is drawn, per cent: an outage of a minute is seen in a week as well.
_LEAST = {"down": 0.8, "up": 0.0}
_OTHERS_LEAST = 0.35
#: How far apart labels of outages are, per cent.
_LABELS_APART = 24.0


@dataclass(frozen=True, slots=True)
class NodeLane:
    """The states of a node; *spans* in the order in which they are drawn."""

    id: str
    spans: tuple[Block, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """Names an outage above its band; *seldom* ones are left out where there is little room."""

    x: float
    anchor: str
    text: str
    more: str
    seldom: bool


@dataclass(frozen=True, slots=True)
class OutageRow:
    """An outage in words."""

    begin: str
    end: str
    length: str
    nodes: str
    why: str
    lost: str
    kept: str


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change: its number on the axis, what, by whom and why, when."""

    number: int
    change: Change
    detail: str
    when: str


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """All of it."""

    title: str
    begin: float
    end: float
    step: str
    ticks: tuple[Tick, ...]
    now: str
    bands: tuple[Block, ...]
    labels: tuple[Label, ...]
    changed: tuple[float, ...]
    marks: tuple[Mark, ...]
    marks_text: str
    nodes: tuple[NodeLane, ...]
    lost: BarLane
    kept: BarLane
    latency: LineLane
    found: LineLane
    outages: tuple[OutageRow, ...]
    outages_text: str
    changes: tuple[ChangeRow, ...]
    changes_more: int
    figures: tuple[FiguresRow, ...]
    numbers: dict[str, dict[str, object]]
    notes: tuple[str, ...]


def history_page(history: History, nodes: Sequence[str], timeout: float | None) -> HistoryPage:
    """Return what the page shows.

    Args:
        history: What happened.
        nodes: Ids of the nodes that are configured, in their order.
        timeout: Time in seconds after which a node counts as silent.
    """
    axis = Axis(history.begin, history.end)
    outages = history.outages[-MOST:]
    changes = history.changes[-MOST:]
    points = placed(history)
    now = history.end
    changed = tuple(axis.x(change.at) for change in changes)
    return HistoryPage(
        title=_("{begin} to {end} UTC", begin=day(history.begin), end=day(now)),
        begin=round(history.begin, 1),
        end=round(now, 1),
        step=span_of(history.step),
        ticks=axis.ticks(),
        now=hour(now),
        bands=tuple(axis.block(one.begin, one.end, "band", "", least=0.1) for one in outages),
        labels=labels(axis, outages, history),
        changed=changed,
        marks=marks(changed),
        marks_text="; ".join(
            _("{n} at {time}", n=place, time=second(one.at))
            + (_(" by {name}", name=cut(one.who, 60)) if one.who else "")
            for place, one in enumerate(changes, 1)
        )
        or _("No changes"),
        nodes=tuple(
            node_lane(axis, node, [span for span in history.spans if span.node == node])
            for node in nodes
        ),
        lost=lost_lane(axis, points, history.step),
        kept=kept_lane(axis, points, history.step),
        latency=latency_lane(axis, points, history.step, timeout),
        found=found_lane(axis, points, history.step),
        outages=tuple(outage_row(one, history) for one in reversed(outages)),
        outages_text=_outages_text(history),
        changes=tuple(
            ChangeRow(place, one, _detail(one), moment(one.at))
            for place, one in reversed(list(enumerate(changes, 1)))
        ),
        changes_more=len(history.changes) - len(changes),
        figures=figures(history, points),
        numbers=drawn(points, timeout),
        notes=missing(history),
    )


#: Drawn in this order, so that what is bad lies on top.
_STATES = {
    "up": "up",
    "unreached": "not reached by some workers",
    "filling": "being filled",
    "drained": "drained",
    "down": "down",
}


def node_lane(axis: Axis, node: str, spans: Sequence[Span]) -> NodeLane:
    """Return what *node* was, and when."""
    blocks: list[Block] = []
    for state, word in _STATES.items():
        same = [span for span in spans if span.state == state]
        least = _LEAST.get(state, _OTHERS_LEAST)
        drawn = [
            axis.block(one.begin, one.end, state, _spoken(node, one, axis.end), least=least)
            for one in same
        ]

        def title(count: int, word: str = word) -> str:
            return _("{node} {state}, {n} times", node=node, state=_(word), n=count)

        blocks += merged(drawn, title) if state != "up" else drawn
    return NodeLane(node, tuple(blocks), _states_text(axis, node, spans))


def _spoken(node: str, span: Span, now: float) -> str:
    end = _("now") if span.end is None else second(span.end)
    length = span_of((now if span.end is None else span.end) - span.begin)
    word = _(_STATES.get(span.state, span.state))
    values = {"node": node, "state": word, "begin": second(span.begin), "end": end}
    return _("{node} {state} {begin} to {end}, {length}", **values, length=length)


def _states_text(axis: Axis, node: str, spans: Sequence[Span]) -> str:
    if not spans:
        return _("{node}: not known", node=node)
    others = [span for span in spans if span.state != "up"]
    known = axis.x(min(span.begin for span in spans)) < 1
    if not others:
        if known:
            return _("{node}: up all the time", node=node)
        since = moment(spans[0].begin)
        return _("{node}: up since {time}, not known before", node=node, time=since)
    parts = [_spoken("", span, axis.end).strip() for span in others[-8:]]
    if len(others) > len(parts):
        parts.insert(0, plural(len(others) - len(parts), "{n} more before", "{n} more before"))
    if len(others) < len(spans):
        parts.append(_("up otherwise") if known else _("up otherwise, as far as it is known"))
    return _("{node}: {states}", node=node, states="; ".join(parts))


def _what(outage: Outage, history: History) -> str:
    """Return which nodes were down, or lacked sessions only."""
    names = listed([cut(node, 24) or "" for node in outage.nodes], most=3)
    end = history.end if outage.end is None else outage.end
    down = any(
        span.state == "down"
        and span.node in outage.nodes
        and span.begin < end
        and (span.end is None or span.end > outage.begin)
        for span in history.spans
    )
    return _("{nodes} down", nodes=names) if down else _("{nodes} being filled", nodes=names)


def labels(axis: Axis, outages: Sequence[Outage], history: History) -> tuple[Label, ...]:
    """Return the names of the outages above the chart: the worst ones where there is no room."""

    def length(one: Outage) -> float:
        return (history.end if one.end is None else one.end) - one.begin

    ranked = sorted(outages, key=lambda one: (-(one.lost or 0), -length(one)))
    found: list[Label] = []
    for one in ranked:
        x = axis.block(one.begin, one.end, "", "", least=0.0).middle
        if any(abs(x - other.x) < _LABELS_APART for other in found):
            continue
        values = {
            "time": hour(one.begin),
            "what": _what(one, history),
            "length": span_of(length(one)),
        }
        text = (
            _("{time} {what} {length}", **values)
            if one.nodes
            else _("{time} sessions lost", **values)
        )
        more = "" if one.lost is None else _(", {n} lost", n=number(one.lost))
        anchor = "start" if x < 33 else "end" if x > 67 else "middle"
        found.append(Label(x, anchor, text, more, seldom=bool(found)))
    return tuple(found)


def outage_row(outage: Outage, history: History) -> OutageRow:
    """Return an outage in words."""
    end = history.end if outage.end is None else outage.end
    cut_off = outage.begin <= history.begin
    begin = _("before {time}", time=moment(history.begin)) if cut_off else moment(outage.begin)
    length = span_of(end - outage.begin)
    same_day = int(outage.begin // DAY) == int(end // DAY)
    return OutageRow(
        begin=begin,
        end=_("lasts") if outage.end is None else second(end) if same_day else moment(end),
        length=_("more than {length}", length=length) if cut_off else length,
        nodes=_what(outage, history) if outage.nodes else _("none"),
        why=cut(outage.why, 80) or "",
        lost=number(outage.lost),
        kept=number(outage.kept),
    )


def _outages_text(history: History) -> str:
    outages = history.outages
    if not outages:
        return ""
    # Not the sum of the rows: two outages of one hour both have its losses.
    lost = [one.lost for one in history.points if one is not None and one.lost is not None]
    length = sum((history.end if one.end is None else one.end) - one.begin for one in outages)
    return _(
        "{n}, {length} in all · {lost} sessions lost",
        n=number(len(outages)),
        length=span_of(length),
        lost=number(sum(lost)) if lost else UNKNOWN,
    )


def _detail(change: Change) -> str:
    parts = [_("by {name}", name=change.who)] if change.who else []
    if change.why:
        parts.append(_("why: {why}", why=change.why))
    if change.before is not None and change.before not in change.text:
        parts.append(_("before: {value}", value=change.before))
    return " · ".join(parts)
