"""When what has expired or is too much is removed: by one worker of a host, once a minute."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .file_cache import TRIM


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock

    from .backend import BackendOpener, LocalBackend


#: Time in seconds between two removals of what has expired.
TRIM_EVERY = 60.0
#: A worker that has written this part of the most bytes looks itself, and at once.
MUCH = 0.1


class Trims:
    """The trims of this worker.

    Args:
        act: Trims.

    Attributes:
        written: How many bytes it has written since its last one.
    """

    def __init__(
        self, shelves: BackendOpener, clock: Clock, act: Callable[[LocalBackend], None]
    ) -> None:
        self.written = 0
        self._shelves = shelves
        self._clock = clock
        self._act = act
        self._done_at = clock.monotonic()

    def is_due(self) -> bool:
        """Return whether one is to be asked for; for every write."""
        return self._clock.monotonic() - self._done_at >= TRIM_EVERY or self._wrote_much()

    def take(self) -> Callable[[], None]:
        """Return the one that is due; there is no other one until then."""
        every = TRIM_EVERY
        if self._wrote_much():
            self.written, every = 0, 0.0
        self._done_at = self._clock.monotonic()
        return partial(self.run, every=every)

    def run(self, *, every: float = 0.0) -> None:
        """Trim, unless another worker is at it, or one of this host did within *every* seconds."""
        self._done_at = self._clock.monotonic()
        shelf = self._shelves.open()
        with shelf.locks.alone(TRIM) as alone:
            ago = shelf.cache.trimmed_ago() if every and alone else every
            if ago < every:
                # So it is due for all of them at a time, and the first one does it for all.
                self._done_at -= ago
            elif alone:
                self.written = 0
                self._act(shelf)

    def _wrote_much(self) -> bool:
        shelf = self._shelves.opened
        return shelf is not None and self.written > shelf.limits.size * MUCH
