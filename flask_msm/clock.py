"""Where the package asks for the time, so that a test can answer."""

from __future__ import annotations

import time
from typing import Protocol


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
