"""Sticky sessions on a good day: read from memory, changed in memory and in a journal.

As ``fast_path.py`` for sessions that any host may serve: nothing is done here that
``FailoverStore`` would not do with the same state of this host, and all that is not usual is left
to it. A read: distribution is on, and this worker has the session in its memory, at least as new
as the browser has seen, and checked lately. A change: it is neither the first of a session that is
in memory nor its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.mode import Mode
from flask_msm.memcached.quick import new
from flask_msm.process.forks import forget_in_children
from flask_msm.record.keys import DIGEST_LENGTH
from flask_msm.record.record import BEHIND, Kind, join

from .local.change_marks import ChangeMarks
from .local.store import LOCAL
from .near_copies import NearCopies
from .store import FRESH, Loaded, Outcome, Saved
from .write_behind import WriteBehind


if TYPE_CHECKING:
    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.routing import Router
    from flask_msm.process.background import Background
    from flask_msm.process.clock import Clock
    from flask_msm.record.record import Record

    from .failover import FailoverStore
    from .store import Rewrite


#: Most looks beside the memory that are remembered.
MOST_LOOKING = 1000
_HERE = frozenset({LOCAL})
_NOWHERE: frozenset[str] = frozenset()
_NONE = ChangeMarks(None)


class _Look(NamedTuple):
    """A look beside the memory.

    *mark* is its own, *at* when it began (seconds since the epoch), *seen* the marks of the session
    then.
    """

    mark: object
    at: float
    seen: bytes


class StickyPath:
    """Implements ``SessionStore`` over ``FailoverStore``.

    Args:
        store: Does what is not usual.
        enabled: Whether it is done here at all.
        most: How much memory near copies may take, bytes, about.
        router: Has what holds for all sessions.
        ended: Sessions that are known to have ended.
        queue: Has the thread that hands changes over.
        timeout: Time in seconds the hand-over of one session may take.

    Attributes:
        reads: How many reads were answered from memory.
        other_reads: How many reads of sessions that go on were not.
        writes: How many changes went to the journal.
        other_writes: How many were left to *store*, the first one and the last of a session aside.
        behind: Changes on their way to the nodes.
        backgrounds: What of it is done behind responses.
        near: Sessions in memory.
    """

    def __init__(
        self,
        store: FailoverStore,
        *,
        enabled: bool,
        most: int,
        router: Router,
        ended: EndedSessions,
        queue: Background,
        clock: Clock,
        timeout: float,
    ) -> None:
        self.reads = self.other_reads = self.writes = self.other_writes = 0
        self.near = NearCopies(most)
        self.behind = WriteBehind(store, queue, clock=clock, timeout=timeout)
        self._store = store
        self._enabled = enabled and most > 0
        self._mode = store.mode
        self._router = router
        self._ended = ended
        self._clock = clock
        self._max_age = store.near_max_age or 0.0
        self._envelope = store.nodes.envelope
        self.backgrounds = (self.behind,)
        # What waits does not wait when a node fails or sessions go elsewhere.
        router.renewed = self.behind.soon
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Be as new, in a forked child."""
        self.near.clear()
        #: Of this host; taken when they are needed, for each process has one of its own.
        self._marks = _NONE
        #: By storage key who looks beside the memory, and may keep what is found: a change that
        #: is made in memory meanwhile ends that.
        self._looking: dict[str, object] = {}

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*."""
        if self._enabled and self._mode.mode is Mode.DISTRIBUTED:
            near = self.near.get(key)
            # The list names sessions by the hash in their keys. What is in it is looked at there.
            ended = self._ended.shared.record.attributes.entries
            if near is not None and key[-DIGEST_LENGTH:] not in ended:
                record, now = near.record, self._clock.time()
                age = now - max(near.checked_at, record.renewed)
                if (
                    record.version >= at_least
                    and 0.0 <= age < self._max_age
                    and now < record.expires_at
                    and self._marks.seen(key) == near.seen
                ):
                    self.reads += 1
                    return new(Loaded, (Outcome.FOUND, record, {}, True, _NOWHERE, False, _NOWHERE))
            loaded = self._load(key, at_least, deadline)
        else:
            self.behind.soon()
            loaded = self._store.load(key, at_least=at_least, deadline=deadline)
        self.other_reads += not loaded.is_over
        return loaded

    def save(self, key: str, rewrite: Rewrite, *, known: Loaded | None, deadline: float) -> Saved:
        """Store what *rewrite* makes of the record."""
        if self._enabled and self._mode.mode is Mode.DISTRIBUTED:
            saved = self._change(key, rewrite)
            if saved is not None:
                self.writes += 1
                return saved
        look = self._begin(key)
        saved = self._store.save(key, rewrite, known=known, deadline=deadline)
        self.other_writes += known is not FRESH and saved.record.kind is Kind.DATA
        self._end(key, look, saved.record if saved.copies and saved.holders != _HERE else None)
        return saved

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return where *key* is held now: ids of nodes, and ``local``."""
        return self._store.holders(key, deadline)

    # -- in memory -----------------------------------------------------------------------------

    def _change(self, key: str, rewrite: Rewrite, *, again: bool = True) -> Saved | None:
        """Store a change in the journal, ``None`` if anything is not as on a good day."""
        behind = self.behind
        with behind.lock:
            near = self.near.by_key.get(key)
            if near is not None and self._marks.seen(key) == near.seen:
                mine = rewrite(near.record)
                if mine.kind is not Kind.DATA or mine.created >= BEHIND:
                    return None
                sealed = self._envelope.seal(mine, key)
                if len(sealed) > self._router.now.limit or not behind.add(key, mine, sealed):
                    return None
                self._looking.pop(key, None)
                seen = self._marks.note_own(key, near.seen)
                if seen is not None:
                    self.near.put(key, mine, near.checked_at, seen, len(sealed))
                    return new(Saved, (mine, _HERE, False, _NOWHERE, _NOWHERE))
                # Others must see it: it is written once more, where they look.
                self.near.drop(key)
                near = None
        if near is None or not again:
            return None
        self._look_again(key)
        return self._change(key, rewrite, again=False)

    # -- beside it -----------------------------------------------------------------------------

    def _load(self, key: str, at_least: int, deadline: float) -> Loaded:
        """Return what this host or the cluster has, and keep it in memory."""
        store = self._store
        if self._ended.has(key):
            return store.load(key, at_least=at_least, deadline=deadline)
        look = self._begin(key)
        entry = store.near(key)
        if entry and entry.record.version >= at_least and store.is_whole_and_fresh(entry):
            self._end(key, look._replace(at=entry.checked_at), entry.record)
            return Loaded(Outcome.FOUND, entry.record, {})
        loaded = store.load(key, at_least=at_least, deadline=deadline)
        record = loaded.record if loaded.certain and loaded.copies else None
        self._end(key, look, record if record and record.version >= at_least else None)
        return loaded

    def _look_again(self, key: str) -> None:
        """Bring what others of this host changed meanwhile into memory."""
        look = self._begin(key)
        entry = self._store.near(key)
        at = entry.checked_at if entry else 0.0
        self._end(key, look._replace(at=at), entry.record if entry else None)

    def _begin(self, key: str) -> _Look:
        """Begin to look beside the memory."""
        if self._marks is _NONE:
            self._marks = self._store.local.marks()
            self._marks.claim()
        look = _Look(object(), self._clock.time(), self._marks.seen(key))
        if len(self._looking) >= MOST_LOOKING:
            self._looking.clear()  # of those that failed
        self._looking[key] = look.mark
        return look

    def _end(self, key: str, look: _Look, record: Record | None) -> None:
        """Keep what was found in memory, unless that changed since *look* began."""
        if not self._enabled:
            return
        with self.behind.lock:
            if self._looking.pop(key, None) is not look.mark:
                return
            self.near.drop(key)
            if record is not None and record.kind is Kind.DATA and record.created < BEHIND:
                waiting = self.behind.waiting(key)
                found = join(record, waiting) if waiting else record
                self.near.put(key, found, look.at, look.seen)
