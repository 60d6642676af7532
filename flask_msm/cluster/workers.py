"""Which workers there are and which nodes each of them uses.

Workers with different lists of nodes rank differently: what one writes, another may not find. So
while lists differ no node is trusted alone, and when they agree again all nodes are rebuilt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.record.attributes import NOTHING

from .facts import Facts, facts_in
from .shared_map import Bounds, SharedMap


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from flask_msm.process.clock import Clock
    from flask_msm.record.attributes import Attributes


KEY_SUFFIX = "fleet:workers"

#: A worker is announced anew after so many probe intervals, and counts as gone after so many.
RENEWED_AFTER = 3
GONE_AFTER = 10
#: Workers that see different memories under one id for so many probe intervals differ for good:
#: one that was restarted is seen by all of them after less.
DIFFER_AFTER = 5
#: Digits of an identity that are compared, and what stands for one that was not read.
_SEEN = 6
_UNSEEN = "-" * _SEEN
#: Workers that ended without signing off stay in the list for people to see: for so many seconds,
#: and so many of them, those that were seen last.
SHOWN_FOR, MOST_GONE = 3600.0, 20

#: A worker that was removed and comes back from an old node is not renewed any more, and one that
#: lives is announced again: so removals are forgotten soon, for workers come and go all day.
BOUNDS = Bounds(removals=256, kept=60.0)


class _Entry(NamedTuple):
    """What a worker announced, and the stamp of that."""

    name: str
    stamp: int
    facts: Facts


class _Heard(NamedTuple):
    """The last sign of a worker: its stamp, when it came (monotonic clock), whether it lives."""

    stamp: int
    at: float
    alive: bool


class WorkerRegistry:
    """The workers of the fleet as this one knows them.

    Args:
        worker: Returns the name of this worker; another one after a fork.
        reads: Returns what this worker can read, see ``record/envelope.py``.
        interval: Time in seconds between two ticks; 0 without ticks.

    Attributes:
        sees: What this worker read on the nodes by id, see ``node_identity.py``.
        keeps: This host has changes of an outage that nodes do not know yet.
    """

    def __init__(
        self,
        shared: SharedMap,
        *,
        worker: Callable[[], str],
        nodes: Iterable[str],
        replicas: int,
        reads: Callable[[], list[str]],
        interval: float,
        clock: Clock,
    ) -> None:
        self.shared = shared
        self._worker = worker
        self._nodes = sorted(nodes)
        self._layout = [*self._nodes, replicas]
        self._reads = reads
        self._interval = interval
        self._clock = clock
        self._announced_at = 0.0
        self.sees: Mapping[str, str | None] = {}
        self.keeps = False
        self._announced: tuple[object, ...] = ()
        #: Workers that were there when this one began, by name, with their stamps: those that were
        #: not seen since.
        self._unheard: dict[str, int] | None = None
        #: Since when workers see other memories than this one, monotonic time in seconds.
        self._differing: dict[str, float] = {}
        self._heard: dict[str, _Heard] = {}
        #: What the map holds, and the map that was looked at last.
        self._entries_in: tuple[Attributes, list[_Entry]] = NOTHING, []

    @property
    def worker(self) -> str:
        """Name of this worker."""
        return self._worker()

    def announce(self) -> None:
        """Announce this worker, if that is due; without ticks it could not be renewed."""
        if not self._interval:
            return
        now = self._clock.time()
        recent = 0 <= now - self._announced_at < RENEWED_AFTER * self._interval
        sees = self._seen()
        news = self.worker, sees, self.keeps
        if recent and self._announced == news:
            return
        self._announced_at, self._announced = now, news
        entry = {"at": now, "layout": self._layout, "reads": self._reads(), "sees": sees}
        if self.keeps:
            entry["keeps"] = True
        self.shared.put(self.worker, json.dumps(entry).encode())
        self._remove_old(now)
        left = self.shared.values("")
        # A copy: other threads may ask at this moment who lives.
        self._heard = {name: heard for name, heard in list(self._heard.items()) if name in left}

    def leave(self) -> None:
        """Announce that this worker ends."""
        self._announced = ()
        self.shared.put(self.worker, None)

    def names(self) -> list[str]:
        """Return the names of all workers in the map, also of those that are gone."""
        return sorted(self.shared.values(""))

    def all_names(self) -> list[str]:
        """Return the names of all workers in the map, and of those that left it lately."""
        return sorted(self.shared.attributes.entries)

    def living(self) -> set[str]:
        """Return the names of the workers that were seen lately, and of this one."""
        me = self.worker
        return {one.name for one in self._entries() if one.name == me or self._lives(one)}

    def lives(self, worker: str) -> bool:
        """Return whether a worker was seen lately."""
        return any(self._lives(one) for one in self._entries() if one.name == worker)

    def forget(self, worker: str) -> None:
        """Remove a worker that ended without signing off."""
        self.shared.put(worker, None)

    def kept_elsewhere(self) -> bool:
        """Return whether a worker that lives has changes of an outage that nodes do not know."""
        return any(one.facts.boolean("keeps") and self._lives(one) for one in self._others())

    def has_unheard(self) -> bool:
        """Return whether a worker that was there at the first call was not seen since.

        It may be gone; or an outage that this worker has not seen has ended a moment ago, and that
        one has not noticed it yet.
        """
        stamps = {one.name: one.stamp for one in self._others()}
        unheard = stamps if self._unheard is None else self._unheard
        self._unheard = {
            name: stamp for name, stamp in unheard.items() if stamps.get(name) == stamp
        }
        return bool(self._unheard)

    def layouts_differ(self) -> bool:
        """Return whether a worker that lives uses other nodes, or another number of copies."""
        return any(
            one.facts.value("layout") != self._layout and self._lives(one)
            for one in self._entries()
        )

    def memories_differ(self) -> bool:
        """Return whether a worker that lives reads other identities than this one.

        To be asked in every tick: it has to last.
        """
        now, mine = self._clock.monotonic(), self._seen()
        self._differing = {
            one.name: self._differing.get(one.name, now)
            for one in self._entries()
            if _differ(one.facts.value("sees"), mine) and self._lives(one)
        }
        patience = DIFFER_AFTER * self._interval
        return any(now - since >= patience for since in self._differing.values())

    def _seen(self) -> str:
        """Return what this worker read, in the order of ids."""
        shown = map(self.sees.get, self._nodes)
        return "".join(identity[:_SEEN] if identity else _UNSEEN for identity in shown)

    def is_read_elsewhere(self, needs: Collection[str]) -> bool:
        """Return whether another worker that lives announces that it can read a record."""
        return any(
            one.facts.texts("reads").issuperset(needs) and self._lives(one)
            for one in self._others()
        )

    def all_read(self, need: str) -> bool:
        """Return whether this worker and all others that live announce that they read *need*."""
        me, announced = self.worker, False
        for one in self._entries():
            if need in one.facts.texts("reads"):
                announced |= one.name == me
            elif self._lives(one):
                return False
        # Before that others do not know of this one.
        return announced

    def _remove_old(self, now: float) -> None:
        """Remove workers that are gone for long, or too many of those that are gone."""
        gone = []
        for one in self._others():
            if self._is_recent(self._hear(one)):
                continue
            # By its own clock: for a worker that is new here all of them were seen just now.
            age = now - one.facts.time("at")
            gone.append((age if 0 <= age < SHOWN_FOR else SHOWN_FOR, one.name))
        for place, (age, name) in enumerate(sorted(gone)):
            if age >= SHOWN_FOR or place >= MOST_GONE:
                self.shared.put(name, None)

    def _lives(self, one: _Entry) -> bool:
        """Return whether a worker was seen lately, by the clock of this one.

        The time of another clock is used once only, for a worker that is new to this one:
        afterwards its stamp has to change.
        """
        heard = self._hear(one)
        return heard.alive and self._is_recent(heard)

    def _hear(self, one: _Entry) -> _Heard:
        heard = self._heard.get(one.name)
        if heard is None or heard.stamp != one.stamp:
            age = abs(self._clock.time() - one.facts.time("at"))
            alive = heard is not None or age < GONE_AFTER * self._interval
            heard = self._heard[one.name] = _Heard(one.stamp, self._clock.monotonic(), alive)
        return heard

    def _is_recent(self, heard: _Heard) -> bool:
        return self._clock.monotonic() - heard.at < GONE_AFTER * self._interval

    def _entries(self) -> list[_Entry]:
        attributes, entries = self._entries_in
        if attributes is not self.shared.attributes:
            # Several times in each tick, and large where there are many workers.
            attributes = self.shared.attributes
            entries = [
                _Entry(name, stamp, facts_in(raw))
                for name, (stamp, raw) in attributes.entries.items()
                if raw is not None
            ]
            self._entries_in = attributes, entries
        return entries

    def _others(self) -> list[_Entry]:
        me = self.worker
        return [one for one in self._entries() if one.name != me]


def _differ(theirs: object, mine: str) -> bool:
    """Return whether two workers read different identities on a node that both have read."""
    if theirs == mine or not isinstance(theirs, str) or len(theirs) != len(mine):
        return False  # the rule; or an older version, or other nodes
    pairs = (
        (theirs[start : start + _SEEN], mine[start : start + _SEEN])
        for start in range(0, len(mine), _SEEN)
    )
    return any(left != right and _UNSEEN not in (left, right) for left, right in pairs)
