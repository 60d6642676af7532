"""A host whose clock is wrong: its workers take another time for the time of day.

It is done in the process. The library *faketime* was tried: with the monotonic clock left right it
makes every sleep fail and the interpreter's threads wait ten times as long for each other, and with
both clocks wrong a wait for a lock never times out.
"""

from __future__ import annotations

import os
import time


#: Environment variable: by how many seconds the clock of this host is ahead.
AHEAD = "DRILL_CLOCK_AHEAD"
#: Environment of the processes of a host whose clock is an hour ahead.
AN_HOUR_AHEAD = {AHEAD: "3600"}


def set_clock() -> None:
    """Put the time of day of this process wrong, if its environment says so.

    To be called before anything is imported that keeps ``time.time``.
    """
    ahead, right = float(os.environ.get(AHEAD, "0")), time.time
    if ahead:
        time.time = lambda: right() + ahead
