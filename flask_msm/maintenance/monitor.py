"""The tick of a worker, one after another, in a thread or in a request that finds it due.

Rule 1: a tick goes one way, and what a step finds is handed to the next ones:

    probe      one ``stats`` for each node, and the clocks of all of them compared
    sync       one multi-get for each node: what workers share is joined, and written where it is
               not known; what it shows is applied to this worker
    react      nodes and modes that changed are recorded, and what follows is begun
    obey       what operators chose at run time
    fail back  sessions that ended elsewhere end here, and those of an outage go back
    retry      single writes that did not reach a node
    rebuild    one node that lacks something, or is to be drained
    report     what this worker knows, for people

Rule 2: before the first session is read, all but the last three are done once.
Rule 3: what may take long (names, rebuilds, the return of sessions) is done in a queue behind.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.cluster.workers import WorkerRegistry
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.background import Background
    from flask_msm.process.clock import Clock

    from .failback import Failback
    from .host_log import HostLog
    from .membership import Membership
    from .node_statistics import Numbers
    from .probe import Prober
    from .reactions import Reactions
    from .rebuild_starter import RebuildStarter
    from .reporting import StatusReporter
    from .retries import RetryQueue


logger = logging.getLogger("flask_msm.monitor")

#: Time in seconds between two look-ups of the nodes' names.
RESOLVE_EVERY = 30.0


class Monitor:
    """Drives the maintenance of one worker.

    Args:
        obey: Takes over what operators chose.
        retries: Single writes that did not reach a node.
        rejoin: Brings all copies of a key together; returns the nodes that confirmed theirs.
        host_log: Logs what is wrong once for the host.
        bulk: Queue for what may take long.
        urgent: Queue for what must not wait for a rebuild.
        clock: Its monotonic clock is used.
        deadline: Time in seconds the first look at the fleet may take, in a request.
    """

    def __init__(
        self,
        nodes: Mapping[str, MemcachedNode],
        *,
        prober: Prober,
        membership: Membership,
        reactions: Reactions,
        obey: Callable[[], object],
        failback: Failback,
        retries: RetryQueue,
        rejoin: Callable[[str], frozenset[str]],
        rebuilds: RebuildStarter,
        reporter: StatusReporter,
        workers: WorkerRegistry,
        host_log: HostLog,
        bulk: Background,
        urgent: Background,
        clock: Clock,
        deadline: float,
    ) -> None:
        self._nodes = nodes
        self._prober = prober
        self._membership = membership
        self._reactions = reactions
        self._obey = obey
        self._failback = failback
        self._retries = retries
        self._rejoin = rejoin
        self._rebuilds = rebuilds
        self._reporter = reporter
        self._workers = workers
        self._host_log = host_log
        self._bulk = bulk
        self._urgent = urgent
        self._clock = clock
        self._deadline = deadline
        self._ticking = ProcessLock()
        self._returning = ProcessLock()
        self._resolved_at = clock.monotonic()

    @property
    def numbers(self) -> dict[str, Numbers]:
        """The latest statistics of each node."""
        return self._prober.numbers

    def begin(self) -> None:
        """Learn what the fleet knows before the first session is read; until then trust no node."""
        with self._ticking:
            self._learn(self._clock.monotonic() + self._deadline)

    def tick(self, *, in_request: bool = False) -> None:
        """Do the periodic work. Never raises; does nothing while another tick runs.

        Args:
            in_request: Take no longer than a request may, also if nodes hang.
        """
        if not self._ticking.acquire(blocking=False):
            return
        try:
            self._resolve_names()
            self._learn(self._clock.monotonic() + self._deadline if in_request else None)
            self._reactions.give_up(self._retries.run(self._rejoin))
            self._rebuilds.start()
            if not in_request:
                self._reporter.publish(self.numbers)
        except Exception:  # the scheduler must outlive any fault
            logger.exception("a tick failed")
        finally:
            self._ticking.release()

    def _learn(self, until: float | None) -> None:
        failback = self._failback
        probed = self._prober.probe_all(until)
        news = self._membership.sync(
            probed, until, keeps=failback.waits(), restoring=failback.is_restoring
        )
        self._reactions.follow(news.changes)
        self._obey()
        failback.mark_ended(news.ended)
        self._host_log.write()
        self._start_return()

    def probe(self, node_id: str) -> str | None:
        """Probe a node now; return what failed, ``None`` when it answered."""
        error = self._prober.probe(node_id)
        if error is None:
            return None
        self._reactions.follow(self._membership.failed(node_id, error, probing=True))
        return f"{type(error).__name__}: {error.reason}"

    def leave(self) -> None:
        """Sign off: workers that end must not look like workers with other nodes."""
        self._workers.leave()
        self._reactions.leave()
        self._membership.leave()

    def _resolve_names(self) -> None:
        """Look names up now and then; a slow name server must not hold up a tick."""
        now = self._clock.monotonic()
        if now - self._resolved_at >= RESOLVE_EVERY:
            self._resolved_at = now
            self._bulk.put(lambda _: self._resolve_all())

    def _resolve_all(self) -> None:
        for node in self._nodes.values():
            # A name that does not resolve now keeps its last addresses.
            with suppress(NodeError):
                node.resolve()

    def _start_return(self) -> None:
        """Have the sessions of an outage given back, once the cluster has returned."""
        if not self._failback.is_due() or not self._returning.acquire(blocking=False):
            return
        if not self._urgent.put(lambda _: self._return()):
            self._returning.release()

    def _return(self) -> None:
        try:
            self._failback.run()
        finally:
            self._returning.release()
