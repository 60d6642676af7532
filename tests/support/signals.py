"""Signals that the tests were told to ignore, by ``nohup`` or a shell that runs them behind.

A process that is started inherits what is ignored, and then Ctrl-C does not end a server that a
test ends that way. A handler is not inherited: the program that is started has the default again.
"""

from __future__ import annotations

import signal
from types import FrameType


#: Those that end what a test started, and that a run may have been told to ignore.
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)


def keep_ignored_signals_to_this_process() -> None:
    """Go on ignoring what is ignored, but in this process alone; its main thread calls this."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
    del number, frame
