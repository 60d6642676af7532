"""What operators changed, in the log of every host, once.

A change goes into the control map with the line that tells of it (``Control.announce``), also from
a command line. The first worker of each host that finds it logs it; a note in local storage, shared
by the workers of the host, records what was logged already.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from flask_msm.cluster.control import ANNOUNCED
from flask_msm.errors import one_line
from flask_msm.record.hybrid_clock import stamp_at


if TYPE_CHECKING:
    from flask_msm.cluster.control import Control
    from flask_msm.process.clock import Clock
    from flask_msm.storage.local.store import LocalStore


logger = logging.getLogger("flask_msm.audit")

#: Name of the note, and of what only one worker of a host does at a time.
NOTE = TASK = "audit"
#: A host that noted nothing yet logs changes that are younger than this, seconds.
RECENT = 600.0
#: So many changes a host remembers to have logged.
MOST_NOTED = 4 * ANNOUNCED
#: How often a worker that changed something tries to note that it logged it, and how long it waits
#: between two times, seconds: less than any other worker takes to log it as well.
TRIES, PAUSE = 20, 0.01


class AuditLog:
    """Logs the changes of operators for this host."""

    def __init__(self, control: Control, local: LocalStore, clock: Clock) -> None:
        self._control = control
        self._local = local
        self._clock = clock
        #: Names of the changes one tick ago, and of those that were looked into last.
        self._before: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()

    def write(self) -> None:
        """Log what is new, once for the host; to be called once in each tick.

        What was not known in the tick before waits for the next one: the worker that made the
        change has logged it, with what became of it.
        """
        known = self._control.announced()
        names = frozenset(known)
        settled, self._before = names & self._before, names
        if settled == self._seen:
            return
        with self._local.alone_at(TASK) as alone:
            if not alone:
                return  # the next tick looks again
            noted = self._noted()
            since = 0 if noted is not None else stamp_at(self._clock.time() - RECENT)
            logged = noted or {}
            for name in sorted(settled - logged.keys(), key=lambda name: known[name][0]):
                stamp, line = known[name]
                if stamp >= since:
                    logger.warning("%s", one_line(line, 1000))
                logged[name] = stamp
            self._note(logged)
        self._seen = settled

    def wrote(self, name: str) -> None:
        """Take note that the change of that *name* has its line from this worker."""
        now = stamp_at(self._clock.time())
        for _ in range(TRIES):
            with self._local.alone_at(TASK) as alone:
                if alone:
                    self._note({**(self._noted() or {}), name: now})
                    return
            time.sleep(PAUSE)

    def _noted(self) -> dict[str, int] | None:
        """Return when what was logged happened, by name; ``None`` for a host that is new."""
        data = self._local.get_blob(NOTE)
        try:
            return {str(name): int(stamp) for name, stamp in json.loads(data or b"").items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None

    def _note(self, logged: dict[str, int]) -> None:
        newest = sorted(logged, key=logged.__getitem__)[-MOST_NOTED:]
        self._local.put_blob(NOTE, json.dumps({name: logged[name] for name in newest}).encode())
