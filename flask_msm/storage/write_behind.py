"""Changes of sticky sessions on their way to the nodes: in a journal first, behind in one go.

Before the response a change is appended to the journal of this worker. A tenth of a second later,
at most, all that waits is handed over, of each session the newest record only; then the journal
goes. What nodes do not take goes to local storage with a mark, as any change of an outage.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

from flask_msm.cluster.mode import Mode
from flask_msm.errors import UnknownRecordError
from flask_msm.process.ending import to_the_end
from flask_msm.process.forks import forget_in_children
from flask_msm.process.locks import ProcessLock
from flask_msm.record.keys import DIGEST_LENGTH
from flask_msm.record.record import join

from .local.journal_frames import frame
from .local.store import ANY_SIZE
from .local.sync_state import SyncState
from .local.worker_journal import WorkerJournal
from .store import RecordRefusedError, RecordTooLargeError, joined_with


if TYPE_CHECKING:
    from flask_msm.process.background import Background
    from flask_msm.process.clock import Clock
    from flask_msm.record.record import Record

    from .failover import FailoverStore
    from .local.worker_journal import Turned


#: So long changes are collected, seconds.
TICK = 0.1
#: So many failures in a row, and nodes are not asked to take the rest.
MOST_FAILURES = 3


class WriteBehind:
    """Keeps changes for nodes until these have them.

    Args:
        store: Hands over, and keeps what nodes do not take.
        queue: Has a thread behind the responses.
        timeout: Time in seconds the hand-over of one session may take.

    Attributes:
        lock: Held while a change is made, from the record it is based on to the journal.
        handed_over: How many records nodes took.
        kept: How many stayed in local storage, for nodes did not take them.
    """

    def __init__(
        self,
        store: FailoverStore,
        queue: Background,
        *,
        clock: Clock,
        timeout: float,
    ) -> None:
        self.handed_over = self.kept = 0
        self._store = store
        self._queue = queue
        self._mode = store.mode
        self._clock = clock
        self._timeout = timeout
        self._journal: WorkerJournal | None = None
        #: Only one thread hands over.
        self._handing = ProcessLock()
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Be as new, in a forked child: what waits is handed over by its parent."""
        # A plain lock, for it is taken by every change, and taking it calls no function.
        self.lock = threading.Lock()
        self._waiting: dict[str, Record] = {}
        #: What is being handed over.
        self._giving: dict[str, Record] = {}
        #: Whether a job will hand over what waits, and whether it will do so at once.
        self._scheduled = self._hurries = False

    @property
    def failures(self) -> int:
        """How many changes could not be appended to the journal."""
        return self._journal.failures if self._journal else 0

    def add(self, key: str, record: Record, sealed: bytes) -> bool:
        """Keep *record*, sealed, in the journal until nodes have it; call it with the lock.

        Returns:
            Whether it is there. Otherwise it has to go to the nodes now.
        """
        journal = self._journal or self._open()
        if journal is None or not (self._scheduled or self._schedule()):
            return False
        if not journal.append(frame(key[-DIGEST_LENGTH:], sealed)):
            return False
        self._waiting[key] = record
        return True

    def waiting(self, key: str) -> Record | None:
        """Return what waits for the nodes of a session; call it with the lock."""
        return self._waiting.get(key)

    def soon(self) -> None:
        """Have all that waits handed over now."""
        if self._waiting and self._scheduled and not self._hurries:
            # The thread rests only until a job comes that does not wait.
            self._hurries = self._queue.put(lambda _: None)

    def flush(self, timeout: float) -> bool:
        """Hand over all that waits; return whether that was done within *timeout* seconds."""
        return self._queue.flush(timeout)

    def refuse(self) -> None:
        """Take nothing from now on: for a command line."""
        self._queue.refuse()

    def close(self, timeout: float = 1.0) -> None:
        """Hand over what waits, then end the thread; what nodes do not take in time stays here."""
        self._queue.close(timeout)
        if not self.hand_over(self._clock.monotonic() + timeout, patience=0.0):
            self._keep_all()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        to_the_end(self.close)

    def hand_over(self, until: float | None = None, *, patience: float | None = None) -> bool:
        """Hand over all that waits.

        Args:
            until: When nodes are not asked any more, monotonic time in seconds.
            patience: How long to wait for another thread that is at it, seconds, if not as long as
                one session may take.

        Returns:
            Whether nothing is left in the journal; otherwise the next time goes on.
        """
        journal = self._journal
        if journal is None:
            return True
        if not self._handing.acquire(timeout=self._timeout if patience is None else patience):
            return False
        try:
            with self.lock:
                self._giving, self._waiting = self._waiting, {}
                turned = journal.turn()
            left = self._giving
            try:
                left = self._give_all(left, until)
            finally:
                self._put_back(left, turned)
                self._giving = {}
        finally:
            self._handing.release()
        return not left

    def _keep_all(self) -> None:
        """Bring to local storage all that waits, also for a hand-over that hangs."""
        assert self._journal is not None  # noqa: S101  (otherwise nothing is left)
        with self.lock:
            waiting, self._waiting = self._waiting, {}
            turned = self._journal.turn()
        records = [*self._giving.items(), *waiting.items()]
        left: dict[str, Record] = {}
        for key, record in records:
            if not self._keep(key, record):
                left[key] = join(left[key], record) if key in left else record
        self._put_back(left, turned)

    def _put_back(self, left: dict[str, Record], turned: list[Turned]) -> None:
        """Let *left* wait, or remove the journals that it was in."""
        with self.lock:
            for key, record in left.items():
                newer = self._waiting.get(key)
                self._waiting[key] = join(record, newer) if newer else record
            if not left and self._journal is not None:
                self._journal.remove(turned)

    def _give_all(self, waiting: dict[str, Record], until: float | None) -> dict[str, Record]:
        """Bring each record to the nodes, or to local storage; return those that neither took."""
        failures, left = 0, {}
        for key, record in waiting.items():
            begin = self._clock.monotonic()
            asks = self._mode.mode is Mode.DISTRIBUTED and failures < MOST_FAILURES
            if asks and (until is None or begin < until):
                if self._give(key, record, begin + self._timeout):
                    failures = 0
                    continue
                failures += 1
            if self._keep(key, record):
                self.kept += 1
            else:
                left[key] = record
        return left

    def _give(self, key: str, record: Record, deadline: float) -> bool:
        """Join *record* into the cluster; return whether it is there and here."""
        try:
            given = self._store.give(key, record, deadline)
        except (RecordTooLargeError, RecordRefusedError, UnknownRecordError):
            return False  # it stays here, marked, and the upkeep reports it
        if given is None:
            return False
        self.handed_over += 1
        return given.kept

    def _keep(self, key: str, record: Record) -> bool:
        local = self._store.local
        saved = local.write(key, joined_with(record), SyncState.PENDING, limit=ANY_SIZE)
        return bool(saved.copies)

    def _open(self) -> WorkerJournal | None:
        shelf = self._store.local.shelf
        if shelf is not None and shelf.changes is not None:
            self._journal = WorkerJournal(shelf.changes)
        return self._journal

    def _schedule(self) -> bool:
        self._hurries = False
        self._scheduled = self._queue.put(self._work, after=TICK)
        if self._scheduled:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
        return self._scheduled

    def _work(self, _: float) -> None:
        # What comes from now on is collected by another one.
        self._scheduled = False
        if not self.hand_over() and self._mode.mode is Mode.DISTRIBUTED:
            with self.lock:
                self._schedule()
