"""What can be seen of the fleet from here, for people: gathered in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.reports import Report, note_name
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.application import Cluster
    from flask_msm.maintenance.reporting import StatusReporter
    from flask_msm.process.clock import Clock
    from flask_msm.storage.local.store import LocalStore


#: What was gathered is shown for so long before it is gathered anew, seconds.
REFRESH = 2.0
#: What was gathered longer ago than this is too old to be shown, seconds.
OLD = 30.0


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


class Observer:
    """Collects the reports of all workers, behind requests.

    All nodes together may take *timeout* seconds.
    """

    def __init__(self, cluster: Cluster, local: LocalStore, clock: Clock, timeout: float) -> None:
        self.cluster = cluster
        self._workers = cluster.workers
        #: Workers of this host leave their reports here as well.
        self._local = local
        self._clock = clock
        self._timeout = timeout
        #: ``None`` for a command line.
        self._reporter: StatusReporter | None = cluster.reporter
        self._refreshing = ProcessLock()
        self._seen: CollectedReports | None = None
        self._asked_at = 0.0
        #: Stamp of the newest report of each worker, and when it was seen.
        self._heard: dict[str, tuple[int, float]] = {}

    def visit(self) -> None:
        """Be a command line: this process is no worker."""
        self._reporter = None

    def seen(self) -> CollectedReports:
        """Return what was seen last, with this worker as it is now; never waits."""
        now = self._clock.monotonic()
        if now - self._asked_at >= REFRESH and self._refreshing.acquire(blocking=False):
            self._asked_at = now
            if not self.cluster.urgent.put(lambda _: self._refresh_and_release()):
                self._refreshing.release()
        living = frozenset(self._workers.living())
        seen = self._seen
        if seen is None or abs(self._clock.time() - seen.at) > OLD:
            # The first look after a while shows this worker, and how many others there are.
            seen = CollectedReports(self._clock.time(), {}, living, "self")
        # Workers that left or were forgotten since are not shown any more.
        names = set(self._workers.names())
        reports = {name: report for name, report in seen.reports.items() if name in names}
        own = self._own()
        return seen._replace(
            reports={**reports, **own},
            known=seen.known & living,
            heard={**seen.heard, **dict.fromkeys(own, self._clock.time())},
        )

    def refresh(self) -> CollectedReports:
        """Ask all nodes, and this host, now; return what was seen."""
        deadline = self._clock.monotonic() + self._timeout
        names = self._workers.names()
        found: dict[str, Report] = {}
        for name in names:
            data = self._local.get_blob(note_name(name))
            report = self.cluster.reports.open(name, data) if data else None
            if report is not None:
                found[name] = report
        usable = any(view.rights.joined for view in self.cluster.state.view().values())
        if usable:
            for name, report in self.cluster.reports.collect(names, deadline).items():
                if name not in found or report.stamp > found[name].stamp:
                    found[name] = report
        source = "fleet" if usable else "host"
        heard = self._hear(found)
        living = frozenset(self._workers.living())
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
            stamp, at = self._heard.get(name, (0, 0.0))
            if stamp != report.stamp:
                said = report.facts.get("at")
                at = float(said) if isinstance(said, int | float) and 0 < said < 1e12 else 0.0
                at = min(max(at, looked_at if stamp else 0.0), now)
            heard[name] = report.stamp, at
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

    def _refresh_and_release(self) -> None:
        try:
            # Else a worker that was asked for the dashboard only would know nothing of the fleet.
            self.cluster.runtime.on_load()
            self.refresh()
        finally:
            self._refreshing.release()
