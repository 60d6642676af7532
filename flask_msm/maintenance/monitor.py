"""The tick of a worker, one after another, in a thread or in a request that finds it due.

Rule 1: a tick goes one way, and what a step finds is handed to the next ones:

    probe      one round trip for each node: its statistics, and the cas ids of what workers share;
               the clocks of all of them are compared
    sync       what workers share is read where it has changed, joined, and written where it is not
               known; what it shows is applied to this worker
    react      nodes and modes that changed are recorded, and what follows is begun
    obey       what operators chose at run time
    fail back  sessions that ended elsewhere end here, and those of an outage go back
    retry      single writes that did not reach a node
    rebuild    one node that lacks something, or is to be drained
    count      copies, now and then
    report     what this worker knows, for people, after a look at cookies that found no session
    remember   what happened, a few times an hour
    rest       connections that are idle are closed

Rule 2: before the first session is read, the first five are done once.
Rule 3: what may take long (names, rebuilds, the return of sessions) is done in a queue behind.
Rule 4: when users are signed out, people hear of it before the next tick.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError
from flask_msm.process.background import put_alone
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.background import Background

    from .audit_log import AuditLog
    from .copy_count import CopyCount
    from .failback import Failback
    from .history_keeper import HistoryKeeper
    from .host_log import HostLog
    from .lost_watch import LostWatch
    from .membership import Membership
    from .probe import Prober
    from .reactions import Reactions
    from .rebuild_starter import RebuildStarter
    from .reporting import StatusReporter


logger = logging.getLogger("flask_msm.monitor")

#: Time in seconds between two look-ups of the nodes' names.
RESOLVE_EVERY = 30.0


@dataclass(eq=False, kw_only=True)
class Monitor:
    """Drives the maintenance of one worker.

    Args:
        rejoin: Brings all copies of a key together; returns the nodes that confirmed theirs.
        host_log: Logs what is wrong once for the host.
        audit_log: Logs what operators changed once for the host.
        history: Keeps what happened, for people.
        urgent: Queue for what must not wait for a rebuild.
        interval: Time in seconds between two ticks.
        deadline: Time in seconds the first look at the fleet may take, in a request.
    """

    prober: Prober
    membership: Membership
    reactions: Reactions
    failback: Failback
    rejoin: Callable[[str], frozenset[str]]
    rebuilds: RebuildStarter
    lost: LostWatch
    copies: CopyCount
    reporter: StatusReporter
    host_log: HostLog
    audit_log: AuditLog
    history: HistoryKeeper
    urgent: Background
    interval: float
    deadline: float

    def __post_init__(self) -> None:
        self._ticking = ProcessLock()
        #: Called after each tick, with what it found.
        self.watchers: list[Callable[[], object]] = []
        self._returning = ProcessLock()
        self._reporting = ProcessLock()
        self._resolved_at = self.membership.clock.monotonic()

    def begin(self) -> None:
        """Learn what the fleet knows before the first session is read; until then trust no node."""
        with self._ticking:
            self._learn(self.membership.clock.monotonic() + self.deadline)

    def tick(self, *, in_request: bool = False) -> None:
        """Do the periodic work. Never raises; does nothing while another tick runs.

        Args:
            in_request: Take no longer than a request may, also if nodes hang.
        """
        if not self._ticking.acquire(blocking=False):
            return
        try:
            self._resolve_names()
            until = self.membership.clock.monotonic() + self.deadline if in_request else None
            self._learn(until)
            self.reactions.give_up(self.reactions.retries.run(self.rejoin, until))
            self.rebuilds.start()
            if not in_request:
                self.copies.start()
                self._report()
                self.history.look()
            self.prober.rest()
            self.membership.events.log.settle()
            if not in_request:
                for watch in self.watchers:
                    watch()
        except Exception:  # the scheduler must outlive any fault
            logger.exception("a tick failed")
        finally:
            self._ticking.release()

    def _learn(self, until: float | None) -> None:
        failback = self.failback
        plan = self.membership.plan()
        probed = self.prober.probe_all(until, plan.looking)
        news = self.membership.sync(
            plan, probed, until, keeps=failback.waits(), restoring=failback.is_restoring
        )
        self.reactions.follow(news.changes)
        self.reactions.obey()
        failback.mark_ended(news.ended)
        self.host_log.write()
        self.audit_log.write()
        self._start_return()

    def report_losses(self) -> None:
        """Report behind, within a quarter of an interval: a cookie found no session."""
        put_alone(self.urgent, self._reporting, self._report, after=self.interval / 4)

    def _report(self) -> None:
        self.lost.look()
        self.reporter.publish(self.prober.numbers)

    def probe(self, node_id: str) -> str | None:
        """Probe a node now; return what failed, ``None`` when it answered."""
        error = self.prober.probe(node_id)
        if error is None:
            return None
        self.reactions.follow(self.membership.failed(node_id, error, probing=True))
        return f"{type(error).__name__}: {error.reason}"

    def leave(self) -> None:
        """Sign off: workers that end must not look like workers with other nodes."""
        # What it counted last is added to the history by another one.
        self.reporter.publish(self.prober.numbers)
        self.membership.workers.leave()
        self.reactions.leave()
        self.membership.leave()

    def _resolve_names(self) -> None:
        """Look names up now and then; a slow name server must not hold up a tick."""
        now = self.membership.clock.monotonic()
        if now - self._resolved_at >= RESOLVE_EVERY:
            self._resolved_at = now
            self.reactions.bulk.put(lambda _: self._resolve_all())

    def _resolve_all(self) -> None:
        for node in self.membership.nodes.values():
            # A name that does not resolve now keeps its last addresses.
            with suppress(NodeError):
                node.resolve()

    def _start_return(self) -> None:
        """Have the sessions of an outage given back, once the cluster has returned."""
        if self.failback.is_due() or self._is_given_back():
            put_alone(self.urgent, self._returning, self._return)

    def _return(self) -> None:
        self.failback.run()
        if self._is_given_back():
            # Other hosts wait for it: they must not do so until the next tick.
            workers = self.membership.workers
            workers.keeps = False
            workers.announce()
            self.reactions.follow(self.membership.exchange(workers.shared))

    def _is_given_back(self) -> bool:
        """Return whether this host announces that it has changes, and has none any more."""
        return self.membership.workers.keeps and not self.failback.waits()
