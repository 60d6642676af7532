"""Signals that the tests ignore because ``nohup`` or a shell started them in the background.

A process that is started inherits what is ignored, and then Ctrl-C does not end a server that a
test ends that way. A handler is not inherited: the program that is started has the default again.
"""

from __future__ import annotations

import signal
from types import FrameType


#: Those that end what a test started, and that a run may ignore.
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)


def keep_ignored_signals_to_this_process() -> None:
    """Go on ignoring what is ignored, but in this process alone; its main thread calls this."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
    del number, frame
