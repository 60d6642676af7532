"""What an application does about attributes that cannot be stored: policy, blacklist, live objects.

One object for each application and process. Logs things once and counts them afterwards: an
attribute that fails with every request must not fill the log.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.errors import one_line, quoted, short_name

from .blacklist import MAX_ENTRIES, Blacklist, Noted


if TYPE_CHECKING:
    from flask_msm.cluster.events import Events
    from flask_msm.policies import Failure, PolicyInForce
    from flask_msm.process.clock import Clock

    from .live_objects import LiveObjects
    from .pins import Pins


logger = logging.getLogger("flask_msm")

#: Time in seconds between two requests to stop distribution: an operator may have resumed it.
STOP_PAUSE = 5.0
#: Of so many failures it is known that they were logged.
MAX_LOGGED = 4 * MAX_ENTRIES
#: Time in seconds between two warnings that there is too much of something.
PAUSE = 3600.0


@dataclass(slots=True)
class Counts:
    """What was done since the process started. Lost updates between threads are harmless."""

    refused: int = 0
    stored_as_none: int = 0
    kept_local: int = 0
    stops_asked: int = 0


class Serialization:
    """Knows the policy in force, and takes note of what was done by it.

    Every failure is an entry of the blacklist, with every policy. What
    *attribute_filter* finds nothing in is not stored at all. *blacklisted* is called with each
    attribute of which ``None`` is stored for the first time, *stop_distribution* with the reason to
    stop it for the whole fleet: doing so again must be harmless.
    """

    def __init__(
        self,
        *,
        policy: PolicyInForce,
        blacklist: Blacklist,
        pins: Pins,
        live: LiveObjects,
        attribute_filter: re.Pattern[str] | None,
        clock: Clock,
        events: Events,
        blacklisted: Callable[[Failure], object],
        stop_distribution: Callable[[str], object],
    ) -> None:
        self.policy = policy
        self.blacklist = blacklist
        self.pins = pins
        self.live = live
        self.attribute_filter = attribute_filter
        self.stop_distribution = stop_distribution
        self._events = events
        self._blacklisted = blacklisted
        self.counts = Counts()
        self._clock = clock
        #: Of which attributes and types was logged what became of them.
        self._logged: set[tuple[str, str, str]] = set()
        self._asked_at = self._full_at = self._dropped_at = -math.inf

    @property
    def selective(self) -> bool:
        """Whether some attributes are not to be stored as they are, bad or not."""
        return self.attribute_filter is not None or bool(self.pins.names)

    def note_refused(self, failure: Failure) -> None:
        """Take note that a request failed because of an attribute."""
        self.counts.refused += 1
        if self._is_new("attribute_refused", failure):
            self._say(
                "attribute_refused",
                f"{described(failure)}; the request fails, and the session stays as it was (policy"
                f" {self.policy.name!r}; logged once for this attribute and type, then counted)",
            )

    def note_none(self, failure: Failure) -> None:
        """Take note that ``None`` was stored in place of an attribute."""
        self.counts.stored_as_none += 1
        if self._is_new("attribute_blacklisted", failure):
            self._say(
                "attribute_blacklisted",
                f"{described(failure)}; None is stored in its place, the rest of the session as"
                f" usual (policy {self.policy.name!r}; logged once for this attribute and type,"
                " then counted)",
            )
            self._tell(self._blacklisted, failure)

    def note_local(self, failure: Failure) -> None:
        """Take note that an attribute stays in this process."""
        self.counts.kept_local += 1
        if self._is_new("attribute_kept_local", failure):
            self._say(
                "attribute_kept_local",
                f"{described(failure)}; it stays in this process, and every other worker goes on"
                " with the last copy that could be stored: use one worker, or a load balancer"
                " that sends a browser back to the same one"
                f" (policy {self.policy.name!r}; logged once for this attribute and type, then"
                " counted)",
            )

    def note_dropped(self) -> None:
        """Record that objects had to go that exist nowhere else."""
        now = self._clock.monotonic()
        if now - self._dropped_at >= PAUSE:
            self._dropped_at = now
            self._say(
                "live_objects_dropped",
                f"{self.live.dropped} attributes that only this process had are lost: too many, or"
                " not used for too long; their sessions go on with what was stored last",
            )

    def ask_stop(self, failure: Failure) -> None:
        """Ask for distribution to be stopped, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if now - self._asked_at < STOP_PAUSE:
            return
        self._asked_at = now
        self.counts.stops_asked += 1
        why = f"{described(failure)} (policy {self.policy.name!r})"
        self._say(
            "distribution_stop_asked",
            f"{why}; all workers are to keep sessions on their own hosts until an operator resumes",
        )
        self._tell(self.stop_distribution, why)

    def _is_new(self, kind: str, failure: Failure) -> bool:
        """Take note of a failure; return whether an event of this *kind* is due."""
        noted = self._note(failure)
        what = short_name(failure.attribute or ""), one_line(failure.type_name, 200)
        if noted is Noted.NEW:
            # It was cleared, or is the first of its like.
            self._logged -= {one for one in self._logged if one[1:] == what}
        if noted is Noted.FULL or (kind, *what) in self._logged:
            return False
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged.add((kind, *what))
        return True

    def _note(self, failure: Failure) -> Noted:
        noted = self.blacklist.note(
            failure.attribute,
            failure.type_name,
            path=failure.path,
            error=failure.error,
            reason=failure.reason,
            endpoint=failure.endpoint,
            added_by=self.policy.name,
        )
        now = self._clock.monotonic()
        if noted is Noted.FULL and now - self._full_at >= PAUSE:
            self._full_at = now
            self._say(
                "attributes_uncounted",
                f"more than {MAX_ENTRIES} attributes cannot be stored; further ones are treated"
                " alike, and neither named nor listed",
            )
        return noted

    def _say(self, kind: str, text: str) -> None:
        self._events.add("warning", kind, text)

    def _tell(self, listener: Callable[..., object], what: object) -> None:
        try:
            listener(what)
        except Exception:  # a listener must not be able to fail a request
            logger.exception("a listener failed")


def described(failure: Failure) -> str:
    """Return what cannot be stored and why, in one bounded line."""
    endpoint = quoted(failure.endpoint) if failure.endpoint else "an unknown endpoint"
    return (
        f"session attribute {quoted(failure.path)} ({one_line(failure.type_name, 120)}), set in"
        f" endpoint {endpoint}, cannot be stored: {one_line(failure.reason, 300)}"
    )
