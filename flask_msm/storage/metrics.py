"""How many sessions were read and written, how long that took, and how it went.

Counted in windows of thirty seconds, of which the last fifteen minutes are kept. Counting is
lock-free; two threads at the same moment may undercount by one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_msm.process.clock import Clock


#: Upper bounds of the classes of latency, seconds; the last class has none.
BOUNDS = (
    0.00025,
    0.0005,
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.064,
    0.128,
    0.256,
    0.512,
    1.0,
)
STEP = 30.0
STEPS = 30
#: One session of so many is counted: storage keys are hashes, and these end in this digit.
SAMPLED, SAMPLE = 16, "0"


class Window:
    """What happened in thirty seconds.

    *loads* and *saves* are latencies by class; *failed* are reads that no store answered and writes
    that none took, *unknown* and *unsaved* each of them alone; *asked* are storage keys of some of
    the sessions that were read.
    """

    __slots__ = (
        "asked", "failed", "hits", "load_seconds", "loads", "misses", "number", "save_seconds",
        "saves", "unknown", "unsaved",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.loads = [0] * (len(BOUNDS) + 1)
        self.saves = [0] * (len(BOUNDS) + 1)
        self.hits = self.misses = self.failed = self.unknown = self.unsaved = 0
        self.load_seconds = self.save_seconds = 0.0
        self.asked: set[str] = set()

    def add(self, other: Window) -> None:
        """Add what was counted in another one."""
        self.loads = summed((self.loads, other.loads))
        self.saves = summed((self.saves, other.saves))
        self.hits += other.hits
        self.misses += other.misses
        self.failed += other.failed
        self.unknown += other.unknown
        self.unsaved += other.unsaved
        self.load_seconds += other.load_seconds
        self.save_seconds += other.save_seconds


class LatencyMetrics:
    """Counts what the sessions of one worker cost.

    Attributes:
        asked: Takes the storage keys of the sessions that are read, of one of ``SAMPLED``: so that
            sessions can be counted, not only requests. Those whose key ends in ``SAMPLE``.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: deque[Window] = deque([Window(0)], maxlen=STEPS)
        self.asked = self._windows[-1].asked
        #: What was counted in all windows before the newest.
        self._before = Window(0)
        self._turning = ProcessLock()

    def totals(self) -> Window:
        """Return what was counted since the start: none of it ever falls."""
        with self._turning:
            found = Window(0)
            found.add(self._before)
            found.add(self._windows[-1])
            return found

    def newest(self) -> int:
        """Return how many reads and writes the newest window has: another number after each."""
        window = self._windows[-1]
        return sum(window.loads) + sum(window.saves)

    def loaded(self, began: float, found: bool | None) -> float:  # noqa: FBT001
        """Count a read; return how long it took, seconds.

        *found* is ``None`` when no store knew.
        """
        now = self._clock.monotonic()
        number, window = int(now // STEP), self._windows[-1]
        if window.number != number:
            window = self._begun(number)
        window.loads[bisect_left(BOUNDS, now - began)] += 1
        window.load_seconds += now - began
        if found:
            window.hits += 1
        elif found is None:
            window.failed += 1
            window.unknown += 1
        else:
            window.misses += 1
        return now - began

    def saved(self, began: float, *, stored: bool) -> float:
        """Count a write that began at *began* (monotonic clock); return the seconds it took."""
        now = self._clock.monotonic()
        number, window = int(now // STEP), self._windows[-1]
        if window.number != number:
            window = self._begun(number)
        window.saves[bisect_left(BOUNDS, now - began)] += 1
        window.save_seconds += now - began
        if not stored:
            window.failed += 1
            window.unsaved += 1
        return now - began

    def windows(self) -> list[Window | None]:
        """Return the last fifteen minutes, oldest first; ``None`` where nothing happened."""
        now = int(self._clock.monotonic() // STEP)
        by_number = {window.number: window for window in list(self._windows)}
        return [by_number.get(number) for number in range(now - STEPS + 1, now + 1)]

    def asked_for(self) -> list[tuple[int, set[str]]]:
        """Return what was put into *asked* in the last fifteen minutes, by number of the window."""
        windows = self.windows()
        return [(window.number, window.asked) for window in windows if window and window.asked]

    def _begun(self, number: int) -> Window:
        with self._turning:
            last = self._windows[-1]
            if last.number == number:  # another thread was first
                return last
            self._before.add(last)
            window = Window(number)
            self._windows.append(window)
            self.asked = window.asked
            return window


def quantile(classes: Iterable[int], share: float) -> float | None:
    """Return the latency in seconds below which *share* of all lie; ``None`` without any.

    The answer is the upper bound of a class, so it is never too good.
    """
    counts = list(classes)
    total = sum(counts)
    if not total:
        return None
    seen = 0
    for bound, count in zip((*BOUNDS, BOUNDS[-1]), counts, strict=True):
        seen += count
        if seen >= share * total:
            return bound
    return BOUNDS[-1]


def summed(rows: Iterable[Iterable[int]]) -> list[int]:
    """Return the classes of several windows added up."""
    return [sum(column) for column in zip(*rows, strict=True)] or [0] * (len(BOUNDS) + 1)
