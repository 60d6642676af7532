"""How often something may be done."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple


#: Names that are counted at a time; the one not used for longest makes room.
_MOST_NAMES = 1000


class Limits(NamedTuple):
    """How often.

    Attributes:
        pause: Least time in seconds between two.
        most: How many within *window*.
        window: Seconds.
    """

    pause: float
    most: int
    window: float = 60.0


class Limiter:
    """Counts what was done, by name, in this process.

    Args:
        clock: Monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._done: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, name: str, limits: Limits) -> float:
        """Return the time in seconds until *name* may be done again; 0 for now."""
        with self._lock:
            return self._wait(name, limits, self._clock())

    def take(self, name: str, limits: Limits) -> float:
        """Do *name* if that is allowed now, and return 0; else the time in seconds to wait."""
        with self._lock:
            now = self._clock()
            wait = self._wait(name, limits, now)
            if not wait:
                done = self._done.setdefault(name, deque(maxlen=limits.most))
                self._done.move_to_end(name)
                done.append(now)
                if len(self._done) > _MOST_NAMES:
                    self._done.popitem(last=False)
            return wait

    def give_back(self, name: str) -> None:
        """Do not count the newest of *name*."""
        with self._lock:
            done = self._done.get(name)
            if done:
                done.pop()
                if not done:
                    del self._done[name]

    def _wait(self, name: str, limits: Limits, now: float) -> float:
        done = self._done.get(name)
        if not done:
            return 0.0
        wait = done[-1] + limits.pause - now
        if len(done) >= limits.most:
            wait = max(wait, done[-limits.most] + limits.window - now)
        return max(0.0, wait)
