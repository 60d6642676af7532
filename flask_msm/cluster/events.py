"""What happened: a bounded ring for people, one log line for each change."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from flask_msm.process.apart import apart
from flask_msm.process.locks import ProcessLock

from .event_kinds import Event
from .event_log import EventLog


if TYPE_CHECKING:
    from flask_msm.process.clock import Clock


logger = logging.getLogger("flask_msm.events")

RING = 1000


class Events:
    """Keeps the newest events of this process and hands each of them on.

    Args:
        listener: Is called with each of them.
        worker: Returns the name of this worker, for the log.

    Attributes:
        visits: Whether this process is a command line.
    """

    def __init__(
        self,
        clock: Clock,
        listener: Callable[[Event], object] | None = None,
        worker: Callable[[], str] = lambda: "",
    ) -> None:
        self._clock = clock
        self._listener = listener
        self._ring: deque[Event] = deque(maxlen=RING)
        self._ids = count(1)
        self._lock = ProcessLock()
        self.visits = False
        self.log = EventLog(clock, worker)

    def visit(self) -> None:
        """Log errors only, for a command line, which prints what it found.

        What changes there is what its first look at the nodes finds, and nothing that happened.
        """
        self.visits = True

    def add(
        self,
        level: str,
        kind: str,
        text: str,
        *,
        logged: bool = True,
        begins: str | None = None,
        ends: str | None = None,
        loud: bool = False,
        **more: str | None,
    ) -> int:
        """Record an event, log it, and call the listener; return its id.

        *more* are further fields of it. Without *logged* it has its line of the log from elsewhere.
        What it *begins* or *ends* is a word for a trouble with its node: see ``event_log.py``.
        One that is *loud* is logged at WARNING, though nothing is wrong.
        """
        with self._lock:
            event = Event(next(self._ids), self._clock.time(), level, kind, text, **more)
            self._ring.append(event)
        if logged and (not self.visits or level == "error"):
            apart(self.log.write, event, begins=begins, ends=ends, loud=loud)
        if self._listener is not None:
            apart(self._tell, self._listener, event)
        return event.id

    def _tell(self, listener: Callable[[Event], object], event: Event) -> None:
        try:
            listener(event)
        except Exception:  # a listener must not be able to stop an upkeep or a request
            logger.exception("a listener failed at event %s", event.kind)

    def newest(self, limit: int = RING) -> list[Event]:
        """Return the newest events, newest first."""
        with self._lock:
            return list(self._ring)[::-1][:limit]
