"""The tick of a worker: probe the nodes, share what is known, start repairs.

One tick after another, in a thread of its own or, without one, in a request that finds it due.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.errors import NodeError
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from .membership import Membership
    from .node_statistics import Numbers
    from .parts import Upkeep
    from .probe import Prober
    from .rebuild_starter import RebuildStarter


logger = logging.getLogger("flask_msm.monitor")

#: Time in seconds between two look-ups of the nodes' names.
RESOLVE_EVERY = 30.0


class Monitor:
    """Drives the upkeep of one worker.

    Args:
        parts: What it drives.
        prober: Probes the nodes.
        sharing: Shares with them what is known.
        rebuilds: Has nodes rebuilt.
        deadline: Time in seconds the first look at the fleet may take, in a request.
    """

    def __init__(
        self,
        parts: Upkeep,
        *,
        prober: Prober,
        sharing: Membership,
        rebuilds: RebuildStarter,
        deadline: float,
    ) -> None:
        self._parts = parts
        self._prober = prober
        self._sharing = sharing
        self._rebuilds = rebuilds
        self._deadline = deadline
        self._ticking = ProcessLock()
        self._returning = ProcessLock()
        self._resolved_at = parts.clock.monotonic()

    @property
    def numbers(self) -> dict[str, Numbers]:
        """The latest statistics of each node."""
        return self._prober.numbers

    def begin(self) -> None:
        """Learn what the fleet knows before the first session is read; until then trust no node."""
        with self._ticking:
            self._sharing.share(self._parts.clock.monotonic() + self._deadline)
        self._start_return()

    def tick(self, *, in_request: bool = False) -> None:
        """Do the periodic work. Never raises; does nothing while another tick runs.

        Args:
            in_request: Take no longer than a request may, also if nodes hang.
        """
        if not self._ticking.acquire(blocking=False):
            return
        try:
            self._resolve_names()
            until = self._parts.clock.monotonic() + self._deadline if in_request else None
            self._sharing.share(until)
            self._parts.repairs.run()
            self._start_return()
            self._rebuilds.start()
            if not in_request:
                self._parts.publisher.publish(self.numbers)
        except Exception:  # the scheduler must outlive any fault
            logger.exception("a tick failed")
        finally:
            self._ticking.release()

    def leave(self) -> None:
        """Sign off: workers that end must not look like workers with other nodes."""
        parts = self._parts
        parts.heartbeat.leave()
        self._hand_over_repairs()
        # Sessions that ended just now are not on the nodes' list yet.
        parts.endings.share()
        parts.notes.write()
        self._sharing.leave()

    def visit(self) -> None:
        """Be a visitor, for a command line: nothing is done behind, no thread is started."""
        self._parts.lanes.close()

    def _hand_over_repairs(self) -> None:
        """Let the fleet rebuild what this worker alone knows to be missing."""
        parts = self._parts
        lacking = parts.repairs.nodes()
        for node_id in lacking:
            parts.control.set_missed(node_id, "writes did not arrive")
            parts.repairs.drop(node_id)
        if lacking:
            self._sharing.publish()

    def _resolve_names(self) -> None:
        """Look names up now and then; a slow name server must not hold up a tick."""
        now = self._parts.clock.monotonic()
        if now - self._resolved_at >= RESOLVE_EVERY:
            self._resolved_at = now
            self._parts.lanes.later(lambda _: self._resolve_all())

    def _resolve_all(self) -> None:
        for node in self._parts.nodes.values():
            # A name that does not resolve now keeps its last addresses.
            with suppress(NodeError):
                node.resolve()

    def _start_return(self) -> None:
        """Have the sessions of an outage given back, once the cluster has returned."""
        returner = self._parts.returner
        if not returner.is_due() or not self._returning.acquire(blocking=False):
            return
        if not self._parts.lanes.aside(lambda _: self._return()):
            self._returning.release()

    def _return(self) -> None:
        try:
            self._parts.returner.run()
        finally:
            self._returning.release()
