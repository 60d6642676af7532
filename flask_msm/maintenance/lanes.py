"""Where upkeep is done that may take its time: behind requests and ticks."""

from __future__ import annotations

from collections.abc import Callable


#: Takes a job, which is given its deadline (monotonic time, seconds); returns whether it took it.
Lane = Callable[[Callable[[float], object]], bool]


class Lanes:
    """Two queues, so that what may take long does not wait for what takes longer.

    Args:
        later: Runs a job behind requests and ticks; returns whether it was taken.
        aside: The same, for what may take long and must not wait for a rebuild.
    """

    def __init__(self, *, later: Lane, aside: Lane) -> None:
        self.later = later
        self.aside = aside

    def close(self) -> None:
        """Take nothing from now on, so that no thread is started."""
        self.later = self.aside = lambda _: False
