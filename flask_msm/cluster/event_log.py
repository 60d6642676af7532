"""The lines that events leave in the log: each *down* has its *back*, and flapping is one line.

What begins is logged at the level of its event, what ends it at WARNING, for Python's default
logging shows no less. What begins and ends, or is over, again within a minute of its first line is
counted, and the count is logged once a minute until it holds still.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock

    from .event_kinds import Event


logger = logging.getLogger("flask_msm.events")

#: What happens again so soon is counted and not logged, seconds.
QUIET = 60.0
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass(eq=False)
class _Trouble:
    """What was logged of one kind of trouble with one node.

    Attributes:
        began: When it began last, seconds of the monotonic clock; ``None`` when it is over.
        until: Until when further lines are counted.
        again: How often it began again since the last line.
        kind: The kind of its last event.
        last: That and its text; empty before the first.
        told: The kinds that began it and have a line: a node that was only in doubt and goes down
            is not just counted.
    """

    began: float | None
    until: float
    again: int = 0
    kind: str = ""
    last: str = ""
    told: frozenset[str] = frozenset()


class EventLog:
    """Writes the lines of one worker.

    Args:
        worker: Returns its name, ``host:pid:...``, or nothing. Workers of a host may write into one
            stream: each line ends with host and pid.
    """

    def __init__(self, clock: Clock, worker: Callable[[], str]) -> None:
        self._clock = clock
        self._worker = worker
        self._lock = ProcessLock()
        self._troubles: dict[tuple[str, str | None], _Trouble] = {}

    def write(self, event: Event, *, begins: str | None, ends: str | None, loud: bool) -> None:
        """Log *event*, which *begins* or *ends* the trouble of that name with its node.

        One that is *loud* has at least the level WARNING; again within a minute, it is counted.
        """
        self.settle()
        line = f"{event.kind}: {event.text}"
        if begins is not None:
            self._begin((begins, event.node), event, line)
        elif ends is not None:
            self._end((ends, event.node), event, line)
        elif not loud or not self._is_again((event.kind, event.node), event, line):
            self._log(max(_LEVELS[event.level], logging.WARNING * loud), line)

    def settle(self) -> None:
        """Log what was only counted for a minute; to be called now and then."""
        if not self._troubles:
            return
        now = self._clock.monotonic()
        with self._lock:
            due = [key for key, one in self._troubles.items() if one.until <= now]
            for key in due:
                one = self._troubles[key]
                if one.again:
                    times = "time" if one.again == 1 else "times"
                    more = f" ({one.again} {times} more since the last line)"
                    self._log(logging.WARNING, one.last + more)
                    one.again, one.until = 0, now + QUIET
                elif one.began is None:
                    del self._troubles[key]

    def _is_again(self, key: tuple[str, str | None], event: Event, line: str) -> bool:
        """Count *event* if there was a line of its kind in the last minute; return whether."""
        now = self._clock.monotonic()
        with self._lock:
            again = key in self._troubles
            one = self._troubles.setdefault(key, _Trouble(None, now + QUIET))
            one.again += again
            one.kind, one.last = event.kind, line
        return again

    def _begin(self, key: tuple[str, str | None], event: Event, line: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            one = self._troubles.setdefault(key, _Trouble(now, now + QUIET))
            is_new = one.began is None or one.kind == event.kind
            counted = event.kind in one.told and (is_new or one.again > 0)
            one.again = one.again + is_new if counted else 0
            one.began = now if one.began is None else one.began
            one.kind, one.last, one.told = event.kind, line, one.told | {event.kind}
            if counted:
                return
        self._log(_LEVELS[event.level], line)

    def _end(self, key: tuple[str, str | None], event: Event, line: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            one = self._troubles.get(key)
            if one is None or one.began is None:
                level, lasted = _LEVELS[event.level], ""
            elif one.again:
                one.began, one.kind, one.last = None, event.kind, line
                return
            else:
                level, lasted = logging.WARNING, f" (it lasted {now - one.began:.0f} s)"
                one.began, one.until = None, max(one.until, now + QUIET)
        self._log(level, line + lasted)

    def _log(self, level: int, line: str) -> None:
        name = self._worker().rpartition(":")[0]
        logger.log(level, "%s%s", line, f" [{name}]" if name else "")
