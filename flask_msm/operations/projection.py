"""From the reports of the workers to the snapshot that is shown; what is not known is ``None``."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flask_msm.cluster.control import CLEAR, DISTRIBUTION, ON_RECONNECT, POLICY, SILENCE
from flask_msm.cluster.facts import Facts
from flask_msm.sessions.blacklist import MAX_AHEAD, Blacklist
from flask_msm.sessions.pins import CONFIG
from flask_msm.storage.metrics import STEP, STEPS
from flask_msm.version import VERSION

from . import snapshot as doc
from .losses import build_copies, build_lost
from .project_nodes import build_node, build_rebuild, latencies, read_nodes
from .project_workers import build_traffic, build_worker, common_mode, with_status
from .silences import silences_of
from .slowness import slowness


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flask_msm.application import Application, Cluster
    from flask_msm.cluster.control import Choice
    from flask_msm.cluster.reports import Report
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .project_nodes import NodeReport


#: What several workers saw within so many seconds is one event.
SAME = 5.0
MOST_EVENTS = 300

#: When, seen by which worker, and what.
Sighting = tuple[float, str, Facts]
#: What makes two sightings the same event: kind, text, node.
_Same = tuple[str | None, str | None, str | None]


class CollectedReports(NamedTuple):
    """The fleet as it was seen.

    Attributes:
        at: When, seconds since the epoch.
        reports: The newest report of each worker that can be seen, by name.
        known: Names of the workers that are known to live.
        source: ``fleet`` when at least one node was asked, ``host`` when only this host could be,
            ``self`` when neither was asked yet.
        heard: When each of them was last seen, by the clock of this worker, by name.
    """

    at: float
    reports: Mapping[str, Report]
    known: frozenset[str]
    source: str
    heard: Mapping[str, float] = {}


class _ParsedReport(NamedTuple):
    """The report of one worker: itself, how it sees each node, and what it saw happen."""

    fields: Facts
    worker: doc.Worker
    nodes: dict[str, NodeReport]
    events: list[Sighting]


class _ParsedReports(NamedTuple):
    """The reports of the other workers, parsed once for each collection."""

    sources: tuple[Mapping[str, Any], ...] = ()
    by_worker: Mapping[str, _ParsedReport] = {}
    events: Sequence[Sighting] = ()
    blacklist: bytes = b""


class SnapshotBuilder:
    """Makes snapshots for one application."""

    def __init__(
        self, application: Application, settings: Settings, *, app_name: str, clock: Clock
    ) -> None:
        self._application = application
        self._settings = settings
        self._app_name = app_name
        self._clock = clock
        #: Replaced whole: two threads at once do the same work twice, without harm.
        self._parsed = _ParsedReports()

    def without_cluster(self) -> doc.Snapshot:
        """Return what there is to see without nodes: this worker."""
        settings = self._settings
        events = self._own_events("")
        blacklist = self._blacklist(b"", {})
        return doc.Snapshot(
            at=self._clock.time(),
            observer=self._observer("", "", source="self", seen=1, known=None),
            mode="local",
            policy=_fixed(settings.serialization_policy),
            on_reconnect=_fixed(settings.on_reconnect),
            distribution=_fixed("running"),
            blacklist=blacklist,
            blacklist_total=len(blacklist),
            events=tuple(_build_event(*event, ()) for event in events),
            events_total=len(events),
        )

    def snapshot(
        self, seen: CollectedReports, cluster: Cluster, *, delay: float = 0.0
    ) -> doc.Snapshot:
        """Return the snapshot of what was collected, at most *delay* seconds ago."""
        now, me, settings = self._clock.time(), cluster.workers.worker, self._settings
        others = self._parsed_others(seen, me, now)
        parsed = {
            name: others.by_worker.get(name) or _parse(name, report.facts, seen.heard, now)
            for name, report in sorted(seen.reports.items())
        }
        workers = tuple(
            with_status(one.worker, now=now, interval=cluster.interval, delay=delay)
            for one in parsed.values()
        )
        shown = [worker for worker in workers if not worker.gone]
        live = [worker for worker in shown if not worker.stale]
        reports = [parsed[worker.id] for worker in live]
        rebuilds = _rebuilds(reports)
        slow = slowness({one.worker.id: latencies(one.nodes) for one in reports})
        workers = tuple(
            replace(worker, slow=True) if worker.id in slow.workers else worker
            for worker in workers
        )
        mode, since = common_mode(shown)
        own = next((worker for worker in workers if worker.id == me), None)
        typed = [(at, "", event) for at, event in cluster.control.events()]
        events, events_total = _newest([*others.events, *self._own_events(me), *typed])
        blacklist = self._blacklist(others.blacklist, cluster.control.choices(CLEAR))
        gone = {worker.id for worker in workers if worker.gone}
        return doc.Snapshot(
            at=now,
            observer=self._observer(
                me,
                own.host or "" if own else "",
                source=seen.source,
                seen=len(shown),
                known=len(seen.known.union(worker.id for worker in shown) - gone),
                gathered_at=seen.at if seen.source != "self" else None,
            ),
            mode=mode or cluster.mode.mode.value,
            since=since,
            policy=_choice(POLICY, cluster, live),
            on_reconnect=_choice(ON_RECONNECT, cluster, live),
            distribution=_choice(DISTRIBUTION, cluster, live),
            nodes=tuple(
                build_node(
                    address,
                    [one.nodes[address.id] for one in reports if address.id in one.nodes],
                    rebuild=rebuilds.get(address.id),
                    control=cluster.control,
                    settings=settings,
                    now=now,
                    interval=cluster.interval,
                    slow=address.id in slow.nodes,
                )
                for address in settings.nodes
            ),
            workers=workers,
            blacklist=blacklist,
            events=events,
            traffic=build_traffic([one.fields for one in reports]),
            window=STEP * STEPS,
            step=STEP,
            local=own.local if own else None,
            lost=build_lost(
                [one.fields.section("lost") for one in reports], limit=settings.lost_sessions_limit
            ),
            copies=build_copies([one.fields.section("copies") for one in reports]),
            replicas=self._application.placement.replicas,
            interval=settings.probe_interval,
            blacklist_total=len(blacklist),
            events_total=events_total,
            conditions=tuple(cluster.conditions.lasting()),
            silences=silences_of(cluster.control.choices(SILENCE), cluster.nodes, now),
        )

    def _parsed_others(self, seen: CollectedReports, me: str, now: float) -> _ParsedReports:
        """Return the reports of all workers but *me*, parsed anew when others were collected."""
        others = {name: report.facts for name, report in seen.reports.items() if name != me}
        known, sources = self._parsed, tuple(others.values())
        if len(known.sources) == len(sources) and all(map(is_, known.sources, sources)):
            return known
        parsed = {name: _parse(name, facts, seen.heard, now) for name, facts in others.items()}
        blacklist = Blacklist(self._clock, lambda: "")
        texts = (one.fields.text("blacklist", None) for one in parsed.values())
        blacklist.merge(*filter(None, texts))
        events = [event for one in parsed.values() for event in one.events]
        self._parsed = _ParsedReports(
            sources, parsed, sorted(events, key=lambda event: event[0]), blacklist.to_json()
        )
        return self._parsed

    def _observer(
        self,
        worker: str,
        host: str,
        *,
        source: str,
        seen: int,
        known: int | None,
        gathered_at: float | None = None,
    ) -> doc.Observer:
        return doc.Observer(
            worker=worker,
            host=host,
            version=VERSION,
            app=self._app_name,
            environment=self._settings.environment,
            source=cast("doc.Source", source),
            gathered_at=gathered_at,
            workers_known=known,
            workers_seen=seen,
        )

    def _own_events(self, me: str) -> list[Sighting]:
        """Return what this worker saw, newest first; what a command line sees did not happen."""
        if self._application.events.visits:
            return []
        events = self._application.events.newest(MOST_EVENTS)
        return [(event.at, me, Facts(event._asdict())) for event in events]

    def _blacklist(
        self, others: bytes, clears: Mapping[str, Choice]
    ) -> tuple[doc.BlacklistEntry, ...]:
        """Return all entries, last seen first, and then pins nothing was seen of.

        *others* is what the other workers reported, *clears* what operators cleared, by attribute;
        the empty name stands for all of them.
        """
        serialization = self._application.repository.serialization
        summed_up = Blacklist(self._clock, lambda: "")
        summed_up.merge(serialization.blacklist.to_json(), others)
        latest = self._clock.time() + MAX_AHEAD
        for name, choice in clears.items():
            # By a clock that is ahead; each worker has cleared its own.
            if choice.at <= latest:
                summed_up.clear(choice.at, name or None)
        pins = {pin.name: pin for pin in serialization.pins.all()}
        entries = []
        for entry in summed_up.all():
            pin = pins.pop(entry.attribute or "", None)
            entries.append(
                doc.BlacklistEntry(
                    attribute=entry.attribute,
                    type_name=entry.type_name,
                    path=entry.path,
                    error=entry.error,
                    reason=None if self._settings.admin_hide_errors else entry.reason,
                    endpoint=entry.endpoint,
                    first_seen=entry.first_seen,
                    last_seen=entry.last_seen,
                    count=entry.count,
                    workers=entry.workers,
                    added_by=entry.added_by,
                    pinned=pin is not None,
                    from_config=pin is not None and pin.who == CONFIG,
                )
            )
        entries += [
            doc.BlacklistEntry(
                attribute=pin.name,
                added_by=pin.who,
                first_seen=pin.at or None,
                pinned=True,
                from_config=pin.who == CONFIG,
            )
            for pin in pins.values()
        ]
        return tuple(entries)


def _newest(seen: Iterable[Sighting]) -> tuple[tuple[doc.Event, ...], int]:
    """Return the newest of the events that were seen, newest first, and how many there are."""
    last: dict[_Same, tuple[float, str, Facts, dict[str, None]]] = {}
    rows: list[tuple[float, str, Facts, dict[str, None]]] = []
    for at, worker, fields in sorted(seen, key=lambda event: event[0]):
        key = fields.text("kind"), fields.text("text"), fields.text("node")
        # What an operator did happened once, however alike it looks.
        same = None if fields.text("actor") else last.get(key)
        if same is not None and at - same[0] <= SAME:
            same[3][worker] = None
            continue
        last[key] = at, worker, fields, {worker: None}
        rows.append(last[key])
    return tuple(_build_event(*row) for row in rows[: -MOST_EVENTS - 1 : -1]), len(rows)


def _build_event(at: float, worker: str, fields: Facts, workers: Iterable[str]) -> doc.Event:
    """Return an event that *worker* saw first."""
    level = fields.text("level")
    return doc.Event(
        id=event_id(worker, fields.integer("id") or 0),
        at=at,
        level=cast("doc.Level", level if level in ("info", "warning", "error") else "info"),
        kind=(fields.text("kind") or "event")[:60],
        text=(fields.text("text") or "")[:500],
        node=fields.text("node"),
        workers=tuple(name for name in workers if name),
        actor=fields.text("actor"),
        reason=fields.text("reason"),
        before=fields.text("before"),
        after=fields.text("after"),
        result=fields.text("result"),
    )


def event_id(worker: str, number: int) -> str:
    """Return the name of an event in the fleet."""
    return f"{_short(worker)}.{number}"


def typed_id(name: str) -> str:
    """Return the name of the event of a command line that was announced under *name*."""
    return event_id("", int(name, 16))


@lru_cache(maxsize=1024)
def _short(worker: str) -> str:
    return blake2b(worker.encode(errors="replace"), digest_size=4).hexdigest()


def _parse(
    name: str, facts: Mapping[str, Any], heard: Mapping[str, float], now: float
) -> _ParsedReport:
    fields = Facts(facts)
    last_heard = heard.get(name)
    if last_heard is None:
        last_heard = min(fields.number("at") or 0.0, now)
    # Nothing happened later than the report that contains it.
    events = [
        (min(row.number("at") or 0.0, last_heard), name, row) for row in fields.rows("events")
    ]
    return _ParsedReport(
        fields, build_worker(name, fields, last_heard), read_nodes(name, fields), events
    )


def _rebuilds(reports: Iterable[_ParsedReport]) -> dict[str, doc.Rebuild]:
    """Return the rebuilds that were reported, by node."""
    found: dict[str, doc.Rebuild] = {}
    for one in reports:
        rebuild = one.fields.section("rebuild")
        if node_id := rebuild.text("node"):
            found.setdefault(node_id, build_rebuild(one.worker.id, rebuild))
    return found


def _fixed(value: str) -> doc.Choice:
    """Return a choice that cannot be made here."""
    return doc.Choice(value=value, configured=value)


def _choice(name: str, cluster: Cluster, live: Sequence[doc.Worker]) -> doc.Choice:
    """Return what holds for a setting, and how many of the *live* workers obey it."""
    chosen, configured = cluster.control.choice(name), cluster.configured[name]
    # A choice that was taken back has no value; its stamp counts.
    made = chosen.value is not None
    return doc.Choice(
        value=chosen.value or configured,
        configured=configured,
        set_by=chosen.who or None if made else None,
        set_at=chosen.at if made else None,
        reason=chosen.why or None if made else None,
        stamp=str(chosen.stamp),
        applied_by=sum(applied(worker) >= chosen.stamp for worker in live),
        of=len(live),
    )


def applied(worker: doc.Worker) -> int:
    """Return the newest stamp a worker has obeyed, 0 if it reported none."""
    text = worker.control or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
