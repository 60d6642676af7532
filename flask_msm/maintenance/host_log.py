"""One line of the log for each host when a condition of the fleet begins, and when it ends.

A note in local storage, shared by the workers of a host, records what was logged already.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from flask_msm.cluster.conditions import MOST, PREFIX, lasting


if TYPE_CHECKING:
    from flask_msm.cluster.conditions import Condition
    from flask_msm.cluster.shared_map import SharedMap
    from flask_msm.storage.local.store import LocalStore


# The same as that of the events: the line of a condition is the line of its event.
logger = logging.getLogger("flask_msm.events")

#: Name of the note, and of what only one worker of a host does at a time.
NOTE = TASK = "conditions"
#: Most conditions that a host remembers to have logged, those that are over included.
MOST_NOTED = 4 * MOST

_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR}


class HostLog:
    """Logs the conditions of the fleet for this host."""

    def __init__(self, shared: SharedMap, local: LocalStore) -> None:
        self._shared = shared
        self._local = local
        #: Stamps of all conditions one tick ago, and of those that were looked into last.
        self._before: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        #: What was logged here or on this host: stamp, time of the beginning (0.0 when it is
        #: over), kind and text.
        self._logged: dict[str, tuple[int, float, str, str]] = {}

    def write(self) -> None:
        """Log what began and what ended, once for the host; to be called once in each tick.

        What was not known in the tick before waits for the next one: several workers may find the
        same at the same time, and the entry of one of them stays.
        """
        known = {
            name: stamp
            for name, (stamp, _) in self._shared.attributes.entries.items()
            if name.startswith(PREFIX)
        }
        seen = {name: stamp for name, stamp in known.items() if self._before.get(name) == stamp}
        self._before = known
        if seen == self._seen:
            return
        with self._local.alone_at(TASK) as alone:
            if not alone:
                return  # the next tick looks again
            logged = dict(self._logged)
            for name, noted in _parsed(self._local.get_blob(NOTE)).items():
                logged[name] = max(noted, logged.get(name, noted))
            there = lasting(self._shared)
            for name, stamp in seen.items():
                at, since, kind, text = logged.get(name, (0, 0.0, "", ""))
                # Another worker of the host may have noted a newer state.
                if stamp > at:
                    logged[name] = self._log(stamp, there.get(name), since, kind, text)
            newest = sorted(logged, key=lambda name: logged[name][0])[-MOST_NOTED:]
            self._logged = {name: logged[name] for name in newest}
            self._local.put_blob(NOTE, json.dumps(self._logged).encode())
        self._seen = seen

    def _log(
        self, stamp: int, now: Condition | None, since: float, kind: str, text: str
    ) -> tuple[int, float, str, str]:
        """Log one condition if something is new; return what is to be noted.

        *now* is the condition, ``None`` when it is over; *since*, *kind* and *text* are those of
        the one that was logged last, 0.0 for none.
        """
        if now is None:
            if since:
                logger.warning("%s_over: over: %s", kind, text)
            return stamp, 0.0, kind, text
        if now.since != since:
            logger.log(_LEVELS[now.level], "%s: %s", now.kind, now.text)
        return stamp, now.since, now.kind, now.text


def _parsed(data: bytes | None) -> dict[str, tuple[int, float, str, str]]:
    """Return what the host noted; another version may have written it otherwise."""
    try:
        found = json.loads(data or b"{}")
        return {
            str(name): (int(stamp), float(since), str(kind), str(text))
            for name, (stamp, since, kind, text) in found.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
