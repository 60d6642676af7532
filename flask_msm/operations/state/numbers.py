"""The numbers of the overview: what people feel first, then what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import facts
from .attention.lost import number_of
from .attention.storage import dirty_sessions
from .formatting import UNKNOWN, class_of, clock, duration, number, percent
from .texts import _, listed, plural


if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_msm.operations.snapshot import Snapshot
    from flask_msm.operations.statistics import Traffic


#: A hit ratio that fell by so much is worth a colour.
_FALL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number.

    Attributes:
        id: Short name.
        label: What it is.
        raw: The number as it is; ``None`` when it is not known.
        value: The number for people.
        unit: Its unit.
        note: A line of context.
        level: ``warn`` when the note is a warning.
        series: Where it came from, oldest first.
        dead: Whether what is missing at the end of *series* is an outage.
    """

    id: str
    label: str
    raw: float | None
    value: str
    unit: str
    note: str
    level: str = ""
    series: Sequence[float | None] = ()
    dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """How long operations of one kind took, in the window.

    Attributes:
        label: Which operations.
        count: How many.
        p50: Half of them took no longer, in milliseconds.
        p95: 95 of 100 took no longer.
        p99: 99 of 100 took no longer.
    """

    label: str
    count: str
    p50: str
    p95: str
    p99: str


def latencies(snapshot: Snapshot) -> list[Latencies]:
    """Return loads and saves of all workers that are seen."""
    traffic = snapshot.traffic
    kinds = (
        (_("Loads"), traffic.loads if traffic else None),
        (_("Saves"), traffic.saves if traffic else None),
    )
    return [
        Latencies(
            label=label,
            count=number(sum(histogram.counts) if histogram else None),
            p50=class_of(facts.quantile([histogram], 0.5)),
            p95=class_of(facts.quantile([histogram], 0.95)),
            p99=class_of(facts.quantile([histogram], 0.99)),
        )
        for label, histogram in kinds
    ]


def numbers(snapshot: Snapshot) -> list[Number]:
    """Return the numbers, in their order."""
    waiting = _("Waiting for the first session") if facts.is_new(snapshot) else ""
    traffic = snapshot.traffic
    alone = bool(snapshot.nodes) and not facts.answering(snapshot)
    shown = [
        _lost(snapshot),
        _one_copy(snapshot),
        _kept(snapshot),
        _latency(traffic, waiting, alone=alone),
        _rate(snapshot, traffic, waiting),
        _hits(snapshot, traffic, waiting, alone=alone),
        _failed(traffic, waiting),
    ]
    if snapshot.nodes:
        return shown
    # What is counted is counted where nodes are asked: nothing is known, not even that it is none.
    note = _("Not counted: no node is configured")
    return [replace(one, raw=None, value=UNKNOWN, note=note) for one in shown]


def traffic_text(snapshot: Snapshot) -> str:
    """Return how much was done in the window, and how much of it failed."""
    traffic = snapshot.traffic
    if not snapshot.nodes:
        return _("Not counted: no node is configured.")
    if traffic is None:
        return _("No session was asked for yet.")
    rate = facts.operations(snapshot) / facts.elapsed(snapshot)
    reads = traffic.hits + traffic.misses
    found = percent(traffic.hits / reads) if reads else UNKNOWN
    return _(
        "{n} loads and saves a second, {failed} failed in 15 minutes; {found} % of the sessions"
        " asked for were found.",
        n=number(rate, 0 if rate >= 10 or not rate else 1),
        failed=number(traffic.failed),
        found=found,
    )


def _lost(snapshot: Snapshot) -> Number:
    lost = snapshot.lost
    note = _("No cookie was read yet") if lost is None else _("None of those asked for")
    if lost is not None and lost.lost:
        note = number_of(lost)
    elif lost is not None and lost.asked:
        note = _("Of about {n} that were asked for", n=number(lost.asked))
    return Number(
        id="sessions_lost",
        label=_("Sessions lost, last 15 minutes"),
        raw=None if lost is None else lost.lost,
        value=number(lost.lost if lost else None),
        unit=_("sessions"),
        note=note,
        level="bad" if lost and lost.too_many else "",
    )


def _one_copy(snapshot: Snapshot) -> Number:
    copies = snapshot.copies
    note = _("Not counted yet")
    if snapshot.replicas < 2:
        note = _("Each session has one copy: MSM_REPLICAS is 1")
    elif copies is not None and copies.unlisted:
        note = _("Not known: {names} lists no keys", names=listed(list(copies.unlisted)))
    elif copies is not None:
        about = _("about ") if copies.about else ""
        # Not how long ago: a page that polls gets it only when it was counted anew.
        at = clock(copies.at, snapshot.at)
        if facts.counted(snapshot) is None:
            copies, note = None, _("Not counted since a node changed; before that at {at}", at=at)
        else:
            total = number(copies.sessions)
            note = _("Of {about}{n}, counted at {at}", about=about, n=total, at=at)
            full = [node.id for node in snapshot.nodes if facts.is_evicting(node)]
            if full:
                # What was thrown out since then is not in it.
                note += plural(
                    len(full),
                    "; {names} goes on throwing copies out",
                    "; {names} go on throwing copies out",
                    names=listed(full),
                )
    alone = copies.one_copy if copies is not None and snapshot.replicas > 1 else None
    return Number(
        id="one_copy",
        label=_("Only one copy left"),
        raw=alone,
        value=number(alone),
        unit=_("sessions"),
        note=note,
        level="warn" if alone else "",
    )


def _kept(snapshot: Snapshot) -> Number:
    kept = dirty_sessions(snapshot.workers)
    return Number(
        id="kept",
        label=_("Waiting on hosts"),
        raw=kept,
        value=number(kept),
        unit=plural(kept, "change", "changes"),
        note=_("Not copied to the nodes yet") if kept else _("All are on the nodes"),
    )


def _rate(snapshot: Snapshot, traffic: Traffic | None, waiting: str) -> Number:
    rate = None
    if traffic is not None:
        rate = facts.operations(snapshot) / facts.elapsed(snapshot)
    series = traffic.operations_series if traffic else ()
    digits = 0 if rate is None or rate >= 10 or rate == 0 else 1
    note = (
        _("Loads and saves, all workers")
        if snapshot.observer.complete and len(snapshot.workers) > 1
        else _("Loads and saves, visible workers")
        if len(snapshot.workers) > 1
        else _("Loads and saves, this worker")
    )
    return Number(
        id="operations",
        label=_("Session operations"),
        raw=rate if rate is not None else (0.0 if waiting else None),
        value=number(rate, digits) if rate is not None else "0" if waiting else UNKNOWN,
        unit=_("per second"),
        note=waiting or note,
        series=series,
    )


def _hits(snapshot: Snapshot, traffic: Traffic | None, waiting: str, *, alone: bool) -> Number:
    ratio: float | None = None
    series: Sequence[float | None] = ()
    note, level = waiting or _("No session was read"), ""
    if traffic is not None:
        series = traffic.hit_ratio_series
        reads = traffic.hits + traffic.misses
        if reads:
            ratio = traffic.hits / reads
            before = next((value for value in series if value is not None), None)
            now = next((value for value in reversed(series) if value is not None), ratio)
            if before is not None and before - now > _FALL:
                note, level = _("{n} % a quarter of an hour ago", n=percent(before)), "warn"
            else:
                first = next((n for n, value in enumerate(series) if value is not None), 0)
                span = (len(series) - first) * snapshot.step
                note = _("Steady for {time}", time=duration(span)) if span else ""
        elif alone:
            note = _("No node to ask")
    return Number(
        id="hit_ratio",
        label=_("Hit ratio"),
        raw=ratio,
        value=percent(ratio),
        unit="%",
        note=note,
        level=level,
        series=series,
        dead=alone,
    )


def _latency(traffic: Traffic | None, waiting: str, *, alone: bool) -> Number:
    value: float | None = None
    series: Sequence[float | None] = ()
    note = waiting or _("No session was read")
    if traffic is not None:
        value = facts.quantile((traffic.loads, traffic.saves), 0.95)
        series = traffic.p95_series
        if value is not None:
            note = _("95 of 100 took no longer")
    if alone and not waiting:
        note = _("No node to ask") if value is None else _("From local storage")
    return Number(
        id="latency",
        label=_("Session time per request, p95"),
        raw=None if value is None else value * 1000,
        value=class_of(value),
        unit=_("ms at most"),
        note=note,
        series=series,
        dead=alone and value is None,
    )


def _failed(traffic: Traffic | None, waiting: str) -> Number:
    failed = traffic.failed if traffic is not None else 0 if waiting else None
    note = waiting or _("No store answered, or none took them")
    if traffic is not None:
        if traffic.kept_locally:
            note = plural(
                traffic.kept_locally, "Saved locally instead: {n}", "Saved locally instead: {n}"
            )
        elif not failed:
            note = _("Every load and save succeeded")
    series = traffic.failed_series if traffic else ()
    return Number(
        id="failed",
        label=_("Failed operations"),
        raw=failed,
        value=number(failed),
        unit=_("in 15 minutes"),
        note=note,
        series=series,
    )
