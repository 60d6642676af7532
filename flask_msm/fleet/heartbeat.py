"""Which workers there are and which nodes each of them uses.

Workers with different lists of nodes rank differently: what one writes, another may not find. So
while lists differ nobody trusts a node alone, and when they agree again all nodes are rebuilt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .shared_map import SharedMap


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.clock import Clock


KEY_SUFFIX = "fleet:workers"

#: A worker is announced anew after so many probe intervals, and counts as gone after so many.
RENEWED_AFTER = 3
GONE_AFTER = 10


class Heartbeat:
    """The workers of the fleet as this one knows them.

    Args:
        shared: The map they stand in.
        worker: Name of this worker.
        nodes: Ids of the nodes this worker uses.
        replicas: How many copies it writes.
        interval: Time in seconds between two ticks.
        clock: Its wall clock is used.
    """

    def __init__(
        self,
        shared: SharedMap,
        *,
        worker: str,
        nodes: Iterable[str],
        replicas: int,
        interval: float,
        clock: Clock,
    ) -> None:
        self.shared = shared
        self.worker = worker
        self._layout = [*sorted(nodes), replicas]
        self._interval = interval
        self._clock = clock
        self._announced_at = 0.0

    def announce(self) -> None:
        """Say that this worker lives, if that is due."""
        now = self._clock.time()
        if 0 <= now - self._announced_at < RENEWED_AFTER * self._interval:
            return
        self._announced_at = now
        entry = {"at": now, "layout": self._layout}
        self.shared.put(self.worker, json.dumps(entry).encode())
        for name, at in self._ages().items():
            if name != self.worker and not -3600 < now - at < 6 * GONE_AFTER * self._interval:
                self.shared.put(name, None)

    def leave(self) -> None:
        """Say that this worker ends."""
        self.shared.put(self.worker, None)

    def layouts_differ(self) -> bool:
        """Return whether a worker that lives uses other nodes, or another number of copies."""
        now = self._clock.time()
        for _, raw in self.shared.values("").values():
            entry = _parsed(raw)
            alive = abs(now - _at(entry)) < GONE_AFTER * self._interval
            if alive and entry.get("layout") != self._layout:
                return True
        return False

    def _ages(self) -> dict[str, float]:
        return {name: _at(_parsed(raw)) for name, (_, raw) in self.shared.values("").items()}


def _parsed(raw: bytes) -> dict[str, object]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _at(entry: dict[str, object]) -> float:
    at = entry.get("at")
    return float(at) if isinstance(at, int | float) else 0.0
