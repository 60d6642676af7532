"""The clocks of the package, which tests can replace."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


#: Two clocks that differ by more than this are not the same time, seconds.
TOLERANCE = 60.0
#: A node whose clock differs by more than this from that of this machine has none, seconds.
BELIEVED = 10 * 366 * 86_400.0


class Clock(Protocol):
    """Wall clock for expiry, monotonic clock for intervals; never mix the two."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        ...


class SystemClock:
    """The clocks of the machine."""

    # The functions themselves: requests look at the clock a dozen times.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class FleetClock:
    """The time of the fleet: that of this machine, corrected if the nodes have another one.

    What one machine stamps, others compare with what they stamped: so a machine whose clock is
    wrong asks the nodes, and takes the median of their times.

    Args:
        own: The clocks of the machine.

    Attributes:
        correction: What is added to the own wall clock, seconds; 0.0 while the nodes agree with
            it to ``TOLERANCE``.
        asked: Whether the nodes were asked already.
    """

    def __init__(self, own: Clock) -> None:
        self.correction = 0.0
        self.asked = False
        self.monotonic = own.monotonic
        self.own_time = own.time
        #: By how much the wall clock was ahead of the monotonic one when the nodes were asked.
        self._ahead = inf
        #: Returns seconds since the epoch, by the clock of the fleet. As long as there is nothing
        #: to correct it is the function of the machine itself: requests look a dozen times.
        self.time: Callable[[], float] = own.time

    def earliest(self) -> float:
        """Return the earlier one of the fleet's time and that of this machine.

        What ends a life has to be past by both: neither a machine nor nodes whose clock is wrong
        may end it. If the clock of this machine was set since the nodes were asked, it counts on
        from then as long as it would be later.
        """
        now = min(self.own_time(), self.monotonic() + self._ahead)
        return now if self.correction >= 0.0 else now + self.correction

    def steady(self) -> float:
        """Return the fleet's time, as if the clock of this machine had not been set ahead since.

        What is stamped with the time must not be ahead of all others because that was a mistake.
        """
        return min(self.own_time(), self.monotonic() + self._ahead) + self.correction

    def over_before(self) -> float:
        """Return the time before which lives are over; see the function of this name."""
        if not self.asked:
            return -inf
        # As in earliest(), which is a call more for each request.
        now = min(self.own_time(), self.monotonic() + self._ahead)
        return now if self.correction >= 0.0 else now + self.correction

    def correct(self, ahead: Iterable[float]) -> None:
        """Correct this clock by the clocks of the nodes.

        Args:
            ahead: By how many seconds the clock of each node is ahead of that of this machine.
        """
        self.asked = True
        found = _median(seconds for seconds in ahead if abs(seconds) < BELIEVED)
        if abs(found) <= TOLERANCE:
            self.correction = 0.0
        elif abs(found - self.correction) > TOLERANCE:
            # Otherwise it stays: nodes report whole seconds, and the correction must not oscillate.
            self.correction = found
        self.time = self._corrected if self.correction else self.own_time
        self._ahead = self.own_time() - self.monotonic()

    def _corrected(self) -> float:
        return self.own_time() + self.correction


def earliest(clock: Clock) -> float:
    """Return the time that ends lives: see ``FleetClock.earliest``; of other clocks, their time."""
    return ender(clock)()


def ender(clock: Clock) -> Callable[[], float]:
    """Return the function that ``earliest`` calls."""
    return clock.earliest if isinstance(clock, FleetClock) else clock.time


def steady(clock: Clock) -> Callable[[], float]:
    """Return a function of the time for stamps: see ``FleetClock.steady``."""
    return clock.steady if isinstance(clock, FleetClock) else clock.time


def over_before(clock: Clock) -> Callable[[], float]:
    """Return a function of the time, in seconds since the epoch, before which lives are over.

    By the clock of the fleet and by that of this machine; no life is over before the nodes were
    asked once, for the clock of this machine alone may be wrong.
    """
    return clock.over_before if isinstance(clock, FleetClock) else clock.time


def _median(values: Iterable[float]) -> float:
    """Return the median, of two in the middle the one nearer to 0; 0.0 without any."""
    found = sorted(values)
    if not found:
        return 0.0
    return min(found[(len(found) - 1) // 2], found[len(found) // 2], key=abs)
