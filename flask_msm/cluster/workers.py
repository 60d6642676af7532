"""Which workers there are and which nodes each of them uses.

Workers with different lists of nodes rank differently: what one writes, another may not find. So
while lists differ no node is trusted alone, and when they agree again all nodes are rebuilt.

The list of workers changes when one joins, leaves, is found to be gone, or has news: that a worker
lives is shown by its beats (``beats.py``). It renews its entry in the list instead, as versions
before did, while one of these lives, which knows nothing of beats; while nodes cannot take them;
and for a while after it was taken for gone although it lived: then some worker and it share no
node, and only the list gets from one to the other.
"""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.record.attributes import NOTHING
from flask_msm.record.envelope import sealer_of
from flask_msm.record.hybrid_clock import stamp_at

from .beats import GONE_AFTER
from .roster import Entry, Roster
from .shared_map import Bounds, SharedMap


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from flask_msm.process.clock import Clock

    from .beats import Beats, Question
    from .roster import Announced


KEY_SUFFIX = "fleet:workers"

#: An entry is renewed after so many probe intervals, where beats do not do.
RENEWED_AFTER = 3
#: Each worker watches so many others.
WATCHED = 4
#: A worker that was taken for gone although it lives renews its entry for so long, seconds.
DOUBTED_FOR = 600.0
#: A worker that joins so many others, and announces what they do, waits for a moment of its own
#: within the time of an announcement: thousands may start together.
CROWD = 30
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
        beats: The signs of life on nodes, if there are any.
        chance: Returns a number from 0 to 1, to spread what many workers do.

    Attributes:
        beats: The signs of life on nodes, ``None`` where entries are renewed.
        sees: What this worker read on the nodes by id, see ``node_identity.py``.
        keeps: This host has changes of an outage that nodes do not know yet.
        shared_with: The nodes that knew the list as it is here after the last tick.
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
        beats: Beats | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.shared = shared
        self._worker = worker
        self._nodes = sorted(nodes)
        self._layout = [*self._nodes, replicas]
        self._laid_out = json.dumps(self._layout)
        self._reads = reads
        self._interval = interval
        self._clock = clock
        self.beats = beats if interval else None
        self._chance = chance
        self.sees: Mapping[str, str | None] = {}
        self.keeps = False
        self.shared_with: Collection[str] = ()
        #: When this worker was announced and with what, with the stamp of that; and from when on it
        #: may be, monotonic time in seconds.
        self._announced_at = 0.0
        self._announced: tuple[object, ...] = ()
        self._announced_as = 0
        self._announced_from: float | None = None
        #: Until when it renews its entry, for it was taken for gone; and until when it announces
        #: what it sees, for that was not what the fleet had noted. Monotonic time in seconds.
        self._doubted_until = self._odd_until = -math.inf
        #: Workers that were there when this one began, by name, with their stamps: those that were
        #: not seen since.
        self._unheard: dict[str, tuple[int, float | None]] | None = None
        self._is_surveyed = False
        #: Since when workers see other memories than this one, monotonic time in seconds.
        self._differing: dict[str, float] = {}
        self._heard: dict[str, _Heard] = {}
        self._roster_of = Roster(NOTHING, {})

    @property
    def worker(self) -> str:
        """Name of this worker."""
        return self._worker()

    # -- this worker ---------------------------------------------------------------------------

    def announce(self) -> None:
        """Announce this worker, if that is due; without ticks it could not be renewed."""
        if not self._interval:
            return
        me, now, roster = self.worker, self._clock.time(), self._roster()
        there = roster.entries.get(me)
        is_mine = there is not None and there.stamp == self._announced_as
        if there is not None and there.gone and there.stamp > self._announced_as > 0:
            self._doubted_until = self._clock.monotonic() + DOUBTED_FOR
        beats = self._can_beat()
        sees = self._seen() if not beats or self._is_odd() else None
        reads = self._reads()
        news = me, beats, sees, self.keeps, tuple(reads)
        recent = 0 <= now - self._announced_at < RENEWED_AFTER * self._interval
        # One that was cut from a list that is too long is announced again, but not at once.
        if self._announced == news and (is_mine if beats else recent):
            return
        if self._announced == news and there is None and recent:
            return
        if there is None and self._waits(reads):
            return
        self._announced_at, self._announced = now, news
        entry = {"at": now, "layout": self._layout, "reads": reads, "beats": beats}
        if sees is not None:
            entry["sees"] = sees
        if self.keeps:
            entry["keeps"] = True
        self._announced_as = self.shared.put(me, json.dumps(entry).encode())
        self._remove_old(now)

    def note_odd(self) -> None:
        """Take note that a node shows something else than the fleet had noted of it."""
        self._odd_until = self._clock.monotonic() + 2 * DIFFER_AFTER * self._interval

    def leave(self) -> None:
        """Announce that this worker ends."""
        self._announced = ()
        self._announced_as = 0
        self.shared.put(self.worker, None)

    def _can_beat(self) -> bool:
        """Return whether all others see by beats that this worker lives."""
        if self.beats is None or not self.beats.places(self.worker):
            return False
        if self._clock.monotonic() < self._doubted_until:
            return False
        return not any(one.earlier and self._lives(one) for one in self._roster().renewed)

    def _is_odd(self) -> bool:
        return bool(self._differing) or self._clock.monotonic() < self._odd_until

    def _waits(self, reads: Collection[str]) -> bool:
        """Return whether this worker has time to announce itself: its presence changes nothing."""
        roster, now = self._roster(), self._clock.monotonic()
        if self.keeps or len(roster.entries) < CROWD:
            return False
        if not any(
            one.layout == self._laid_out and one.reads == frozenset(reads) for one in roster.groups
        ):
            return False
        if self._announced_from is None:
            self._announced_from = now + self._chance() * RENEWED_AFTER * self._interval
        return now < self._announced_from

    # -- signs of life -------------------------------------------------------------------------

    def questions(self) -> dict[str, Question]:
        """Return what to ask nodes in this tick: about the workers that are watched here."""
        if self.beats is None:
            return {}
        # Not before what this worker knows is known to others: a sign of life says so as well.
        beating = bool(self.shared_with) and self._is_announced() and self._can_beat()
        watched = self._roster().after(self.worker, WATCHED)
        return self.beats.questions(self.worker, watched, beating=beating)

    def unknown(self) -> list[Entry]:
        """Return the workers of which nothing is known yet but what the list says.

        At the first look, and while it has to be known whether they live.
        """
        if self.beats is None:
            return []
        entries = self._roster().entries
        if not self._is_surveyed:
            self._is_surveyed = True
            return [one for one in entries.values() if one.beats and one.name != self.worker]
        unheard = [entries[name] for name in self._unheard or () if name in entries]
        return [one for one in unheard if one.beats]

    def survey(self, unknown: Collection[Entry], *, everywhere: bool) -> dict[str, Question]:
        """Return what to ask nodes about the *unknown* workers."""
        beats = self.beats
        return {} if beats is None else beats.survey(unknown, everywhere=everywhere)

    def meeting(self, foreign: bytes) -> Question | None:
        """Return what to ask a node where another fleet left a *foreign* map."""
        return self.beats.meeting(sealer_of(foreign)) if self.beats is not None else None

    def is_called(self) -> bool:
        """Return whether another fleet lives that cannot read what this one shares."""
        return self.beats is not None and self.beats.is_called

    def hear(
        self, asked: Mapping[str, Question], answered: Mapping[str, Mapping[str, bytes]]
    ) -> None:
        """Take note of what nodes answered to questions; mark those that are gone."""
        if self.beats is None or not asked:
            return
        roster = self._roster()
        self.beats.hear(roster.entries, asked, answered)
        for one in roster.after(self.worker, WATCHED):
            if self.beats.is_gone(one):
                facts = {name: one.facts.value(name) for name in one.facts.names()}
                facts["gone"] = self._clock.time()
                self.shared.put(one.name, json.dumps(facts).encode())
        if roster.gone:
            self._remove_old(self._clock.time())

    # -- others --------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all workers in the map, also of those that are gone."""
        return sorted(self._roster().entries)

    def all_names(self) -> list[str]:
        """Return the names of all workers in the map, and of those that left it lately."""
        return sorted(self.shared.attributes.entries)

    def living(self) -> set[str]:
        """Return the names of the workers that were seen lately, and of this one."""
        me = self.worker
        entries = self._roster().entries.values()
        return {one.name for one in entries if one.name == me or self._lives(one)}

    def joined_within(self, seconds: float) -> set[str]:
        """Return the names of the workers that announced themselves, or news, so lately."""
        since = stamp_at(self._clock.time() - seconds)
        return {one.name for one in self._roster().entries.values() if one.stamp > since}

    def lives(self, worker: str) -> bool:
        """Return whether a worker was seen lately."""
        entry = self._roster().entries.get(worker)
        return entry is not None and self._lives(entry)

    def forget(self, worker: str) -> None:
        """Remove a worker that ended without signing off."""
        self.shared.put(worker, None)

    def kept_elsewhere(self) -> bool:
        """Return whether a worker that lives has changes of an outage that nodes do not know."""
        return self._any(lambda announced: announced.keeps)

    def has_unheard(self) -> bool:
        """Return whether a worker that was there at the first call was not seen since.

        It may be gone; or an outage that this worker has not seen has ended a moment ago, and that
        one has not noticed it yet.
        """
        if self._unheard is None:
            others = [one for one in self._roster().entries.values() if one.name != self.worker]
            self._unheard = {one.name: self._sign(one) for one in others}
        elif self._unheard:
            entries = self._roster().entries
            signs = {
                name: (sign, self._sign(entries[name]))
                for name, sign in self._unheard.items()
                if name in entries
            }
            # Where nothing was known, what is seen first is where it begins.
            self._unheard = {
                name: now
                for name, (then, now) in signs.items()
                if then == now or then == (now[0], None)
            }
        return bool(self._unheard)

    def layouts_differ(self) -> bool:
        """Return whether a worker that lives uses other nodes, or another number of copies."""
        return self._any(lambda announced: announced.layout != self._laid_out)

    def memories_differ(self) -> bool:
        """Return whether a worker that lives reads other identities than this one.

        To be asked in every tick: it has to last.
        """
        now, mine = self._clock.monotonic(), self._seen()
        self._differing = {
            one.name: self._differing.get(one.name, now)
            for announced, group in self._roster().groups.items()
            if _differ(announced.sees, mine)
            for one in group
            if self._lives(one)
        }
        patience = DIFFER_AFTER * self._interval
        return any(now - since >= patience for since in self._differing.values())

    def _seen(self) -> str:
        """Return what this worker read, in the order of ids."""
        shown = map(self.sees.get, self._nodes)
        return "".join(identity[:_SEEN] if identity else _UNSEEN for identity in shown)

    def is_read_elsewhere(self, needs: Collection[str]) -> bool:
        """Return whether another worker that lives announces that it can read a record."""
        return self._any(lambda announced: announced.reads.issuperset(needs))

    def all_read(self, need: str) -> bool:
        """Return whether this worker and all others that live announce that they read *need*."""
        # Before it is announced others do not know of this one.
        return self._is_announced(need) and self._do_others_read(need)

    def others_read(self, need: str) -> bool:
        """Return whether others live, and all of them announce that they read *need*."""
        return bool(self.living() - {self.worker}) and self._do_others_read(need)

    def _do_others_read(self, need: str) -> bool:
        return not self._any(lambda announced: need not in announced.reads)

    def _is_announced(self, need: str | None = None) -> bool:
        me = self._roster().entries.get(self.worker)
        return me is not None and not me.gone and (need is None or need in me.announced.reads)

    def _any(self, wanted: Callable[[Announced], bool]) -> bool:
        """Return whether another worker that lives announces what is *wanted*."""
        me = self.worker
        return any(
            one.name != me and self._lives(one)
            for announced, group in self._roster().groups.items()
            if wanted(announced)
            for one in group
        )

    def _remove_old(self, now: float) -> None:
        """Remove workers that are gone for long, or too many of those that are gone."""
        roster, me = self._roster(), self.worker
        over = [one for one in roster.renewed if one.name != me and not self._is_recent(one)]
        gone = []
        for one in [*over, *roster.gone]:
            # By its own clock: for a worker that is new here all of them were seen just now.
            age = now - (one.gone or one.facts.time("at"))
            gone.append((age if 0 <= age < SHOWN_FOR else SHOWN_FOR, one))
        for place, (age, one) in enumerate(sorted(gone, key=lambda found: found[0])):
            is_mine = not one.gone or roster.before(one.name) in (me, None)
            if is_mine and (age >= SHOWN_FOR or place >= MOST_GONE):
                self.shared.put(one.name, None)

    def _lives(self, one: Entry) -> bool:
        """Return whether a worker was seen lately.

        That of an entry that is renewed is judged by the clock of this worker. The time of another
        clock is used once only, for a worker that is new to this one: afterwards its stamp has to
        change.
        """
        if one.gone:
            return False
        if one.beats:
            return self.beats is None or self.beats.lives(one)
        return self._hear(one).alive and self._is_recent(one)

    def _hear(self, one: Entry) -> _Heard:
        heard = self._heard.get(one.name)
        if heard is None or heard.stamp != one.stamp:
            age = abs(self._clock.time() - one.facts.time("at"))
            alive = heard is not None or age < GONE_AFTER * self._interval
            heard = self._heard[one.name] = _Heard(one.stamp, self._clock.monotonic(), alive)
        return heard

    def _is_recent(self, one: Entry) -> bool:
        return self._clock.monotonic() - self._hear(one).at < GONE_AFTER * self._interval

    def _sign(self, one: Entry) -> tuple[int, float | None]:
        """Return what changes with each sign of life of a worker."""
        return one.stamp, self.beats.since(one) if self.beats is not None else None

    def _roster(self) -> Roster:
        roster = self._roster_of
        if roster.attributes is not self.shared.attributes:
            roster = Roster(self.shared.attributes, roster.entries)
            self._roster_of = roster
            # A copy: other threads may ask at this moment who lives.
            heard = list(self._heard.items())
            self._heard = {name: one for name, one in heard if name in roster.entries}
            if self.beats is not None:
                self.beats.keep(roster.entries)
        return roster


def _differ(theirs: object, mine: str) -> bool:
    """Return whether two workers read different identities on a node that both have read."""
    if theirs == mine or not isinstance(theirs, str) or len(theirs) != len(mine):
        return False  # the rule; or an older version, or other nodes
    pairs = (
        (theirs[start : start + _SEEN], mine[start : start + _SEEN])
        for start in range(0, len(mine), _SEEN)
    )
    return any(left != right and _UNSEEN not in (left, right) for left, right in pairs)
