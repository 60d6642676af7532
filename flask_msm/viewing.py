"""From the picture of the fleet to the document that is shown; what is not known is ``None``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from . import snapshot as doc
from .fleet.blacklist import MAX_AHEAD, Blacklist
from .fleet.pins import CONFIG
from .fleet_view import Facts, FleetView, SettingView, WorkerView
from .meter import BOUNDS, STEP, STEPS, summed
from .upkeep.commander import CLEAR, ON_RECONNECT, POLICY
from .upkeep.monitor import DISTRIBUTION
from .version import VERSION


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .assembly import Parts
    from .clock import Clock
    from .cluster_assembly import ClusterParts
    from .fleet.control import Choice
    from .fleet_view import NodeView
    from .settings import NodeAddress, Settings


#: What several workers saw within so many seconds is one event.
SAME = 5.0
MOST_EVENTS = 300
_BAD = {"down": 5, "suspect": 4, "recovering": 3, "draining": 2, "drained": 1, "up": 0}
_MODES = {"stopped": 2, "local": 1, "distributed": 0}


#: What one worker said of a node, and what it is that happened: kind, text, node.
_Same = tuple[str | None, str | None, str | None]


@dataclass(slots=True)
class _Told:
    """What the other workers said, put together once for everything that was gathered at once.

    Attributes:
        reports: Their reports, the very objects.
        workers: Each of them, by name, as if it were heard of lately.
        opinions: How each of them sees each node, by its name and the node's.
        events: Worker and event, oldest first.
        blacklist: Of all of them.
    """

    reports: tuple[Mapping[str, Any], ...] = ()
    workers: dict[str, doc.Worker] = field(default_factory=dict)
    opinions: dict[str, dict[str, doc.Opinion]] = field(default_factory=dict)
    events: list[tuple[float, str, Facts]] = field(default_factory=list)
    blacklist: bytes = b""


class Viewer:
    """Makes snapshots for one application.

    Args:
        parts: The application's.
        settings: The application's.
        app_name: Name of the application.
        clock: Tells the time.
    """

    def __init__(self, parts: Parts, settings: Settings, *, app_name: str, clock: Clock) -> None:
        self._parts = parts
        self._settings = settings
        self._app_name = app_name
        self._clock = clock
        self._addresses = {address.id: address for address in settings.nodes}
        #: Replaced whole: two threads that do so at once do the same work twice, and that is all.
        self._told = _Told()

    def event_id(self, worker: str, number: int) -> str:
        """Return the name of an event in the fleet."""
        return f"{_short(worker)}.{number}"

    def without_cluster(self) -> doc.Snapshot:
        """Return what there is to see without nodes: this worker."""
        settings = self._settings
        events = self._parts.events.newest(MOST_EVENTS)
        blacklist = self._blacklist(_Told(), {})
        return doc.Snapshot(
            at=self._clock.time(),
            observer=self._observer("", "", 1, None, "self"),
            mode="local",
            policy=_fixed(settings.serialization_policy),
            on_reconnect=_fixed(settings.on_reconnect),
            distribution=_fixed("running"),
            blacklist=blacklist,
            blacklist_total=len(blacklist),
            events=tuple(
                self._event(event.at, "", Facts(event._asdict()), ("",)) for event in events
            ),
            events_total=len(events),
        )

    def snapshot(self, view: FleetView, cluster: ClusterParts) -> doc.Snapshot:
        """Return the document for *view*."""
        me = cluster.heartbeat.worker
        told = self._put_together(view, me)
        mine = {worker.name: _opinions(worker) for worker in view.workers if worker.name == me}
        opinions = {**told.opinions, **mine}
        workers = tuple(_with_status(_told_of(worker, told), worker) for worker in view.workers)
        seen = [worker for worker in workers if not worker.gone]
        events, events_total = self._events(told, me)
        blacklist = self._blacklist(told, cluster.control.choices(CLEAR))
        mode, since = _mode(seen)
        own = next((worker for worker in workers if worker.id == me), None)
        gone = {worker.id for worker in workers if worker.gone}
        known = len(view.seen.known.union(worker.id for worker in seen) - gone)
        return doc.Snapshot(
            at=self._clock.time(),
            observer=self._observer(
                me,
                own.host or "" if own else "",
                len(seen),
                known,
                view.seen.source,
                gathered_at=view.seen.at if view.seen.source != "self" else None,
            ),
            mode=mode or cluster.mode.mode.value,
            since=since,
            policy=_choice(view.settings[POLICY]),
            on_reconnect=_choice(view.settings[ON_RECONNECT]),
            distribution=_choice(view.settings[DISTRIBUTION]),
            nodes=tuple(self._node(node, view, opinions, cluster) for node in view.nodes),
            workers=workers,
            blacklist=blacklist,
            events=events,
            traffic=_traffic([w.facts.inner("traffic") for w in view.live]),
            window=STEP * STEPS,
            step=STEP,
            local=own.local if own else None,
            replicas=self._parts.placement.replicas,
            interval=self._settings.probe_interval,
            blacklist_total=len(blacklist),
            events_total=events_total,
        )

    def _put_together(self, view: FleetView, me: str) -> _Told:
        """Return what the others said; made anew only when something else was gathered."""
        others = [worker for worker in view.workers if worker.name != me]
        reports = tuple(view.seen.reports[worker.name].facts for worker in others)
        told = self._told
        if len(told.reports) == len(reports) and all(
            one is other for one, other in zip(told.reports, reports, strict=True)
        ):
            return told
        blacklist = Blacklist(self._clock, lambda: "")
        blacklist.merge(*filter(None, (w.facts.long_text("blacklist") for w in others)))
        told = _Told(
            reports=reports,
            workers={worker.name: _worker(worker) for worker in others},
            opinions={worker.name: _opinions(worker) for worker in others},
            events=sorted(
                (
                    # Nothing happened later than the report that tells of it.
                    (min(row.number("at") or 0.0, worker.heard_at), worker.name, row)
                    for worker in others
                    for row in worker.facts.rows("events")
                ),
                key=lambda event: event[0],
            ),
            blacklist=blacklist.to_json(),
        )
        self._told = told
        return told

    def _observer(
        self,
        worker: str,
        host: str,
        seen: int,
        known: int | None,
        source: str,
        *,
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

    # -- nodes ---------------------------------------------------------------------------------

    def _node(
        self,
        node: NodeView,
        view: FleetView,
        said: Mapping[str, Mapping[str, doc.Opinion]],
        cluster: ClusterParts,
    ) -> doc.Node:
        opinions = tuple(
            opinion for worker in view.live if (opinion := said[worker.name].get(node.id))
        )
        drain = self._drain(node.id, cluster)
        state = drain.value if drain else _worst_of_most([o.state for o in opinions])
        failing = max(opinions, key=lambda o: o.since or 0.0 if o.error else 0.0, default=None)
        retries = [o.retry_at for o in opinions if o.retry_at]
        stats = _stats(node) if node.observer else None
        unread = state == "up" and stats is None and bool(opinions)
        shown_error = state not in ("up", "drained")
        return doc.Node(
            id=node.id,
            address=self._address(node.id),
            state=cast("doc.NodeStateName | None", state),
            trusted=node.trusted if opinions else None,
            since=min((o.since for o in opinions if o.state == state and o.since), default=None),
            opinions=opinions,
            error=failing.error if failing and shown_error else None,
            error_at=failing.since if failing and failing.error and shown_error else None,
            failures=max((o.failures for o in opinions), default=0),
            retry_at=min(retries, default=None),
            stats=stats,
            stats_error="the node gives no statistics" if unread else None,
            rebuild=_rebuild(node.id, view),
            drain=drain,
            stamp=str(cluster.control.shared.stamp(f"drain:{node.id}")),
            failover_only=node.id in self._settings.failover_nodes,
        )

    def _address(self, node_id: str) -> str | None:
        if self._settings.admin_hide_addresses:
            return None
        address: NodeAddress = self._addresses[node_id]
        return address.path or f"{address.host}:{address.port}"

    def _drain(self, node_id: str, cluster: ClusterParts) -> doc.Drain | None:
        value, who, why, at = cluster.control.drain_of(node_id)
        if value is None:
            return None
        drained = cast("Any", value)
        return doc.Drain(value=drained, set_by=who or None, set_at=at, reason=why or None)

    # -- events and blacklist ------------------------------------------------------------------

    def _events(self, told: _Told, me: str) -> tuple[tuple[doc.Event, ...], int]:
        """Return the newest events, newest first, and how many there are."""
        own = [
            (event.at, me, Facts(event._asdict()))
            for event in self._parts.events.newest(MOST_EVENTS)
        ]
        last: dict[_Same, tuple[float, str, Facts, dict[str, None]]] = {}
        rows: list[tuple[float, str, Facts, dict[str, None]]] = []
        for at, worker, facts in sorted([*told.events, *own], key=lambda event: event[0]):
            key = facts.text("kind"), facts.text("text"), facts.text("node")
            # What an operator did happened once, however alike it looks.
            same = None if facts.text("actor") else last.get(key)
            if same is not None and at - same[0] <= SAME:
                same[3][worker] = None
                continue
            last[key] = at, worker, facts, {worker: None}
            rows.append(last[key])
        newest = rows[: -MOST_EVENTS - 1 : -1]
        return tuple(self._event(*row) for row in newest), len(rows)

    def _event(self, at: float, worker: str, facts: Facts, workers: Iterable[str]) -> doc.Event:
        level = facts.text("level")
        return doc.Event(
            id=self.event_id(worker, facts.whole("id") or 0),
            at=at,
            level=cast("doc.Level", level if level in ("info", "warning", "error") else "info"),
            kind=(facts.text("kind") or "event")[:60],
            text=(facts.text("text") or "")[:500],
            node=facts.text("node"),
            workers=tuple(name for name in workers if name),
            actor=facts.text("actor"),
            reason=facts.text("reason"),
            before=facts.text("before"),
            after=facts.text("after"),
            result=facts.text("result"),
        )

    def _blacklist(
        self, told: _Told, clears: Mapping[str, Choice]
    ) -> tuple[doc.BlacklistEntry, ...]:
        serialization = self._parts.repository.serialization
        summed_up = Blacklist(self._clock, lambda: "")
        summed_up.merge(serialization.blacklist.to_json(), told.blacklist)
        latest = self._clock.time() + MAX_AHEAD
        for name, choice in clears.items():
            if choice.at > latest:
                continue  # a clock that is ahead; each worker has cleared its own
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


def _fixed(value: str) -> doc.Choice:
    return doc.Choice(value=value, configured=value)


def _choice(setting: SettingView) -> doc.Choice:
    chosen = setting.choice
    # Who went back to the configuration chose nothing; its stamp counts.
    made = chosen.value is not None
    return doc.Choice(
        value=setting.value,
        configured=setting.configured,
        set_by=chosen.who or None if made else None,
        set_at=chosen.at if made else None,
        reason=chosen.why or None if made else None,
        stamp=str(chosen.stamp),
        applied_by=setting.applied,
        of=setting.of,
    )


def _mode(workers: list[doc.Worker]) -> tuple[doc.Mode | None, float | None]:
    modes = [worker.mode for worker in workers if worker.mode and not worker.stale]
    if not modes:
        return None, None
    mode = max(set(modes), key=lambda mode: (modes.count(mode), _MODES[mode]))
    since = [w.mode_since for w in workers if w.mode == mode and w.mode_since is not None]
    return mode, min(since, default=None)


def _worst_of_most(states: list[doc.NodeStateName]) -> str | None:
    if not states:
        return None
    return max(set(states), key=lambda state: (states.count(state), _BAD[state]))


def _stats(node: NodeView) -> doc.NodeStats:
    numbers = node.facts.inner("numbers")
    return doc.NodeStats(
        at=numbers.number("at") or 0.0,
        version=numbers.text("version"),
        uptime=numbers.number("uptime"),
        items=numbers.whole("items"),
        bytes=numbers.whole("bytes"),
        limit_bytes=numbers.whole("limit_bytes"),
        hits=numbers.whole("hits"),
        misses=numbers.whole("misses"),
        hit_ratio=node.facts.number("hit_ratio"),
        evictions=numbers.whole("evictions"),
        evictions_per_minute=node.facts.number("evictions_per_minute"),
        evicted_unfetched=numbers.whole("evicted_unfetched"),
        expired_unfetched=numbers.whole("expired_unfetched"),
        connections=numbers.whole("connections"),
        max_connections=numbers.whole("max_connections"),
        refused_connections=numbers.whole("refused_connections"),
        latency=numbers.number("latency"),
        latency_p50=node.facts.number("latency_p50"),
        latency_p95=node.facts.number("latency_p95"),
        latency_p99=node.facts.number("latency_p99"),
        latencies=tuple(node.facts.series("latencies")),
    )


def _rebuild(node_id: str, view: FleetView) -> doc.Rebuild | None:
    for worker in view.live:
        facts = worker.facts.inner("rebuild")
        if facts.text("node") == node_id:
            return doc.Rebuild(
                worker=worker.name,
                looked_at=facts.whole("looked_at") or 0,
                copied=facts.whole("copied") or 0,
                began=facts.number("began_at"),
            )
    return None


@lru_cache(maxsize=1024)
def _short(worker: str) -> str:
    return blake2b(worker.encode(errors="replace"), digest_size=4).hexdigest()


def _opinions(worker: WorkerView) -> dict[str, doc.Opinion]:
    """Return how a worker sees the nodes, by node; a state that is not known is none."""
    said = worker.facts.inner("nodes")
    return {
        node_id: doc.Opinion(
            worker=worker.name,
            state=cast("doc.NodeStateName", state),
            trusted=facts.truth("trusted"),
            since=facts.number("since"),
            error=facts.text("error") or None,
            failures=facts.whole("failures") or 0,
            retry_at=facts.number("retry_at"),
            timeouts=facts.whole("timeouts"),
            breaks=facts.whole("breaks"),
        )
        for node_id in said.names()
        if (state := (facts := said.inner(node_id)).text("state")) in _BAD
    }


def _told_of(worker: WorkerView, told: _Told) -> doc.Worker:
    return told.workers.get(worker.name) or _worker(worker)


def _with_status(made: doc.Worker, worker: WorkerView) -> doc.Worker:
    """Return *made* as it is by now: who is not heard of becomes stale, and then gone."""
    stale, gone = worker.status == "stale", worker.status == "gone"
    if (made.stale, made.gone) == (stale, gone):
        return made
    return replace(made, stale=stale, gone=gone)


def _worker(worker: WorkerView) -> doc.Worker:
    facts, local = worker.facts, worker.facts.inner("local")
    kept, dirty = local.whole("sessions"), local.whole("dirty")
    mode = facts.text("mode")
    return doc.Worker(
        id=worker.name,
        host=facts.text("host"),
        pid=facts.whole("pid"),
        version=facts.text("version"),
        started=facts.number("started"),
        last_heard=worker.heard_at,
        mode=cast("doc.Mode | None", mode if mode in _MODES else None),
        mode_since=facts.number("mode_since"),
        policy=facts.text("policy"),
        control=facts.text("control"),
        stale=worker.status == "stale",
        gone=worker.status == "gone",
        live=facts.whole("live"),
        mirrored=None if kept is None else max(0, kept - (dirty or 0)),
        dirty=dirty,
        local=doc.LocalStorage(
            kind=local.text("kind") or "",
            sessions=kept,
            bytes=local.whole("bytes"),
            dirty=dirty,
            limit_sessions=local.whole("limit_sessions"),
            limit_bytes=local.whole("limit_bytes"),
            error=local.text("error"),
        )
        if local.text("kind")
        else None,
        traffic=_traffic([facts.inner("traffic")]),
        counts=_counts(facts),
    )


def _counts(facts: Facts) -> dict[str, int]:
    said = [facts.inner(name) for name in ("sessions", "serialization", "cluster")]
    found = {name: sum(one.whole(name) or 0 for one in said) for name in doc.COUNTED}
    return {name: count for name, count in found.items() if count > 0}


def _traffic(said: list[Facts]) -> doc.Traffic | None:
    said = [facts for facts in said if facts.names()]
    if not said:
        return None
    total = partial(_total, said)
    found = [facts.rows_of_numbers("found") for facts in said]
    hits = _by_step([[row[0] if row else None for row in rows] for rows in found], sum)
    misses = _by_step([[row[1] if len(row) > 1 else None for row in rows] for rows in found], sum)
    ratios = tuple(
        None if hit is None or not hit + (miss or 0) else hit / (hit + (miss or 0))
        for hit, miss in zip(hits, misses, strict=False)
    )
    return doc.Traffic(
        loads=_histogram(said, "loads"),
        saves=_histogram(said, "saves"),
        hits=total("hits"),
        misses=total("misses"),
        failed=total("failed"),
        retried=total("retried") if any("retried" in facts.names() for facts in said) else None,
        kept_locally=total("kept_locally"),
        operations_series=_by_step([facts.series("operations") for facts in said], sum),
        hit_ratio_series=ratios,
        p95_series=_by_step([facts.series("p95") for facts in said], max),
        failed_series=_by_step([facts.series("failures") for facts in said], sum),
    )


def _total(said: Iterable[Facts], name: str) -> int:
    return sum(facts.whole(name) or 0 for facts in said)


def _histogram(said: list[Facts], name: str) -> doc.Histogram | None:
    rows = [facts.series(name) for facts in said]
    size = len(BOUNDS) + 1
    whole = [[int(count or 0) for count in row] for row in rows if len(row) == size]
    return doc.Histogram(bounds=BOUNDS, counts=tuple(summed(whole))) if whole else None


def _by_step(rows: list[list[float | None]], together: Any) -> tuple[float | None, ...]:
    """Put the values of several workers for each step together; ``None`` where nobody has any."""
    told = [row for row in rows if len(row) == STEPS]
    columns = [
        [value for value in column if value is not None] for column in zip(*told, strict=True)
    ]
    return tuple(together(column) if column else None for column in columns)
