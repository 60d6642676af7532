"""One line for each session that ended or was not found, at most so many a minute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock


logger = logging.getLogger("flask_msm.sessions")

#: Lines of one worker in a minute; of more, only the number is logged.
MOST_LINES = 60
_MINUTE = 60.0


class SessionLog:
    """Writes about single sessions, by their refs, at level INFO."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minute = -1
        self._lines = self._left_out = 0

    def write(self, text: str, *values: str) -> None:
        """Write a line, or count it if there were too many in this minute."""
        self.turn()
        if self._lines >= MOST_LINES:
            self._left_out += 1
            return
        self._lines += 1
        logger.info(text, *values)

    def turn(self) -> None:
        """Write how many lines were left out in the minute that is over."""
        minute = int(self._clock.monotonic() // _MINUTE)
        if minute == self._minute:
            return
        self._minute, self._lines = minute, 0
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            logger.info("%d more sessions ended or were not found in the minute before", left_out)
