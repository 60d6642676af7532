"""What can be seen of the fleet, for people: one worker gathers, and all workers show the same.

Who is asked reads the digest of the fleet (``cluster/digests.py``). When that is older than a
second, one worker gathers the reports of all of them and puts a newer one in its place: so the
fleet is asked once a second while it is looked at, and never otherwise.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.digests import Digests
from flask_msm.cluster.reports import Report
from flask_msm.maintenance.lease import LEASES
from flask_msm.process.background import put_alone
from flask_msm.process.locks import ProcessLock
from flask_msm.version import VERSION

from .packing import packed, shape_of, unpacked
from .projection import CollectedReports, SnapshotBuilder
from .snapshot import Snapshot


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.application import Application
    from flask_msm.maintenance.reporting import StatusReporter
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .snapshot import LocalStorage, Worker


#: A digest is shown for so long before a newer one is made, seconds.
REFRESH = 1.0
#: One that is older is not shown without waiting for a newer one, seconds.
OLD = 5.0
#: One that is older than this is not shown at all, seconds.
GONE = 30.0
#: Time in seconds a look may wait for the digest, for a newer one, and for the first one.
READ, WAIT, FIRST = 0.1, 0.1, 0.25
#: A worker that has not reported so many probe intervals after it joined is missing.
JOINING = 2
#: How often a digest that another worker makes is looked for, seconds.
PAUSE = 0.02
#: So often a gatherer whose digest came too late makes another one.
TRIES = 3
#: Name of the note on this host, where no node can be reached.
NOTE = "fleet:digest"


class _Shown(NamedTuple):
    """A digest that was read."""

    version: int
    at: float
    snapshot: Snapshot


class Observer:
    """Shows the fleet, and gathers it for all workers when it is this one's turn."""

    def __init__(
        self,
        application: Application,
        settings: Settings,
        *,
        app_name: str,
        clock: Clock,
        builder: SnapshotBuilder,
    ) -> None:
        cluster = application.cluster
        assert cluster is not None  # noqa: S101  (a fleet without nodes is not observed)
        self.cluster = cluster
        self._settings = settings
        self._app_name = app_name
        self._builder = builder
        self._workers = cluster.workers
        self._local = application.local
        self._clock = clock
        #: ``None`` for a command line.
        self._reporter: StatusReporter | None = cluster.reporter
        name = f"digest:{shape_of(Snapshot)}"
        self._digests = Digests(
            cluster.reports.common,
            key=f"{settings.key_prefix}fleet:{name}",
            # By this name it is known for a lease, which is not signed.
            lease_key=f"{settings.key_prefix}{LEASES}:{name}",
            stamps=application.stamps,
        )
        self._gathering = ProcessLock()
        self._done = threading.Event()
        self._shown: _Shown | None = None
        self._seen: CollectedReports | None = None
        #: Newest report of each worker, and when it was seen.
        self._heard: dict[str, tuple[Report, float]] = {}

    def visit(self) -> None:
        """Be a command line: this process is no worker."""
        self._reporter = None

    # -- what is shown -------------------------------------------------------------------------

    def view(self) -> Snapshot:
        """Return the fleet as its newest digest has it; waits a quarter of a second at most."""
        if self._reporter is None:
            seen = self._seen or CollectedReports(self._clock.time(), {}, frozenset(), "self")
            return self._builder.snapshot(seen, self.cluster)
        if not self._settings.probe_interval:
            # Workers do not report: there is nothing to gather.
            return self._alone()
        self.cluster.runtime.begin_behind()
        shown = self._read()
        age = OLD if shown is None else abs(self._clock.time() - shown.at)
        if age >= REFRESH:
            shown = self._newer(shown, FIRST if age >= OLD else WAIT)
        if shown is None:
            return self._alone()
        return self._with_observer(shown)

    def renew(self) -> None:
        """Have a new digest made now: an operator who changed something sees it, on any worker."""
        if self._reporter is None or not self._settings.probe_interval:
            return
        done = threading.Event()

        def gather(_: float) -> None:
            try:
                self._gather()
            finally:
                done.set()

        if self.cluster.urgent.put(gather):
            done.wait(FIRST)

    def _newer(self, shown: _Shown | None, within: float) -> _Shown | None:
        """Have a newer digest made, and return it if it is there in time."""
        until = time.monotonic() + within
        if not self._gathering.locked():
            self._done.clear()
        put_alone(self.cluster.urgent, self._gathering, self._gather_alone)
        before = shown.version if shown else 0
        while True:
            self._done.wait(min(PAUSE, within))
            newer = self._read()
            if newer is not None and newer.version > before:
                return newer
            if time.monotonic() >= until:
                age = abs(self._clock.time() - newer.at) if newer else GONE
                return newer if age < GONE else None

    def _read(self) -> _Shown | None:
        """Return the newest digest, as far as its homes answer in time."""
        until = self._clock.monotonic() + READ
        heads, known = self._digests.heads(until), self._shown
        if known is not None and known.version >= heads.version > 0:
            return known
        digest = self._digests.read(heads, until)
        if digest is None and not heads.version:
            note = self._local.get_blob(NOTE) if not self._digests.homes() else None
            digest = self._digests.opened(note) if note else None
        if digest is None:
            # One of its homes was restarted: what was shown before is newer than nothing.
            return known
        if known is not None and known.version >= digest.version:
            return known
        try:
            shown = _Shown(digest.version, digest.at, unpacked(Snapshot, digest.body))
        except ValueError:
            return known
        self._shown = shown
        return shown

    def _alone(self) -> Snapshot:
        """Return what this worker knows, before there is a digest."""
        now, living = self._clock.time(), frozenset(self._workers.living())
        seen = CollectedReports(now, self._own(), living, "self")
        return self._builder.snapshot(seen, self.cluster)

    def _with_observer(self, shown: _Shown) -> Snapshot:
        """Return a digest as this worker shows it: what is in it is the same for all of them."""
        snapshot, name = shown.snapshot, self._workers.worker
        own = next((worker for worker in snapshot.workers if worker.id == name), None)
        host = own.host if own and own.host else _host_of(name)
        observer = replace(
            snapshot.observer,
            worker=name,
            host=host,
            version=VERSION,
            app=self._app_name,
            environment=self._settings.environment,
        )
        local = _local_of(host, own, snapshot.workers)
        return replace(snapshot, at=self._clock.time(), observer=observer, local=local)

    # -- gathering -----------------------------------------------------------------------------

    def _gather_alone(self) -> None:
        try:
            # Else a worker that was asked for the dashboard only would know nothing of the fleet.
            self.cluster.runtime.on_load()
            until = self._clock.monotonic() + READ
            if self._digests.lease(until):
                self._gather()
                self._digests.release(self._clock.monotonic() + READ)
        finally:
            self._done.set()

    def _gather(self) -> None:
        """Ask for the fleet, and replace the digest; again if another worker was faster."""
        timeout = self._settings.timeout
        for _ in range(TRIES):
            heads = self._digests.heads(self._clock.monotonic() + timeout)
            # What the fleet knows, this worker included, at this moment.
            self.cluster.reactions.look(within=FIRST)
            self.cluster.reporter.publish(self.cluster.prober.numbers)
            body = packed(_shared(self._builder.snapshot(self.refresh(), self.cluster)))
            if not heads.by_node:
                self._local.put_blob(NOTE, self._digests.sealed(body))
                return
            if self._digests.replace(body, heads, self._clock.monotonic() + timeout):
                return

    def refresh(self) -> CollectedReports:
        """Ask all nodes, and this host, for the reports of all workers; return what was seen."""
        collector = self.cluster.collector
        deadline = self._clock.monotonic() + self._settings.timeout
        found = collector.collect(self._workers.names(), deadline)
        for name, report in found.items():
            # One that lies on nodes that cannot be asked now is not replaced by an older one.
            last = self._heard.get(name)
            if last is not None and last[0].stamp > report.stamp:
                found[name] = last[0]
        source = "fleet" if collector.reaches_nodes else "host"
        heard = self._hear(found)
        # One that has just joined sends its first report in a moment: it is not missing.
        joining = self._workers.joined_within(JOINING * self.cluster.interval)
        living = frozenset(self._workers.living() - (joining - found.keys()))
        self._seen = CollectedReports(self._clock.time(), found, living, source, heard)
        return self._seen

    def _hear(self, found: Mapping[str, Report]) -> dict[str, float]:
        """Return when each worker was seen, also if its clock is wrong.

        The time of its clock is used as far as it can be true: a report was not made later than
        now, and not before the last look if it was not there then.
        """
        now, looked_at = self._clock.time(), self._seen.at if self._seen else 0.0
        heard = {}
        for name, report in found.items():
            last, at = self._heard.get(name, (None, 0.0))
            if last is None or last.stamp != report.stamp:
                said = report.facts.get("at")
                at = float(said) if isinstance(said, int | float) and 0 < said < 1e12 else 0.0
                at = min(max(at, looked_at if last else 0.0), now)
            heard[name] = report, at
        self._heard = heard
        return {name: at for name, (_, at) in heard.items()}

    def _own(self) -> dict[str, Report]:
        if self._reporter is None:
            return {}
        name, facts = self._workers.worker, self._reporter.facts(self.cluster.prober.numbers)
        # Before this process has read a session nothing is known of any node.
        if not self.cluster.runtime.begun:
            facts["nodes"] = {}
        return {name: Report(name, 0, facts)}


def _shared(snapshot: Snapshot) -> Snapshot:
    """Return what all workers show: without the series of single workers, which are large."""
    return replace(snapshot, workers=tuple(map(_short, snapshot.workers)))


def _short(worker: Worker) -> Worker:
    traffic = worker.traffic
    if traffic is None:
        return worker
    short = replace(
        traffic,
        operations_series=(),
        hit_ratio_series=(),
        p95_series=(),
        failed_series=(),
        classes_series=(),
        found_series=(),
        kept_series=(),
    )
    return replace(worker, traffic=short)


def _local_of(host: str, own: Worker | None, workers: tuple[Worker, ...]) -> LocalStorage | None:
    """Return the local storage of a host: its workers share it, and the last report counts."""
    if own is not None and own.local is not None and own.local.kind == "simple":
        return own.local
    here = [worker for worker in workers if worker.host == host and worker.local is not None]
    newest = max(here, key=lambda worker: (worker.last_heard or 0.0, worker.id), default=own)
    return newest.local if newest else None


def _host_of(worker: str) -> str:
    """Return the host that the name of a worker begins with."""
    return worker.rsplit(":", 2)[0]
