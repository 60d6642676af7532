"""Sessions on this host: what is left when no node can be reached, and a mirror until then.

A cachelib cache holds bytes only: the same sealed records that nodes hold, behind a few bytes that
record whether the cluster holds them as well. Every change is read, joined and written under a lock
of the session that all workers of the host share.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from flask_msm.errors import CorruptRecordError, RecordError, UnknownRecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.attributes import NOTHING
from flask_msm.record.keys import DIGEST_LENGTH, digest_of
from flask_msm.record.record import Kind, Record, join
from flask_msm.storage.store import (
    Loaded,
    LocalStorageError,
    Outcome,
    RecordTooLargeError,
    Rewrite,
    Saved,
    joined_with,
)

from .host_journals import HostJournals
from .notes import LIFE as NOTES_LIFE
from .notes import note_in, sealed_note
from .sync_state import Entry, SyncState, packed, unpacked
from .trims import Trims
from .turns import Turn, Turns


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from flask_msm.process.background import Job
    from flask_msm.process.clock import Clock
    from flask_msm.record.envelope import Envelope

    from .backend import BackendOpener, LocalBackend
    from .change_marks import ChangeMarks
    from .copy_sign import CopySign

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


#: What local storage is called among the holders of a session.
LOCAL = "local"
#: The limit of what was acknowledged: it is kept, also if it became larger by joining.
ANY_SIZE = 2**30
#: Most sessions that are remembered to have been written without their lock: where lock files
#: cannot be opened all are.
MOST_OWED = 256
#: Writes have those written again at most once in so many seconds.
SETTLE_EVERY = 1.0


class LocalStore:
    """Implements ``SessionStore`` on this host.

    *alone*: there is no cluster, what is not here is nowhere. *trouble* is called with the reason
    when local storage fails, and with ``None`` when it works again. *report* is called with a kind
    and a text of what was found in journals of workers that are no more.
    """

    def __init__(
        self,
        shelves: BackendOpener,
        *,
        envelope: Envelope,
        max_size: int,
        clock: Clock,
        prefix: str,
        alone: bool,
        trouble: Callable[[str | None], object],
        later: Callable[[Job], bool],
        report: Callable[[str, str], object] = lambda *_: None,
    ) -> None:
        #: The clock that entries are dated with.
        self.clock = clock
        #: Sessions that were thrown out, or are damaged, although they are nowhere else.
        self.lost = 0
        #: Why it fails, from the first failure until something was written again.
        self.failing: str | None = None
        self._shelves = shelves
        self._envelope = envelope
        self._max_size = max_size
        self._prefix = prefix
        self._alone = alone
        self._trouble = trouble
        self._later = later
        self.journals = HostJournals(shelves, envelope, prefix, keep=self._keep, report=report)
        self._turns = Turns()
        #: By storage key what was written without the lock of its session. The holder of the lock
        #: may write over it; so it is kept here until it is written under the lock.
        self._owed: dict[str, Entry] = {}
        #: When a write had them written again last, monotonic time in seconds.
        self._settled_at = -inf
        self._trims = Trims(shelves, clock, self._trim)

    # -- as a store of sessions ----------------------------------------------------------------

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:  # noqa: ARG002
        """Return the record of *key*; what is not here may still be in the cluster."""
        try:
            entry = self.find(key)
        except (CorruptRecordError, UnknownRecordError, LocalStorageError):
            return Loaded(Outcome.UNKNOWN, None, {}, certain=False)
        if entry is None:
            outcome = Outcome.MISSING if self._alone else Outcome.UNKNOWN
            return Loaded(outcome, None, {}, certain=self._alone)
        return Loaded(
            Outcome.FOUND, entry.record, {}, certain=self._alone, nowhere_else=self._alone
        )

    def save(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,  # noqa: ARG002  (what was known may be old: it is read under the lock)
        deadline: float,  # noqa: ARG002
    ) -> Saved:
        """Store what *rewrite* makes of the record that is there."""
        return self.write(key, rewrite, SyncState.SYNCED if self._alone else SyncState.OUTAGE)

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:  # noqa: ARG002
        """Return ``local`` when local storage holds *key*."""
        try:
            shelf = self._shelves.opened
            return (LOCAL,) if shelf and shelf.cache.get(key) is not None else ()
        except LocalStorageError:
            return ()

    # -- beside a cluster ----------------------------------------------------------------------

    def find(self, key: str) -> Entry | None:
        """Return the session of *key* and what the cluster knows of it.

        Raises:
            CorruptRecordError: What is there cannot be used.
            UnknownRecordError: It was written with another key or by a newer version.
            LocalStorageError: Local storage failed.
        """
        shelf = self._shelves.open()
        # Journals first: what leaves them is in the cache by then.
        journaled = self.journals.find(key)
        data = self._guarded(shelf.cache.get, key)
        entry = self._owed.get(key)
        if data is not None:
            try:
                cached = unpacked(data, key, self._envelope)
                entry = cached.beside(entry.record, entry.mark) if entry else cached
            except CorruptRecordError:
                if journaled is None:
                    raise
        if journaled is None:
            return entry
        if entry is None:
            return Entry(journaled, SyncState.PENDING, 0.0, journaled=True)
        return entry.with_journaled(journaled)

    def _keep(self, key: str, record: Record) -> bool:
        """Take over *record* from a journal; return whether it is here."""
        mark = SyncState.SYNCED if self._alone else SyncState.PENDING
        return bool(self.write(key, joined_with(record), mark, limit=ANY_SIZE).copies)

    def write(
        self,
        key: str,
        rewrite: Rewrite,
        mark: SyncState,
        *,
        limit: int | None = None,
    ) -> Saved:
        """Store what *rewrite* makes of the record that is there.

        *limit*: largest size in bytes, if it is another one than usual.

        Returns:
            What was written; without copies when local storage failed.

        Raises:
            RecordTooLargeError: It does not fit; what was stored stays.
        """
        shelf = self._shelves.open()
        turn = Turn(rewrite, mark, self._max_size if limit is None else limit)
        self._turns.add(key, turn)
        try:
            with self._changing(shelf, key, unless=lambda: not turn.waits) as held:
                if turn.waits:
                    self._write(shelf, key, self._turns.take(key, turn), held=held)
        finally:
            self._turns.leave(key, turn)
        if self._owed and self.clock.monotonic() - self._settled_at >= SETTLE_EVERY:
            self._settled_at = self.clock.monotonic()
            self._later(lambda _: self.settle())
        if self.is_trim_due():
            trim = self._trims.take()
            self._later(lambda _: trim())
        return turn.result()

    def settle(self) -> None:
        """Take over what dead workers left, and write again what was written without its lock."""
        shelf = self._shelves.open()
        self._shelves.make_again()
        self.journals.take_over()
        shelf.marks.renew()
        shelf.locks.renew()
        shelf.sign.renew()
        for key in list(self._owed):
            with (
                shelf.locks.hold(key, wait=False) as held,
                suppress(RecordError, RecordTooLargeError, LocalStorageError),
            ):
                entry = self._usable(key) if held else None
                if entry is not None:
                    self._put(shelf, key, entry, entry.record, held=True)

    def _write(self, shelf: LocalBackend, key: str, turns: list[Turn], *, held: bool) -> None:
        """Store what *turns* make of the record, one after another, with one write."""
        limit = min(turn.limit for turn in turns)
        mark = max(turn.mark for turn in turns)
        try:
            entry = self._usable(key)
            record = entry.record if entry else None
            for turn in turns:
                record = turn.rewrite(record)
            assert record is not None  # noqa: S101  (there is one turn at least)
            differs = entry is None or record != entry.record or mark > entry.mark
            if differs or (entry and entry.journaled) or key in self._owed:
                before = entry.mark if entry else SyncState.SYNCED
                made = Entry(record, max(mark, before), 0.0)
                self._put(shelf, key, made, entry and entry.record, limit, held=held)
        except (UnknownRecordError, LocalStorageError):
            for turn in turns:
                turn.saved = Saved(turn.rewrite(None), frozenset())
        except Exception as error:  # noqa: BLE001  (raised where it belongs)
            if len(turns) == 1:
                turns[0].error = error
                return
            # One of them does not fit or fails: the others must not fail with it.
            for turn in turns:
                self._write(shelf, key, [turn], held=held)
        else:
            for turn in turns:
                turn.saved = Saved(record, frozenset({LOCAL}))

    def confirm(self, key: str, record: Record, *, seen_at: float | None = None) -> bool:
        """Take note that the cluster holds *record*, and keep a copy of it.

        What is here and is not in it stays, and is to be handed over: the cluster does not know it,
        or not any more.

        Args:
            key: Storage key.
            record: What the cluster holds.
            seen_at: When it was seen there, seconds since the epoch; now, if not given. What the
                cluster was seen to hold since then is no news.

        Returns:
            Whether that was done: not while another process may be writing the session.
        """
        shelf = self._shelves.open()
        seen_at = self.clock.time() if seen_at is None else seen_at
        with self._changing(shelf, key) as held:
            if not held:
                return False
            try:
                entry = self._usable(key)
                joined = join(entry.record, record) if entry else record
                # The list of ended sessions may have been faster than the tombstone.
                is_over = (
                    record.kind is Kind.DESTROYED
                    and joined.pointer == record.pointer
                    and entry is not None
                    and not entry.mark
                )
                if entry is None or joined == record or is_over:
                    self._confirmed(shelf, key, Entry(joined, SyncState.SYNCED, seen_at), entry)
                    return True
                is_old_news = not entry.mark and seen_at < entry.checked_at
                is_news = joined != entry.record or not (entry.mark or is_old_news)
                if is_news or entry.journaled:
                    mark = max(entry.mark, SyncState.PENDING)
                    self._put(shelf, key, Entry(joined, mark, seen_at), entry.record, held=True)
            except (UnknownRecordError, LocalStorageError):
                pass
        return True

    def drop(self, key: str, record: Record) -> bool:
        """Remove *key*, if it is still *record*; return whether it went."""
        shelf = self._shelves.open()
        with shelf.locks.hold(key) as held, suppress(RecordError, LocalStorageError):
            entry = self.find(key) if held else None
            if entry is not None and entry.record == record:
                self._remove(shelf, key)
                return True
        return False

    def bury(self, digest: str, version: int, *, hand_over: bool = False) -> None:
        """End the copy of a session that was ended elsewhere, if there is one.

        Args:
            digest: The hash in its storage key.
            version: When it was ended, a stamp.
            hand_over: The cluster does not know that: it is to be handed over, copy or none.
        """
        key = self._prefix + digest
        shelf = self._shelves.open()
        with self._changing(shelf, key) as held:
            try:
                entry = self.find(key)
                if entry is None and hand_over:
                    # How long the session may live is not known here; records on the nodes have it.
                    now = self.clock.time()
                    record = Record(Kind.DATA, now, now, now + NOTES_LIFE, version, NOTHING)
                    entry = Entry(record, SyncState.PENDING, 0.0)
                if entry is None or entry.record.kind is Kind.DESTROYED:
                    return
                record = entry.record._replace(
                    kind=Kind.DESTROYED,
                    attributes=NOTHING,
                    version=max(version, entry.record.version),
                )
                mark = max(entry.mark, SyncState.PENDING) if hand_over else entry.mark
                self._put(shelf, key, Entry(record, mark, entry.checked_at), None, held=held)
            except (RecordError, LocalStorageError):
                return

    def dirty_keys(self) -> list[str]:
        """Return the storage keys of what the cluster does not know, or not all of."""
        marked = [self._prefix + digest for digest in self._shelves.open().journal.digests()]
        return [*marked, *(key for key in list(self._owed) if key not in marked)]

    def dirty_count(self) -> int:
        """Return how many those are: 0 if there are none, and of many about how many."""
        journal = self._shelves.open().journal
        owed = [digest_of(key) or "" for key in list(self._owed)]
        return journal.count() + sum(digest not in journal for digest in owed)

    def is_dirty(self, key: str) -> bool:
        """Return whether there may be more of *key* here than the cluster knows."""
        backend = self._shelves.opened or self._shelves.open()
        return key in self._owed or (digest_of(key) or "") in backend.journal

    def may_be_dirty(self, key: str) -> bool:
        """Return ``False`` if the cluster knows all of *key* that is here; for every read."""
        backend = self._shelves.opened or self._shelves.open()
        return key in self._owed or backend.journal.may_contain(key[-DIGEST_LENGTH:])

    def forget_mark(self, key: str) -> None:
        """Remove the mark of a session that is not there any more, if it is not."""
        shelf = self._shelves.open()
        with self._changing(shelf, key) as held:  # a mark is set before the write
            try:
                if held and self._usable(key) is None:
                    shelf.journal.discard(digest_of(key) or "")
            except (UnknownRecordError, LocalStorageError):
                return

    def all_keys(self) -> list[str]:
        """Return the storage keys of everything that is here."""
        try:
            digests = self._guarded(self._shelves.open().cache.digests)
            return [self._prefix + digest for digest in digests]
        except LocalStorageError:
            return []

    def alone_at(self, task: str) -> AbstractContextManager[bool]:
        """Return a context manager: whether no other process of this host is at *task*."""
        return self._shelves.open().locks.alone(task)

    # -- notes from worker to worker on this host ----------------------------------------------

    def get_blob(self, name: str) -> bytes | None:
        """Return what was noted under *name*; ``None`` for what was not written with our keys."""
        key = self._prefix + name
        try:
            data = self._guarded(self._shelves.open().cache.get, key)
        except LocalStorageError:
            return None
        return None if data is None else note_in(data, key, self._envelope)

    def put_blob(self, name: str, data: bytes) -> None:
        """Note *data* under *name* for all workers of this host, sealed as sessions are."""
        key = self._prefix + name
        sealed = sealed_note(data, key, self._envelope, now=self.clock.time())
        with suppress(LocalStorageError):
            cache = self._shelves.open().cache
            self._guarded(cache.set, key, sealed, NOTES_LIFE)
            self._guarded(cache.evict)

    def visit(self) -> None:
        """Be a visitor, for a command line: no folder is made."""
        self._shelves.makes = False

    # -- housekeeping --------------------------------------------------------------------------

    @property
    def shelf(self) -> LocalBackend | None:
        """Where things are kept; ``None`` as long as nothing was."""
        return self._shelves.opened

    def marks(self) -> ChangeMarks:
        """Return the marks on what changed, for workers that have sessions in memory."""
        return self._shelves.open().marks

    def sign(self) -> CopySign:
        """Return what shows the workers of this host whether one has copies to make."""
        return self._shelves.open().sign

    def is_trim_due(self) -> bool:
        """Return whether what has expired or is too much should be removed."""
        return self._trims.is_due()

    def trim_if_due(self) -> None:
        """Remove what should be, unless a worker of this host did in the last minute."""
        if self.is_trim_due():
            self._trims.take()()

    def trim(self) -> None:
        """Remove what has expired and what is too much, unless another worker is at it."""
        self._trims.run()

    def _trim(self, shelf: LocalBackend) -> None:
        try:
            lost = self._guarded(shelf.cache.trim)
        except LocalStorageError:
            return
        if lost:
            self.lost += lost
            self._trouble(f"it is full: {lost} sessions were thrown out that exist nowhere else")

    @contextmanager
    def _changing(
        self, shelf: LocalBackend, key: str, *, unless: Callable[[], bool] | None = None
    ) -> Iterator[bool]:
        """For a ``with`` block: hold the lock of *key*, yield whether it is held; make room."""
        lost = self.lost
        try:
            with shelf.locks.hold(key, unless=unless) as held:
                yield held
        finally:
            # Afterwards: listeners are not called with a lock, and other sessions have their own.
            if self.lost > lost:
                self._trouble("a session that exists nowhere else is damaged")
            with suppress(LocalStorageError):
                self._guarded(shelf.cache.evict)

    def _usable(self, key: str) -> Entry | None:
        """Return what is there; what is corrupt counts as nothing, for it is replaced.

        If it was nowhere else it is lost with that.
        """
        try:
            return self.find(key)
        except CorruptRecordError:
            self.lost += self._alone or self.is_dirty(key)
            return None

    def _put(
        self,
        shelf: LocalBackend,
        key: str,
        entry: Entry,
        before: Record | None,
        limit: int | None = None,
        *,
        held: bool,
    ) -> None:
        sealed = self._envelope.seal(entry.record, key)
        allowed = self._max_size if limit is None else limit
        if len(sealed) > allowed:
            largest = entry.record.attributes.largest()
            raise RecordTooLargeError(len(sealed), allowed, largest)
        now = earliest(self.clock)
        ttl = ttl_for(entry.record.expires_at, now)
        if entry.mark:
            self._guarded(shelf.journal.add, digest_of(key) or "")
        data = packed(entry, sealed)
        # cachelib takes seconds from now only, however many.
        self._guarded(shelf.cache.set, key, data, ttl if ttl < now else int(ttl - now))
        if entry.record != before:
            shelf.marks.note(key)
        self._trims.written += len(data)
        if held:
            self._owed.pop(key, None)
        else:
            self._owed[key] = entry
            if len(self._owed) > MOST_OWED:
                self._owed.pop(next(iter(self._owed)), None)
        self._stored()

    def _confirmed(self, shelf: LocalBackend, key: str, made: Entry, before: Entry | None) -> None:
        """Replace *before* by what the cluster has as well, with the lock of the session."""
        try:
            self._put(shelf, key, made, before and before.record, held=True)
        except LocalStorageError:
            if before and before.mark:
                # The disk is full: what has a mark would be handed over for ever.
                self._remove(shelf, key)
            return
        # Under any mark: a process may have died between these two steps.
        shelf.journal.discard(digest_of(key) or "")

    def _remove(self, shelf: LocalBackend, key: str) -> None:
        self._guarded(shelf.cache.delete, key)
        shelf.marks.note(key)
        self._owed.pop(key, None)
        shelf.journal.discard(digest_of(key) or "")

    def _guarded(self, act: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call *act* and report when local storage begins to fail."""
        try:
            try:
                return act(*args)
            except LocalStorageError:
                if not self._shelves.make_again():
                    raise
                return act(*args)
        except LocalStorageError as error:
            if self.failing is None:
                self.failing = error.reason
                self._trouble(error.reason)
            raise

    def _stored(self) -> None:
        """Report when local storage works again: only a write shows it, a full disk can be read."""
        if self.failing is not None:
            self.failing = None
            self._trouble(None)
