"""What a process has to begin before its first session is read, once in every process."""

from __future__ import annotations

import logging
import os
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.health import NodeState
from flask_msm.process.apart import apart
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from flask_msm.cluster.nodes import NodeTable, NodeView
    from flask_msm.process.background import Background
    from flask_msm.process.clock import Clock

    from .monitor import Monitor
    from .scheduler import Scheduler


logger = logging.getLogger("flask_msm")

#: Without a scheduler a request may do a tick when nodes are in doubt, at most so often, seconds.
TICK_PAUSE = 1.0


@dataclass(eq=False)
class Runtime:
    """Starts the upkeep with the first request of a process, also after a fork."""

    monitor: Monitor
    scheduler: Scheduler
    _: KW_ONLY
    state: NodeTable
    clock: Clock
    urgent: Background

    def __post_init__(self) -> None:
        self._lock = ProcessLock()
        self._pid = 0
        self._scheduled = False
        self._ticked_at = 0.0
        #: How often it was ended.
        self._ends = 0

    @property
    def begun(self) -> bool:
        """Whether this process has begun."""
        return self._pid == os.getpid()

    def on_load(self) -> None:
        """Begin, if this process has not; do a tick if one is needed and no scheduler does it."""
        if self._pid != os.getpid():
            apart(self._begin)
        elif not self._scheduled and self._is_tick_needed():
            self._tick_now_and_then()

    def begin_behind(self) -> None:
        """Begin behind the request, if this process has not: it touched no session."""
        if not self.begun:
            ends = self._ends
            self.urgent.put(lambda _: self._begin(ends))

    def _is_tick_needed(self) -> bool:
        return any(_needs_tick(view, self.clock) for view in self.state.view().values())

    def stop(self) -> None:
        """End the upkeep of this process and sign off from the fleet."""
        # One that begins just now, behind a request, is waited for, and one that was to begin does
        # not: else it would go on.
        with self._lock:
            begun, self._pid = self.begun, 0
            self._ends += 1
        if begun:
            self.scheduler.stop()
            self.monitor.leave()

    def _begin(self, ends: int | None = None) -> None:
        """Begin, unless it was ended since *ends* times."""
        with self._lock:
            if self._pid == os.getpid() or ends not in (None, self._ends):
                return
            self.monitor.begin()
            self._scheduled = self.scheduler.start()
            if self._scheduled:
                self._warn_of_late_reports()
            self._ticked_at = self.clock.monotonic()
            self._pid = os.getpid()

    def _warn_of_late_reports(self) -> None:
        timeout, interval = self.monitor.prober.timeout, self.monitor.interval
        if timeout > interval:
            logger.warning(
                "MSM_TIMEOUT (%g seconds) is longer than MSM_PROBE_INTERVAL (%g seconds): while a"
                " node hangs, workers report late and are shown as silent. Allowed; better is an"
                " MSM_TIMEOUT of %g or less, or a longer MSM_PROBE_INTERVAL",
                timeout,
                interval,
                interval,
            )

    def _tick_now_and_then(self) -> None:
        now = self.clock.monotonic()
        if now - self._ticked_at >= TICK_PAUSE:
            self._ticked_at = now
            apart(self.monitor.tick, in_request=True)


def _needs_tick(view: NodeView, clock: Clock) -> bool:
    state = view.health.state
    if state is NodeState.DOWN:
        return clock.monotonic() >= view.health.retry_at
    return state is not NodeState.UP
