"""What this worker reports about itself at every tick: to two nodes, and to its host."""

from __future__ import annotations

import math
import os
import socket
from collections import defaultdict
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.health import NodeState
from flask_msm.cluster.reports import note_name
from flask_msm.storage.metrics import STEP, STEPS, quantile, summed

from .points import Counted
from .recent_statistics import RecentStatistics


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask_msm.cluster.lost_sessions import LostSessions
    from flask_msm.cluster.reports import Reports
    from flask_msm.storage.failover import FailoverStore
    from flask_msm.storage.metrics import LatencyMetrics, Window

    from .failback import Failback
    from .membership import Membership
    from .node_statistics import Numbers
    from .rebuild import Rebuilder
    from .totals import SharedTotals


#: So many of the newest events go into a report.
EVENTS = 50
#: Quantiles of latencies that are reported.
PERCENTS = 50, 95, 99
#: Time in seconds between two warnings of records that are not believed.
PAUSE = 3600.0
#: Length in seconds of the slots that numbers are reported for; a few of the last ones are.
SLOT = 300


@dataclass(eq=False)
class StatusReporter:
    """Puts the report of this worker together and brings it to where others find it.

    Args:
        before: Called before each report.
        sources: More parts of the report, by name; each returns something JSON takes.
    """

    reports: Reports
    _: KW_ONLY
    membership: Membership
    store: FailoverStore
    rebuilder: Rebuilder
    failback: Failback
    meter: LatencyMetrics
    losses: LostSessions
    before: Callable[[], object]
    sources: Mapping[str, Callable[[], Any]]
    version: str
    totals: SharedTotals

    def __post_init__(self) -> None:
        self.histories: defaultdict[str, RecentStatistics] = defaultdict(RecentStatistics)
        self._clock = self.membership.clock
        self._started = self._clock.monotonic()
        self._refused, self._refused_at = 0, -math.inf
        #: By node: when it was last seen not up, and when it last lacked sessions, monotonic.
        self._down_at: dict[str, float] = {}
        self._lacking_at: dict[str, float] = {}
        #: Changed sessions that waited on this host at the end of each step, by its number.
        self._waiting: dict[int, int] = {}

    def publish(self, numbers: Mapping[str, Numbers]) -> None:
        """Bring the report of this worker to two nodes and to its host."""
        for node_id, found in numbers.items():
            self.histories[node_id].add(found)
        self.before()
        self._say_refused()
        worker = self.membership.workers.worker
        totals = self.totals.share(numbers)
        del totals["nodes"]
        data = self.reports.seal(worker, self.facts(numbers, totals))
        self.store.local.put_blob(note_name(worker), data)
        self.reports.publish(worker, data, self._clock.monotonic() + self.membership.timeout)

    def facts(
        self, numbers: Mapping[str, Numbers], totals: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what this worker knows, as JSON takes it: times in seconds since the epoch.

        *totals* are those of this worker, if they were put together just now.
        """
        kept = self._kept()
        facts: dict[str, Any] = {
            "at": self._clock.time(),
            # By the clock of the fleet, which may not have been known at that time.
            "started": self._clock.time() - (self._clock.monotonic() - self._started),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": self.version,
            "mode": self.membership.mode.mode.value,
            "mode_since": self.membership.mode.since,
            "control": str(self.membership.control.newest_order()),
            "nodes": {
                node_id: self._node(node_id, numbers.get(node_id))
                for node_id in self.membership.table.node_ids
            },
            "traffic": self._traffic() | {"kept": self._kept_by_step(kept.get("dirty"))},
            "totals": totals or self.totals.own(),
            "local": kept,
            "events": [_said(event._asdict()) for event in self.membership.events.newest(EVENTS)],
            "rebuild": self._rebuild(),
            "unlisted": sorted(self.rebuilder.unlisted),
            "refused": self._all_refused(),
            "handover": self.failback.progress and self.failback.progress._asdict(),
        }
        for name, source in self.sources.items():
            facts[name] = source()
        return facts

    def _all_refused(self) -> int:
        """Return how often something of the fleet's was not believed."""
        maps = self.membership.control.shared, self.membership.workers.shared
        return self.reports.refused + sum([one.refused + one.left_alone for one in maps])

    def _say_refused(self) -> None:
        now, refused = self._clock.monotonic(), self._all_refused()
        if refused > self._refused and now - self._refused_at >= PAUSE:
            self._refused, self._refused_at = refused, now
            text = (
                "something workers share is forged, damaged, too large, or of another version or"
                f" secret; it is not used (seen {refused} times, reported once an hour)"
            )
            self.membership.events.add("warning", "fleet_record_refused", text)

    def _rebuild(self) -> dict[str, Any] | None:
        progress = self.rebuilder.progress
        if progress is None:
            return None
        began = self._clock.time() - (self._clock.monotonic() - progress.began)
        return {**progress._asdict(), "began_at": began}

    def _node(self, node_id: str, numbers: Numbers | None) -> dict[str, Any]:
        view = self.membership.table.view()[node_id]
        health, now = view.health, self._clock.monotonic()
        # Other hosts have other monotonic clocks: reports contain the time of day.
        wall = self._clock.time() - now
        if view.health.state in (NodeState.DOWN, NodeState.RECOVERING):
            self._down_at[node_id] = now
        elif not view.trusted and self.membership.may_believe():
            self._lacking_at[node_id] = now
        facts: dict[str, Any] = {
            "state": view.state.value,
            "trusted": view.trusted,
            "since": wall + health.since,
            "error": health.error,
            "failures": health.doubts + health.losses,
            "good_probes": health.good_probes,
            "retry_at": wall + health.retry_at if health.retry_at > now else None,
            **self.membership.table.failures(node_id)._asdict(),
        }
        if node_id in self._down_at:
            facts["down_at"] = wall + self._down_at[node_id]
        if node_id in self._lacking_at:
            facts["lacking_at"] = wall + self._lacking_at[node_id]
        if numbers is not None:
            history = self.histories[node_id]
            facts["numbers"] = numbers._asdict()
            facts["hit_ratio"] = history.hit_ratio()
            facts["evictions_per_minute"] = history.evictions_per_minute()
            for percent, latency in zip(PERCENTS, history.quantiles(*PERCENTS), strict=True):
                facts[f"latency_p{percent}"] = latency
            facts["latencies"] = [round(latency, 6) for latency in history.latencies()]
        return facts

    def _traffic(self) -> dict[str, Any]:
        windows = self.meter.windows()
        known = [window for window in windows if window is not None]
        return {
            "loads": summed([window.loads for window in known]),
            "saves": summed([window.saves for window in known]),
            "hits": sum([window.hits for window in known]),
            "misses": sum([window.misses for window in known]),
            "failed": sum([window.failed for window in known]),
            "operations": [w and sum(w.loads) + sum(w.saves) for w in windows],
            "p95": [w and quantile(summed((w.loads, w.saves)), 0.95) for w in windows],
            "failures": [w and w.failed for w in windows],
            "kept_locally": self.store.saved_locally,
            "found": [w and [w.hits, w.misses] for w in windows],
            "classes": [w and summed((w.loads, w.saves)) for w in windows],
            "slots": self._slots(known),
        }

    def _slots(self, windows: Sequence[Window]) -> dict[str, dict[str, Any]]:
        """Return what was counted in each slot that the windows cover, by the time it begins."""
        now, mono = self._clock.time(), self._clock.monotonic()
        wall = now - mono
        whole = math.ceil((now - STEP * (STEPS - 1)) / SLOT) * SLOT
        first = max(whole, int((self._started + wall) // SLOT) * SLOT)
        slots = {begin: Counted() for begin in range(first, int(now) + 1, SLOT)}

        def slot(number: int) -> Counted | None:
            # The first window may have begun before this worker did.
            begin = max(number * STEP, self._started) + wall
            return slots.get(int(begin // SLOT) * SLOT)

        for window in windows:
            if counted := slot(window.number):
                counted.add(window)
        for number, digests, cut in self.losses.lost_by_window():
            if counted := slot(number):
                counted.add_lost(digests, cut=cut)
        return {str(begin): counted.facts() for begin, counted in slots.items()}

    def _kept_by_step(self, now: int | None) -> list[int | None]:
        """Return how many sessions waited here at the end of each step; *now* is how many do."""
        current = int(self._clock.monotonic() // STEP)
        steps = range(current - STEPS + 1, current + 1)
        self._waiting = {step: self._waiting[step] for step in steps if step in self._waiting}
        if now is not None:
            self._waiting[current] = now
        return [self._waiting.get(step) for step in steps]

    def _kept(self) -> dict[str, Any]:
        shelf = self.store.local.shelf
        if shelf is None:
            return {}
        usage = shelf.cache.usage()
        return {
            "kind": shelf.kind,
            "sessions": usage.sessions,
            "bytes": usage.size,
            "dirty": shelf.journal.count(),
            "limit_sessions": shelf.limits.sessions,
            "limit_bytes": shelf.limits.size,
            "error": self.store.local.failing,
        }


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    """Return *facts* without what is not known; readers treat it as ``None``."""
    return {name: value for name, value in facts.items() if value is not None}
