"""The cluster while it can be reached, local storage of this host when not.

What was kept here during an outage goes back when the cluster returns; see
``maintenance/failback.py``. Until then both are read and joined wherever the cluster alone could be
behind what a browser has seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.cluster.mode import Mode
from flask_msm.errors import CorruptRecordError, RecordError, UnknownRecordError
from flask_msm.record.attributes import written_until
from flask_msm.record.hybrid_clock import milliseconds, stamp_at
from flask_msm.record.keys import digest_of
from flask_msm.record.record import BEHIND, PARTIAL, Kind, join

from . import batch_handover
from .local.store import LOCAL
from .local.sync_state import SyncState
from .mirror import COLLECTED
from .store import (
    FRESH,
    Loaded,
    LocalStorageError,
    Outcome,
    RecordRefusedError,
    RecordTooLargeError,
    Rewrite,
    Saved,
    joined_with,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.mode import ModeState
    from flask_msm.process.background import Background
    from flask_msm.process.clock import Clock
    from flask_msm.record.record import Record

    from .local.store import LocalStore
    from .local.sync_state import Entry
    from .mirror import Mirror
    from .replicated import ClusterStore


#: A request that began before its session moved may write under the old id for so long, seconds.
#: What is written there later comes from a browser that has the old cookie only.
IN_FLIGHT = 2.0
#: A change that a node confirmed to a worker of this host is in its local storage by then, seconds:
#: it is collected first, then copied, on a machine that is busy. In such steps others that see the
#: sign of that worker look for it, seconds.
COPIED, STEP = 10 * COLLECTED, 0.005
#: A change of a sticky session is with the nodes by then, seconds, and is looked for in such steps
#: by another host that is asked for it before.
HANDED_OVER, PAUSE = 0.3, 0.1
#: Longest chain of moves that is followed.
MAX_HOPS = 4
#: The answer for a session that is known to have ended. It holds against copies of the session: on
#: a node that was left out when it ended, while those that hold the tombstone cannot be asked; made
#: here after all hosts were informed; on a trusted node, because the host that took the logout died
#: before it could hand it over.
ENDED = Loaded(Outcome.MISSING, None, {}, certain=True)


class Given(NamedTuple):
    """What came of joining a record of this host into the cluster.

    Attributes:
        record: What the cluster has.
        kept: This host has it, too: not if another process holds the lock of the session.
    """

    record: Record
    kept: bool


def _is_behind(loaded: Loaded, at_least: int) -> bool:
    return loaded.record is None or loaded.record.version < at_least


def _doubted(loaded: Loaded) -> Loaded:
    """Return *loaded* as the answer of nodes that cannot know all there is."""
    is_missing = loaded.outcome is Outcome.MISSING
    outcome = Outcome.UNKNOWN if is_missing else loaded.outcome
    return loaded._replace(outcome=outcome, certain=False, nowhere_else=False)


class FailoverStore:
    """Implements ``SessionStore`` over a cluster and local storage.

    Attributes:
        nodes: What the cluster store knows of its nodes.
        mode: Where sessions go now.
        ended_sessions: Sessions that are known to have ended.
        mirror: Copies to local storage behind the response; ``None`` for no copies.
        queue: Writes to the cluster behind the response, with sticky sessions.
        near_max_age: With sticky sessions: time in seconds for which the copy of this host is
            read without asking the cluster; ``None`` without them.
        drops: Returns whether changes of an outage are dropped when it is over.
        returning: Returns whether nodes came back, or distribution was resumed, so lately that
            other workers may not know of it: they read and write local storage only.
        remembers: Returns whether an answer of nodes that a session is not there still counts,
            given their ids and a deadline: they may have been restarted, flushed or exchanged.
        saved_locally: How many changes only local storage took.
        late: How many of them because nodes did not take them in time.
    """

    def __init__(
        self,
        cluster: ClusterStore,
        local: LocalStore,
        *,
        mode: ModeState,
        ended_sessions: EndedSessions,
        mirror: Mirror | None,
        queue: Background,
        near_max_age: float | None,
        drops: Callable[[], bool],
        returning: Callable[[], bool],
        remembers: Callable[[frozenset[str], float], bool],
        clock: Clock,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self.cluster = cluster
        self.local = local
        self.nodes = cluster.nodes
        self.mirror = mirror
        self.queue = queue
        self.near_max_age = near_max_age
        self.drops = drops
        self.returning = returning
        self.remembers = remembers
        self.saved_locally = 0
        self.late = 0
        self.mode = mode
        self.ended_sessions = ended_sessions
        self._clock = clock
        self._rest = rest

    # -- reading -------------------------------------------------------------------------------

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*; from this host if the cluster is unsure or old."""
        if self.ended_sessions.has(key):
            return ENDED
        mode = self.mode.mode
        if mode is not Mode.DISTRIBUTED:
            return self._load_here(key, mode, at_least, deadline)
        near = None
        if self.near_max_age is not None:
            near = self.near(key)
            if near and near.record.version >= at_least and self.is_whole_and_fresh(near):
                return Loaded(Outcome.FOUND, near.record, {})
        loaded = self.cluster.load(key, at_least=at_least, deadline=deadline)
        if self.near_max_age is not None and (near is None or near.record.version < at_least):
            loaded = self._handed_over(key, loaded, at_least, deadline)
        record = loaded.record
        if loaded.outcome is Outcome.FOUND and record is not None:
            self._note(key, record)
            # What this host has yet to hand over may be newer, or a logout; and a node that was
            # away may have an old copy, while no home can be asked. Of what was
            # written without seeing the rest this host may have the rest.
            doubtful = not loaded.certain or record.created >= BEHIND
            waits = doubtful or near is not None or self.local.is_dirty(key)
            if not waits and record.version >= at_least:
                return loaded
            if self.near_max_age is not None and record.version < at_least:
                # What the browser has seen may wait on another host that does not reach the nodes.
                loaded = loaded._replace(certain=False)
        found = self._with_local(loaded, near or self.near(key), deadline)
        if _is_behind(found, at_least) and (entry := self._awaited(key, at_least, deadline)):
            found = self._with_local(loaded, entry, deadline)
        behind = _is_behind(found, at_least)
        # Other hosts are handing over what they kept, which no node knows of yet.
        is_early = behind and self.returning() and not self.drops()
        return _doubted(found) if is_early else self._with_all_there_is(found)

    def _with_all_there_is(self, found: Loaded) -> Loaded:
        """Take note if a part of a session is all that will ever be found of it.

        Every host has handed over what it kept, so latest changes that are missing are gone. The
        rest of one that was not seen at all may be on a host that is away, if that will promote it.
        """
        record = found.record
        if record is None or record.created < BEHIND or not found.certain or self.returning():
            return found
        lacks = record.created == PARTIAL and not self.drops()
        return found if lacks else found._replace(nowhere_else=True)

    def _load_here(self, key: str, mode: Mode, at_least: int, deadline: float) -> Loaded:
        self._catch_up(key)
        loaded = self.local.load(key, at_least=at_least, deadline=deadline)
        if _is_behind(loaded, at_least) and self._awaited(key, at_least, deadline):
            loaded = self.local.load(key, at_least=at_least, deadline=deadline)
        behind = _is_behind(loaded, at_least)
        if mode is not Mode.STOPPED or not behind:
            return loaded
        # Distribution is stopped, but a browser that was not on this host before is not signed out.
        # No node knows what other hosts keep meanwhile: no "not there" of a node counts.
        found = _doubted(self.cluster.load(key, at_least=at_least, deadline=deadline))
        if found.record is None or loaded.record is None:
            return found if loaded.record is None else loaded
        return found._replace(record=join(found.record, loaded.record))

    def _with_local(self, loaded: Loaded, entry: Entry | None, deadline: float) -> Loaded:
        """Join what this host has with what the cluster returned."""
        # Entries that will be dropped are used until a node answers: another worker of this host
        # may have noticed an outage first.
        if entry is None or (loaded.copies and self.is_dropped(entry)):
            # A node that lost its memory a moment ago has no session at all.
            if loaded.outcome is Outcome.MISSING and not self.remembers(loaded.said_no, deadline):
                return loaded._replace(outcome=Outcome.UNKNOWN)
            return loaded
        if loaded.record is not None:
            return loaded._replace(record=join(loaded.record, entry.record))
        counts = not entry.mark or entry.record.created >= BEHIND
        missing = counts and loaded.outcome is Outcome.MISSING
        gone = missing and self.remembers(loaded.said_no, deadline)
        if gone and not entry.mark:
            return loaded
        return loaded._replace(
            outcome=Outcome.FOUND, record=entry.record, certain=False, nowhere_else=gone
        )

    def is_dropped(self, entry: Entry) -> bool:
        """Return whether *entry* is a change of an outage that does not go into the cluster.

        A logout always does: it is final.
        """
        ended = entry.record.kind is Kind.DESTROYED
        return entry.mark is SyncState.OUTAGE and not ended and self.drops()

    def is_whole_and_fresh(self, near: Entry) -> bool:
        """Return whether the copy of this host may be used without asking the cluster."""
        if near.record.created >= BEHIND:
            return False  # what was written here without seeing the rest, which the cluster has
        limit = self.near_max_age or 0.0
        # What waits to be written is newer than anything that the cluster has.
        return 0.0 <= self._clock.time() - max(near.checked_at, near.record.renewed) < limit

    def _awaited(self, key: str, at_least: int, deadline: float) -> Entry | None:
        """Return what is here once a worker of this host has copied what the browser has seen.

        Returns:
            ``None`` if none is about to: the change was made too long ago, or elsewhere.
        """
        if self.mirror is None or self.near_max_age is not None:
            return None  # what a sticky session was changed to is here before the response
        age = self._clock.time() - milliseconds(at_least) / 1000
        # Who made it may have waited for nodes before one took it, as long as this request may.
        if not -STEP <= age < COPIED + deadline - self._clock.monotonic():
            return None
        sign = self.local.sign()
        for _ in range(round(COPIED / STEP)):
            is_made = not sign.is_shown()
            entry = self.near(key)
            if entry is not None and entry.record.version >= at_least:
                return entry
            if is_made or self._clock.monotonic() + STEP >= deadline:
                break
            self._rest(STEP)
        return None

    def _handed_over(self, key: str, loaded: Loaded, at_least: int, deadline: float) -> Loaded:
        """Return what the cluster has once another host has handed over what the browser has seen.

        That is *loaded* if none is about to: the change was made too long ago.
        """
        for _ in range(round(HANDED_OVER / PAUSE)):
            age = abs(self._clock.time() - milliseconds(at_least) / 1000)
            is_late = age >= HANDED_OVER or self._clock.monotonic() + PAUSE >= deadline
            if is_late or loaded.record is None or loaded.record.version >= at_least:
                break
            self._rest(PAUSE)
            loaded = self.cluster.load(key, at_least=at_least, deadline=deadline)
        return loaded

    def _catch_up(self, key: str) -> None:
        if self.mirror is not None:
            self.mirror.catch_up(key)

    def near(self, key: str) -> Entry | None:
        """Return what this host has of *key*, ``None`` also if it cannot be read."""
        self._catch_up(key)
        try:
            return self.local.find(key)
        except (CorruptRecordError, UnknownRecordError, LocalStorageError):
            return None

    # -- writing -------------------------------------------------------------------------------

    def save(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
        deadline: float,
    ) -> Saved:
        """Store what *rewrite* makes of the record, in the cluster if that takes it.

        Raises:
            RecordTooLargeError: It does not fit; what was stored stays.
        """
        saved = self._save(key, rewrite, known=known, deadline=deadline)
        if saved.record.kind is Kind.DESTROYED and saved.copies:
            self.ended_sessions.add(digest_of(key) or "", kept=saved.holders == {LOCAL})
        return saved

    def _save(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
        deadline: float,
    ) -> Saved:
        if self.mode.mode is not Mode.DISTRIBUTED:
            return self._save_here(key, rewrite, SyncState.OUTAGE)
        if self.near_max_age is not None:
            return self._save_near(key, rewrite, known=known, deadline=deadline)
        try:
            saved = self.cluster.save(key, rewrite, known=known, deadline=deadline)
        except RecordTooLargeError as error:
            return self._kept_too_large(key, rewrite, known, error)
        if not saved.copies:
            self.late += self._clock.monotonic() >= deadline
            here = self._save_here(key, rewrite, SyncState.PENDING)
            return here._replace(failed=saved.failed)
        if self.mirror is not None and self.returning():
            self.local.confirm(key, saved.record)
        self._note(key, saved.record)
        return saved

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return where *key* is held now: ids of nodes, and ``local``."""
        near = self.local.holders(key, deadline)
        if self.mode.mode is Mode.LOCAL:
            return near
        return (*self.cluster.holders(key, deadline), *near)

    def _kept_too_large(
        self,
        key: str,
        rewrite: Rewrite,
        known: Loaded | None,
        error: RecordTooLargeError,
    ) -> Saved:
        """Keep a change here that makes a record no larger which is too large already.

        It was stored when nodes took larger records, or during an outage.

        Raises:
            RecordTooLargeError: It was not, or is larger now.
        """
        before = known.record if known else None
        size = len(self.nodes.envelope.seal(before, key)) if before else 0
        if size <= error.limit or error.size > size:
            raise error
        self.saved_locally += 1
        return self.local.write(key, rewrite, SyncState.PENDING, limit=size)

    def _save_here(self, key: str, rewrite: Rewrite, mark: SyncState) -> Saved:
        self.saved_locally += 1
        return self.local.write(key, rewrite, mark)

    def _save_near(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
        deadline: float,
    ) -> Saved:
        """Store the change on this host before the response, in the cluster behind it."""
        try:
            near = self.local.write(key, rewrite, SyncState.PENDING, limit=self.nodes.limit(key))
        except RecordTooLargeError as error:
            return self._kept_too_large(key, rewrite, known, error)
        if not near.copies:
            return self.cluster.save(key, rewrite, known=known, deadline=deadline)
        fresh = known is FRESH
        # No other request may overtake a logout, or the move of a session: it waits. So does
        # a new session: another host would read from the nodes that there is none.
        waits = fresh or near.record.kind is not Kind.DATA
        if not waits and self.queue.put(partial(self._hand_over_behind, key)):
            return near
        try:
            saved = self.cluster.save(key, joined_with(near.record), known=known, deadline=deadline)
        except RecordTooLargeError:
            # Only with what the cluster has joined in: it stays here, and is tried again.
            return near
        if not saved.copies:
            return near._replace(failed=saved.failed)
        self.local.confirm(key, saved.record)
        return saved

    def _hand_over_behind(self, key: str, deadline: float) -> None:
        # What cannot be handed over stays marked, and the upkeep reports it.
        with suppress(RecordTooLargeError, RecordRefusedError, UnknownRecordError):
            self.hand_over(key, deadline)

    def hand_over(self, key: str, deadline: float, *, fresh: bool = False) -> bool:
        """Join what this host has of *key* into the cluster; return whether that knows it now.

        *fresh*: the cluster is thought not to have it, which saves looking.

        Raises:
            UnknownRecordError: It was written with another key or by a newer version.
            RecordTooLargeError: What the cluster has joined with it does not fit.
            RecordRefusedError: The nodes that answered do not take it.
        """
        try:
            entry = self.local.find(key)
        except CorruptRecordError:
            entry = None
        except LocalStorageError:
            return False
        if entry is None:
            self.local.forget_mark(key)
            return True
        return self.give(key, entry.record, deadline, fresh=fresh) is not None

    def hand_over_many(self, keys: Sequence[str], timeout: float) -> Iterable[str]:
        """Join what this host has of *keys* into the cluster; return those that it knows now.

        The others are not as simple as that, or failed: they are left to ``hand_over``.

        Args:
            keys: Storage keys, a few hundred at most.
            timeout: Time in seconds for one command.
        """
        here: dict[str, Record] = {}
        for key in keys:
            with suppress(RecordError, LocalStorageError):
                entry = self.local.find(key)
                if entry is not None:
                    here[key] = entry.record
        taken = batch_handover.hand_over(self.nodes, here, timeout)
        for key, record in taken.items():
            self._taken(key, record)
        return taken

    def give(self, key: str, here: Record, deadline: float, *, fresh: bool = False) -> Given | None:
        """Join *here*, which this host has of *key*, into the cluster.

        *fresh*: the cluster is thought not to have it, which saves looking.

        Returns:
            ``None`` if the cluster does not know all of it.

        Raises:
            UnknownRecordError: It was written with another key or by a newer version.
            RecordTooLargeError: What the cluster has joined with it does not fit.
            RecordRefusedError: The nodes that answered do not take it.
        """
        saved = self.cluster.save(
            key, joined_with(here), known=FRESH if fresh else None, deadline=deadline
        )
        if not saved.copies:
            if saved.refused and not saved.failed:
                raise RecordRefusedError("the nodes refuse it, for want of memory or for its size")
            return None
        if not self._take_along(here, saved.record, deadline):
            return None  # it stays marked, and is tried again
        return Given(saved.record, self._taken(key, saved.record))

    def _taken(self, key: str, record: Record) -> bool:
        """Note that the cluster has *record*; return whether this host has it as well."""
        kept = self.local.confirm(key, record)
        if record.kind is Kind.DESTROYED:
            # The worker that ended it may be gone, and other hosts do not know of it.
            self.ended_sessions.add(digest_of(key) or "", stamp=record.version)
        return kept

    def _take_along(self, here: Record, joined: Record, deadline: float) -> bool:
        """Bring to the new id of a session what was written under the old one beside the move.

        The move was not known where that was written, for it waited on a host.

        *here* is what this host had under the old id, *joined* the same with what the cluster had.

        Returns:
            Whether nothing is left to be taken along.
        """
        for _ in range(MAX_HOPS):
            pointer = joined.pointer
            if joined.kind is not Kind.ALIAS or pointer is None:
                return True
            if here.kind is Kind.ALIAS and here.attributes == joined.attributes:
                return True
            until = pointer.stamp + stamp_at(IN_FLIGHT)
            # If the rest of it is elsewhere still, this is a part.
            late = joined._replace(
                kind=Kind.DATA,
                created=PARTIAL,
                pointer=None,
                attributes=written_until(joined.attributes, until),
            )
            saved = self.cluster.save(pointer.key, joined_with(late), known=None, deadline=deadline)
            if not saved.copies:
                return False
            here, joined = late, saved.record
        return True

    def _note(self, key: str, record: Record) -> None:
        if self.mirror is not None:
            asked = self.near_max_age is not None
            self.mirror.note(key, record, anew=asked)
