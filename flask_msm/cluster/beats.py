"""Signs of life: a key for each worker that is written anew from time to time, and goes by itself.

No map and no ``cas``: a beat travels with the look at the maps. Each worker watches a few others,
those behind it in a ring (``roster.py``), so what it reads does not grow with the fleet; one that
was silent for long is marked as gone in the list of workers, where all others see it. There is no
gatherer that would have to be elected and replaced: those that are left watch.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.process.clock import Clock

    from .placement import Placement
    from .roster import Entry


#: What the names of all beats begin with. Beats are not signed.
BEATS = "fleet:beat:"
#: Beats are kept on so many nodes.
COPIES = 2
#: A worker beats after so many probe intervals, is late after so many, and counts as gone after so
#: many, in some of which it was looked for everywhere.
BEATS_AFTER, LATE_AFTER, GONE_AFTER = 3, 5, 10
LOOKS = GONE_AFTER - LATE_AFTER


class _Heart(NamedTuple):
    """What is known of one worker.

    Attributes:
        stamp: That of its entry.
        marks: Cas ids of its beat, by id of the node.
        at: When it beat last, or was looked for first, monotonic clock in seconds.
        there: A beat was seen.
        silent: How often it was looked for everywhere since, in vain.
    """

    stamp: int
    marks: Mapping[str, bytes]
    at: float
    there: bool
    silent: int


class Question(NamedTuple):
    """What a node is asked in a tick.

    Attributes:
        watched: Names of workers, by the keys of their beats; empty for what is of no worker.
        beats: Times to live of the beats that are left there, seconds, by key.
    """

    watched: dict[str, str]
    beats: dict[str, int]


class Beats:
    """The beats of other workers as far as this one watches them, and its own.

    Args:
        usable: Returns the ids of the nodes that may be asked now.
        sealer: Returns which keys this fleet seals with: fleets with other keys see by that
            whether it lives.
        interval: Time in seconds between two ticks.
    """

    def __init__(
        self,
        prefix: str,
        *,
        nodes: Mapping[str, MemcachedNode],
        placement: Placement,
        usable: Callable[[], Sequence[str]],
        sealer: Callable[[], bytes],
        interval: float,
        clock: Clock,
    ) -> None:
        self._sealer = sealer
        self._prefix = prefix
        self._nodes = nodes
        self._placement = placement
        self._usable = usable
        self._interval = interval
        self._clock = clock
        #: Another fleet lives, which cannot read what this one shares.
        self.is_called = False
        self._hearts: dict[str, _Heart] = {}
        self._beat_at = -math.inf
        self._life = math.ceil(GONE_AFTER * interval) + 1

    def key(self, name: str) -> str:
        """Return where the beat of a worker is kept."""
        digest = blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        return f"{self._prefix}{BEATS}{digest}"

    def pulse(self, sealer: bytes) -> str:
        """Return the key of the beat of the whole fleet that seals so, which is on every node."""
        return f"{self._prefix}{BEATS}of-{sealer.hex()}"

    def call(self, sealer: bytes) -> str:
        """Return the key under which the fleet that seals so is told that another one lives."""
        return f"{self._prefix}{BEATS}to-{sealer.hex()}"

    def meeting(self, sealer: bytes) -> Question:
        """Return what to ask a node that holds what the fleet that seals so shares.

        Whether that fleet lives; and it is told, for as long as this is asked in each tick.
        """
        life = math.ceil(BEATS_AFTER * self._interval)
        return Question({self.pulse(sealer): ""}, {self.call(sealer): life})

    def places(self, name: str) -> list[str]:
        """Return the nodes on which a worker beats."""
        return self._places(name, self._usable())

    def _places(self, name: str, usable: Container[str]) -> list[str]:
        return self._placement.first(
            COPIES, self.key(name), lambda id_: id_ in usable and self._nodes[id_].can_look
        )

    def questions(self, me: str, watched: Iterable[Entry], *, beating: bool) -> dict[str, Question]:
        """Return what to ask nodes about *watched*, and where *me* is to beat now, by id."""
        asked = {node_id: Question({}, {}) for node_id in self._usable()}
        for one in watched:
            key = self.key(one.name)
            for node_id in asked if self._is_late(one) else self._places(one.name, asked):
                asked[node_id].watched[key] = one.name
        mine, sealer = self._places(me, asked), self._sealer()
        for node_id in mine[:1]:  # those that call do so on every node
            asked[node_id].watched[self.call(sealer)] = ""
        now = self._clock.monotonic()
        if beating and now - self._beat_at >= (BEATS_AFTER - 0.5) * self._interval:
            pulse = self.pulse(sealer)
            for node_id, question in asked.items():
                if self._nodes[node_id].can_look:
                    question.beats[pulse] = self._life
            for node_id in mine:
                asked[node_id].beats[self.key(me)] = self._life
        return asked

    def survey(self, unknown: Iterable[Entry], *, everywhere: bool) -> dict[str, Question]:
        """Return what to ask nodes about workers of which nothing is known yet, by id."""
        asked = {node_id: Question({}, {}) for node_id in self._usable()}
        for one in unknown:
            key = self.key(one.name)
            for node_id in asked if everywhere else self._places(one.name, asked)[:1]:
                asked[node_id].watched[key] = one.name
        return {node_id: question for node_id, question in asked.items() if question.watched}

    def hear(
        self,
        entries: Mapping[str, Entry],
        asked: Mapping[str, Question],
        answered: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        """Take note of what nodes answered, the cas ids by key and id of the node."""
        now = self._clock.monotonic()
        answers: dict[str, dict[str, bytes]] = {}
        asked_of: dict[str, int] = {}
        for node_id, found in answered.items():
            question = asked.get(node_id)
            if question is None:
                continue
            if question.beats:
                self._beat_at = now
            for key, name in question.watched.items():
                if not name:  # the call of another fleet
                    self.is_called = key in found
                    continue
                asked_of[name] = asked_of.get(name, 0) + 1
                answers.setdefault(name, {})
                if key in found:
                    answers[name][node_id] = found[key]
        for name, marks in answers.items():
            entry = entries.get(name)
            if entry is not None:
                everywhere = asked_of[name] == len(answered)
                self._hearts[name] = self._heard(entry, marks, now, everywhere=everywhere)

    def _heard(
        self, entry: Entry, marks: Mapping[str, bytes], now: float, *, everywhere: bool
    ) -> _Heart:
        before = self._heart(entry)
        if before is None:
            return _Heart(entry.stamp, marks, now, bool(marks), 0)
        if any(before.marks.get(node_id) != unique for node_id, unique in marks.items()):
            return before._replace(marks={**before.marks, **marks}, at=now, there=True, silent=0)
        return before._replace(silent=before.silent + everywhere)

    def lives(self, entry: Entry) -> bool:
        """Return whether a worker lives, as far as its beats show."""
        heart = self._heart(entry)
        return heart is None or heart.there

    def since(self, entry: Entry) -> float | None:
        """Return when a worker beat last, monotonic clock in seconds.

        ``None`` if nothing is known of it, minus infinity if it was looked for in vain.
        """
        heart = self._heart(entry)
        if heart is None:
            return None
        return heart.at if heart.there else -math.inf

    def is_gone(self, entry: Entry) -> bool:
        """Return whether a worker was looked for long enough."""
        heart, now = self._heart(entry), self._clock.monotonic()
        if heart is None or heart.silent < LOOKS:
            return False
        return not heart.there or now - heart.at >= GONE_AFTER * self._interval

    def keep(self, names: Iterable[str]) -> None:
        """Forget all workers but these."""
        self._hearts = {name: self._hearts[name] for name in names if name in self._hearts}

    def _is_late(self, entry: Entry) -> bool:
        heart = self._heart(entry)
        if heart is None:
            return False
        late = self._clock.monotonic() - heart.at >= LATE_AFTER * self._interval
        return late or not heart.there

    def _heart(self, entry: Entry) -> _Heart | None:
        heart = self._hearts.get(entry.name)
        return heart if heart is not None and heart.stamp == entry.stamp else None
