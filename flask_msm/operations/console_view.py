"""What can be seen of the fleet, and whether the next node may be restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CommandError, quoted
from flask_msm.maintenance.history_records import Book
from flask_msm.sessions.overrides import BLACKLIST_NOTE

from .checks import Report, check_nodes, judged, wait_for_nodes
from .history import build_history
from .inspection import inspect
from .observer import Observer
from .projection import SnapshotBuilder
from .state.readiness import waits_for
from .worker_totals import parsed


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_msm.application import Application, Cluster
    from flask_msm.cluster.conditions import Condition
    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import Settings

    from .history import History, RangeName
    from .inspection import Inspection
    from .lookup import SessionLookup
    from .snapshot import BlacklistEntry, Snapshot
    from .worker_totals import Whose, WorkerTotals

#: Time in seconds a look at the nodes may take.
LOOK = 0.25


class ConsoleView:
    """Shows the fleet: the half of the console that changes nothing."""

    def __init__(
        self,
        application: Application,
        settings: Settings,
        *,
        app_name: str,
        clock: Clock,
        lookups: SessionLookup,
    ) -> None:
        self.application = application
        self.settings = settings
        self._lookups = lookups
        self._clock = clock
        self._builder = SnapshotBuilder(application, settings, app_name=app_name, clock=clock)
        self._visits = False
        self.observer: Observer | None = None
        if application.cluster is not None:
            self.observer = Observer(
                application, settings, app_name=app_name, clock=clock, builder=self._builder
            )

    def visit(self) -> None:
        """Be used by a process that is no worker, a command line: nothing is started or made."""
        self._visits = True
        self._observer().visit()
        self.application.events.visit()
        for background in self._cluster().backgrounds:
            background.refuse()
        self.application.local.visit()
        # A visitor has to look for the folder; a worker has it open.
        self.application.local.get_blob(BLACKLIST_NOTE)

    def view(self) -> Snapshot:
        """Return the fleet, the same from all workers.

        Reads what one of them put together for all, a second ago at most while it is looked at;
        takes a quarter of a second at most, the first time after a while. Never raises.
        """
        if self.observer is None:
            return self._builder.without_cluster()
        return self.observer.view()

    def history(self, name: RangeName = "24h") -> History:
        """Return what happened in the last minutes, hours or days.

        Asks three nodes, which takes a quarter of a second at most; what does not answer by then
        is left out. Without nodes there is no history but of the last fifteen minutes. Never
        raises.

        Args:
            name: ``15m``, ``6h``, ``24h`` or ``7d``.
        """
        cluster, book = self.application.cluster, Book()
        if cluster is not None:
            book = cluster.history.records.read(self._clock.monotonic() + LOOK)
        return build_history(name, book, self.view())

    def totals(self, whose: Whose = "host") -> tuple[WorkerTotals, ...]:
        """Return what workers counted since they started; nothing without nodes.

        Args:
            whose: ``host``: of all workers of this host, the same whichever of them is asked;
                ``self``: of this one; ``fleet``: of all that can be seen.
        """
        if (cluster := self.application.cluster) is None:
            return ()
        numbers = cluster.prober.numbers
        if whose == "self":
            found = [cluster.totals.share(numbers)]
        else:
            found = cluster.totals.of_host(numbers)
        totals = {str(facts.get("worker", "")): facts for facts in found}
        if whose == "fleet":
            for name, report in self._observer().refresh().reports.items():
                totals.setdefault(name, report.facts.get("totals", {}))
        return tuple(parsed(name, facts) for name, facts in sorted(totals.items()))

    def look(self) -> Snapshot:
        """Return the fleet after the nodes were asked what operators have changed.

        For an operator who is about to change it: *based_on* is the newest then, also if another
        worker made the last change a moment ago. Takes a quarter of a second at most, also when a
        node hangs, and is ``view()`` if no node answers. Never raises.
        """
        if (cluster := self.application.cluster) is not None:
            cluster.reactions.look(within=LOOK)
        return self.view()

    def survey(self) -> Snapshot:
        """Return the fleet as it can be seen from outside, after all nodes were asked."""
        cluster = self._cluster()
        cluster.reactions.look()
        if self._visits:
            # It writes what they read, and sees in records what they see.
            self.application.record_format.look(cluster.workers, visits=True)
        return self._builder.snapshot(self._observer().refresh(), cluster)

    def listed(self) -> tuple[BlacklistEntry, ...]:
        """Return the attributes that all workers and hosts know, for a visitor."""
        application, cluster = self.application, self._cluster()
        self.survey()
        if noted := application.local.get_blob(BLACKLIST_NOTE):
            application.repository.serialization.blacklist.merge(noted)
        cluster.overrides.apply()
        return self.view().blacklist

    def conditions(self) -> list[Condition]:
        """Return what is wrong for a while, oldest first."""
        return self._cluster().conditions.lasting()

    def value(self, name: str) -> str:
        """Return what holds, as this worker knows: *policy*, *on_reconnect* or *distribution*.

        Raises:
            CommandError: There is no such choice, or no cluster.
        """
        cluster = self._cluster()
        if name not in cluster.configured:
            known = ", ".join(cluster.configured)
            raise CommandError(f"there is no choice {quoted(name)}; there are {known}")
        return cluster.control.choice(name).value or cluster.configured[name]

    def check(
        self, timeout: float = 0.0, *, on_wait: Callable[[Report], object] = lambda _: None
    ) -> Report:
        """Return whether every node is up for every worker, so that the next may be restarted.

        Args:
            timeout: Time in seconds to wait for that.
            on_wait: Is called with what was found each time, while it waits.
        """
        if (cluster := self.application.cluster) is None:
            return Report(all_up=True, nodes=())
        node_time = self.settings.connect_timeout + self.settings.timeout

        def look() -> Report:
            findings = check_nodes(cluster, self._clock, node_time)
            if not self.settings.probe_interval:
                return judged(findings, ())  # workers do not report
            cluster.reactions.follow(cluster.membership.apply())
            seen = self._builder.snapshot(self._observer().refresh(), cluster)
            return judged(findings, waits_for(seen), seen.lost)

        return wait_for_nodes(look, self._clock, timeout, on_wait)

    def inspect(self, nodes: Iterable[str]) -> Inspection:
        """Return what is wrong with the records on *nodes*; takes at most 5 seconds for each.

        Raises:
            CommandError: There is no such node.
        """
        found = [self._cluster(node).nodes[node] for node in nodes]
        return inspect(found, self.application.envelope, self.settings.key_prefix, self._clock)

    def _observer(self) -> Observer:
        if self.observer is None:
            raise CommandError("MSM_NODES is not set: there is no cluster to look after")
        return self.observer

    def _cluster(self, node: str | None = None) -> Cluster:
        """Return the cluster, if *node* is one of its nodes."""
        cluster = self._observer().cluster
        if node is not None and node not in cluster.nodes:
            known = ", ".join(cluster.nodes)
            raise CommandError(f"there is no node {quoted(node)}; there are {known}")
        return cluster
