"""One snapshot, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask_msm.cluster.control import CLEAR, DISTRIBUTION, ON_RECONNECT, POLICY
from flask_msm.operations import snapshot as doc
from flask_msm.operations.report_reader import ReportFields
from flask_msm.storage.metrics import STEP, STEPS
from flask_msm.version import VERSION

from .blacklist import entries_of
from .choices import choice_of, fixed
from .events import MOST_EVENTS, event_id, event_of, newest
from .nodes import addresses_of, node_of, opinions_of
from .told import Others
from .traffic import traffic_of
from .workers import mode_of, with_status, worker_of


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.application import Application, Cluster
    from flask_msm.cluster.control import Choice
    from flask_msm.operations.report_reader import FleetView
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .events import Sighting


class SnapshotBuilder:
    """Makes snapshots for one application.

    Args:
        parts: The application's.
        settings: The application's.
        app_name: Name of the application.
        clock: The source of time.
    """

    def __init__(
        self, parts: Application, settings: Settings, *, app_name: str, clock: Clock
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._app_name = app_name
        self._clock = clock
        self._addresses = addresses_of(settings)
        self._others = Others(clock)

    def event_id(self, worker: str, number: int) -> str:
        """Return the name of an event in the fleet."""
        return event_id(worker, number)

    def without_cluster(self) -> doc.Snapshot:
        """Return what there is to see without nodes: this worker."""
        settings = self._settings
        events = self._own_events("")
        blacklist = self._blacklist(b"", {})
        return doc.Snapshot(
            at=self._clock.time(),
            observer=self._observer("", "", 1, None, "self"),
            mode="local",
            policy=fixed(settings.serialization_policy),
            on_reconnect=fixed(settings.on_reconnect),
            distribution=fixed("running"),
            blacklist=blacklist,
            blacklist_total=len(blacklist),
            events=tuple(event_of(*event, ("",)) for event in events),
            events_total=len(events),
        )

    def snapshot(self, view: FleetView, cluster: Cluster) -> doc.Snapshot:
        """Return the document for *view*."""
        me = cluster.heartbeat.worker
        told = self._others.told(view, me)
        mine = {worker.name: opinions_of(worker) for worker in view.workers if worker.name == me}
        opinions = {**told.opinions, **mine}
        workers = tuple(
            with_status(told.workers.get(worker.name) or worker_of(worker), worker)
            for worker in view.workers
        )
        seen = [worker for worker in workers if not worker.gone]
        events, events_total = newest([*told.events, *self._own_events(me)])
        blacklist = self._blacklist(told.blacklist, cluster.control.choices(CLEAR))
        mode, since = mode_of(seen)
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
            policy=choice_of(view.settings[POLICY]),
            on_reconnect=choice_of(view.settings[ON_RECONNECT]),
            distribution=choice_of(view.settings[DISTRIBUTION]),
            nodes=tuple(
                node_of(
                    node,
                    view,
                    opinions,
                    cluster,
                    addresses=self._addresses,
                    settings=self._settings,
                )
                for node in view.nodes
            ),
            workers=workers,
            blacklist=blacklist,
            events=events,
            traffic=traffic_of([w.facts.inner("traffic") for w in view.live]),
            window=STEP * STEPS,
            step=STEP,
            local=own.local if own else None,
            replicas=self._parts.placement.replicas,
            interval=self._settings.probe_interval,
            blacklist_total=len(blacklist),
            events_total=events_total,
        )

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

    def _own_events(self, me: str) -> list[Sighting]:
        """Return what this worker saw, newest first."""
        events = self._parts.events.newest(MOST_EVENTS)
        return [(event.at, me, ReportFields(event._asdict())) for event in events]

    def _blacklist(
        self, told: bytes, clears: Mapping[str, Choice]
    ) -> tuple[doc.BlacklistEntry, ...]:
        return entries_of(
            self._parts.repository.serialization,
            told,
            clears,
            clock=self._clock,
            hide_errors=self._settings.admin_hide_errors,
        )
