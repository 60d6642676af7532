"""What is wrong for a while, reported once for the whole fleet.

A part of a worker that finds something wrong notes it under a kind and a subject, any number of
times, and notes when it is over. The tick brings this to the fleet: while it lasts there is one
entry ``condition:<kind>:<subject>`` in the control map, however many workers found it, and there
is one event when it begins and one when it ends.

An entry belongs to the worker that wrote it. When that worker does not find it any more, or is not
seen any more, a worker that still finds it takes the entry over; if none does, the entry is
removed after ``ROUNDS`` ticks, by any worker.

Workers that find the same at once learn of each other at a node that both reach, and one reports
it. Two that have no node in common report it twice, unless a third one tells them in time: a wait
that makes this rare would make each report late.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import one_line
from flask_msm.process.locks import ProcessLock

from .facts import facts_in


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock

    from .events import Events
    from .shared_map import SharedMap


PREFIX = "condition:"
#: Most conditions that last at one time in the fleet, and most that one worker finds.
MOST = 50
#: Longest text and longest subject, characters.
MAX_TEXT, MAX_SUBJECT = 500, 100
#: A condition that no worker finds any more lasts for so many more ticks.
ROUNDS = 3
#: Where workers do not announce themselves, one that wrote an entry counts as alive for so long,
#: seconds.
BELIEVED = 24 * 3600.0


class Condition(NamedTuple):
    """Something that is wrong.

    Attributes:
        subject: What it is about, for example the id of a node.
        since: When it was found first, seconds since the epoch.
        by: The worker that answers for it; empty when it does not find it any more.
    """

    kind: str
    subject: str
    text: str
    node: str | None
    error: bool
    since: float
    by: str

    @property
    def level(self) -> str:
        """``error`` or ``warning``."""
        return "error" if self.error else "warning"


class _Words(NamedTuple):
    """An event that is added if the entry that goes with it is the one that counts."""

    stamp: int
    level: str
    kind: str
    text: str
    node: str | None


@dataclass(eq=False)
class Conditions:
    """The conditions that this worker finds, and those of the fleet.

    Args:
        living: Returns the names of the workers that live; ``None`` when workers do not
            announce themselves.
    """

    shared: SharedMap
    _: KW_ONLY
    worker: Callable[[], str]
    living: Callable[[], set[str] | None]
    events: Events
    clock: Clock

    def __post_init__(self) -> None:
        self._lock = ProcessLock()
        #: What this self.worker finds, by name of the entry.
        self._found: dict[str, Condition] = {}
        #: What it wrote in its last tick, and has not recorded as an event yet.
        self._unsaid: dict[str, _Words] = {}
        #: For how many ticks no self.worker answered for an entry of this stamp.
        self._left: dict[str, tuple[int, int]] = {}

    def note(
        self,
        kind: str,
        subject: str,
        text: str | None,
        *,
        node: str | None = None,
        error: bool = False,
    ) -> None:
        """Take note that something is wrong, or that it is not any more. No I/O; any thread.

        The same may be noted again and again: while it lasts, the text of the first time stands.
        The *kind* is a short name (letters, digits, underscores); each *subject* is reported by
        itself; *text* is one sentence that says what to do, ``None`` when it is over.
        """
        if text is None and not self._found:
            return  # the rule: a tick asks for dozens of them
        subject = one_line(subject, MAX_SUBJECT)
        name = f"{PREFIX}{kind}:{subject}"
        with self._lock:
            if text is None:
                self._found.pop(name, None)
            elif name not in self._found and len(self._found) < MOST:
                now = self.clock.time()
                text = one_line(text, MAX_TEXT)
                self._found[name] = Condition(kind, subject, text, node, error, now, "")

    def lasting(self) -> list[Condition]:
        """Return what the fleet knows to be wrong, oldest first. No I/O."""
        return sorted(lasting(self.shared).values(), key=lambda found: found.since)

    def settle(self) -> None:
        """Bring what this worker finds together with what the fleet knows. No I/O.

        To be called in a tick, after the nodes were read and before they are written.
        """
        self._say()
        with self._lock:
            found = dict(self._found)
        there = lasting(self.shared)
        living = self.living() if there else set()
        new = {name: mine for name, mine in found.items() if name not in there}
        for name, mine in list(new.items())[: max(0, MOST - len(there))]:
            stamp = self.shared.claim(name, _entry(mine, self.worker()))
            self._unsaid[name] = _Words(stamp, mine.level, mine.kind, mine.text, mine.node)
        left = {}
        for name, theirs in there.items():
            if theirs.by == self.worker():
                if name not in found:
                    self._put(name, theirs, by="")
            elif not self._is_answered_for(theirs, living):
                stamp = self.shared.stamp(name)
                before, rounds = self._left.get(name, (0, 0))
                rounds = rounds + 1 if before == stamp else 1
                # A worker that has just joined is known by its entry here first: it gets a tick
                # to show that it lives. Who finds the same takes over before others call it over.
                if name in found and (not theirs.by or rounds > 1):
                    self._put(name, theirs)
                elif rounds < ROUNDS:
                    left[name] = stamp, rounds
                else:
                    self._end(name, theirs)
        self._left = left

    def _is_answered_for(self, theirs: Condition, living: set[str] | None) -> bool:
        if living is None:
            recent = abs(self.clock.time() - theirs.since) < BELIEVED
            return recent and bool(theirs.by)
        return theirs.by in living

    def _end(self, name: str, theirs: Condition) -> None:
        stamp = self.shared.claim(name, None)
        text = f"over: {theirs.text}"
        self._unsaid[name] = _Words(stamp, "info", f"{theirs.kind}_over", text, theirs.node)

    def _say(self) -> None:
        """Add the events of the last tick, unless another worker wrote the entry that counts."""
        for name, words in list(self._unsaid.items()):
            if self.shared.stamp(name) == words.stamp:
                self.events.add(words.level, words.kind, words.text, node=words.node, logged=False)
        self._unsaid = {}

    def _put(self, name: str, condition: Condition, *, by: str | None = None) -> None:
        self.shared.put(name, _entry(condition, self.worker() if by is None else by))


def _entry(condition: Condition, by: str) -> bytes:
    return json.dumps(condition._replace(by=by)._asdict(), ensure_ascii=True).encode()


def lasting(shared: SharedMap) -> dict[str, Condition]:
    """Return what is wrong, by name of the entry."""
    found = {}
    for rest, (_, raw) in shared.values(PREFIX).items():
        condition = _parsed(rest, raw)
        if condition is not None:
            found[PREFIX + rest] = condition
    return found


def _parsed(name: str, raw: bytes) -> Condition | None:
    """Return the condition in an entry, ``None`` if it has none."""
    kind, _, subject = name.partition(":")
    facts = facts_in(raw)
    if not facts:
        return None
    return Condition(
        one_line(kind, MAX_SUBJECT),
        one_line(subject, MAX_SUBJECT),
        facts.line("text", MAX_TEXT),
        facts.line("node", MAX_SUBJECT) or None,
        facts.boolean("error"),
        facts.time("since"),
        facts.line("by", MAX_TEXT),
    )
