"""Which reads of a session ask its other home as well.

A node evicts what was not read for longest. If reads touched the first copy only, the second
copies of exactly the sessions in use would go first, and with the death of one node the sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock


#: Of the reads of one session, the first and then every so many-th ask both homes. Measured with
#: 450 sessions in three nodes of 2 MB: with 4, 53 to 60 of 60 second copies stay; with 16, 13.
EVERY = 4

#: Time in seconds after which the next read of a session counts as its first again.
PERIOD = 600.0

#: How many sessions are counted, some 100 bytes each; with more all are counted anew.
LIMIT = 50_000


class SecondLooks:
    """Counts the reads of one worker."""

    def __init__(self, clock: Clock, *, limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._since = clock.monotonic()
        self._counts: dict[int, int] = {}

    def due(self, key: str) -> bool:
        """Count a read of *key*; return whether its other home is to be asked as well."""
        return self.count(key) % EVERY == 0

    def count(self, key: str) -> int:
        """Count a read of *key*; return how many there were before.

        Threads may lose each other's counts: that costs or saves one look.
        """
        now = self._clock.monotonic()
        if now - self._since >= PERIOD:
            self._since, self._counts = now, {}
        number, counts = hash(key), self._counts
        count = counts.get(number, 0)
        if not count and len(counts) >= self._limit:
            self._since, self._counts = now, {number: 1}
            return 0
        counts[number] = count + 1
        return count

    def take_back(self, key: str) -> None:
        """Forget the last read of *key*: it is made again in another way, and counted again."""
        number, counts = hash(key), self._counts
        counts[number] = max(counts.get(number, 0) - 1, 0)
