"""What a process does last, also when it is asked to end a second time meanwhile."""

from __future__ import annotations

from collections.abc import Callable


#: So often it goes on. A Ctrl-C asks a worker of gunicorn twice: the terminal and gunicorn do.
TIMES = 3


def to_the_end(work: Callable[[], object]) -> None:
    """Do *work*, which may be begun again, at the exit of the process.

    With gevent a signal that comes now raises ``SystemExit`` wherever this process waits. The
    process ends anyway; what waited would be cut short, and the log would hold a traceback.
    """
    for _ in range(TIMES):
        try:
            work()
        except SystemExit:
            continue
        return
