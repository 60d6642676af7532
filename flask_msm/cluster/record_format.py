"""In which format this worker writes records: the newer one as soon as all workers read it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from flask_msm.record.envelope import FORMAT
from flask_msm.record.segments import SEGMENTED

from .beats import GONE_AFTER


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock

    from .workers import WorkerRegistry


#: What a worker announces that it reads, see ``record/envelope.py``.
_NEEDED = f"format:{SEGMENTED}"


class RecordFormat:
    """Knows which format every worker that lives can read, as long as it looks at them.

    Args:
        enabled: Whether the newer format is to be written at all.
        interval: Time in seconds between two ticks; 0 without ticks.
    """

    def __init__(self, *, enabled: bool, interval: float, clock: Clock) -> None:
        self._enabled = enabled
        self._valid_for = GONE_AFTER * interval
        self._monotonic = clock.monotonic
        self._until = -inf

    def look(self, workers: WorkerRegistry, *, visits: bool = False) -> None:
        """See what the workers read, which was just read from nodes; *visits*: this is none."""
        reads = workers.others_read if visits else workers.all_read
        allowed = self._enabled and reads(_NEEDED)
        self._until = self._monotonic() + self._valid_for if allowed else -inf

    def current(self) -> int:
        """Return the format to write.

        A worker that was stopped for so long that others took it for gone does not know the fleet:
        it looks before it writes the newer format again.
        """
        return SEGMENTED if self._monotonic() < self._until else FORMAT
