"""Hybrid logical time: which of two changes is the later one, for the whole fleet.

A stamp is ``milliseconds << 16 | worker``: ordered by time first, and never the same for two
workers. Every number here is an ``int``; in JSON and HTML a stamp is written as a string, for it
exceeds 2**53. A *weak* stamp is an ordinary one moved below zero: it loses against every ordinary
stamp, and among weak ones the later still wins.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from typing import TYPE_CHECKING

from flask_msm.process.clock import steady


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock


WORKER_BITS = 16
#: Every stamp, weak or not, is nearer to zero than this: it fits into 64 bits until the year 4199.
WEAK_OFFSET = 1 << 62
_LAST_MS = (WEAK_OFFSET >> WORKER_BITS) - 1
#: A stamp further ahead of the own clock than this is obeyed but not adopted, milliseconds.
MAX_AHEAD_MS = 60_000
#: So many milliseconds far ahead are remembered to have been issued.
_MOST_LIFTED = 10_000


def weak(stamp: int) -> int:
    """Return *stamp* moved below every ordinary one."""
    return stamp - WEAK_OFFSET


def ordinary(stamp: int) -> int:
    """Return the moment of a *weak* stamp, as an ordinary one."""
    return stamp + WEAK_OFFSET


def milliseconds(stamp: int) -> int:
    """Return the time part of an ordinary *stamp*, milliseconds since the epoch."""
    return stamp >> WORKER_BITS


def stamp_at(at: float) -> int:
    """Return the lowest stamp of a time in seconds since the epoch."""
    return int(at * 1000) << WORKER_BITS


class HybridLogicalClock:
    """Issues stamps; one for each worker process and application.

    Attributes:
        clock_ahead: How many stamps were seen that lie more than 60 s ahead of this clock.
    """

    def __init__(self, clock: Clock, worker: int | None = None) -> None:
        self._time = steady(clock)
        self._worker = secrets.randbits(WORKER_BITS) if worker is None else worker
        self._last_ms = 0
        #: Milliseconds far ahead that were issued, each with a later one that may be free.
        self._lifted: dict[int, int] = {}
        self._forgotten_ms = 0
        self._lock = threading.Lock()
        self.clock_ahead = 0
        if worker is None:
            _clocks.add(self)

    def forked(self) -> None:
        """Take another worker number, in a forked child."""
        self._lock = threading.Lock()
        self._worker = secrets.randbits(WORKER_BITS)

    def next(self, after: int = 0) -> int:
        """Return a stamp above *after*, and above every stamp issued here by this clock's time.

        None is issued twice. An *after* from a clock that runs far ahead lifts this one stamp
        only: the clock of this worker must not be dragged along, or one broken machine would move
        the whole fleet.
        """
        now_ms = int(self._time() * 1000)
        # At the end of all stamps there is nothing above *after*.
        floor_ms = min((after >> WORKER_BITS) + 1, _LAST_MS)
        with self._lock:
            if floor_ms > now_ms + MAX_AHEAD_MS:
                self.clock_ahead += 1
                return self._free(floor_ms) << WORKER_BITS | self._worker
            self._last_ms = max(now_ms, self._last_ms + 1, floor_ms)
            while self._last_ms in self._lifted:
                self._last_ms = self._lifted[self._last_ms]
            return self._last_ms << WORKER_BITS | self._worker

    def _free(self, at_ms: int) -> int:
        """Return the first millisecond from *at_ms* on that was not lifted to, and take it."""
        at_ms, seen = max(at_ms, self._forgotten_ms), []
        while at_ms in self._lifted:
            seen.append(at_ms)
            at_ms = self._lifted[at_ms]
        if at_ms >= _LAST_MS:
            return _LAST_MS
        if len(self._lifted) >= _MOST_LIFTED:
            # From now on above all of them, so that they may be forgotten.
            at_ms = self._forgotten_ms = min(max(at_ms, *self._lifted.values()), _LAST_MS)
            self._lifted.clear()
            seen = []
        for issued in (*seen, at_ms):
            self._lifted[issued] = at_ms + 1
        return at_ms


_clocks: weakref.WeakSet[HybridLogicalClock] = weakref.WeakSet()


def _forked() -> None:
    for clock in list(_clocks):
        clock.forked()


os.register_at_fork(after_in_child=_forked)
