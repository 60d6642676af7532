"""Copies of recent sessions on this host, made behind the response.

What comes within a moment is collected, so that a session that changes again and again is copied
once, and a request wakes no thread. Another worker of the host that needs such a copy, for no node
answers any more, waits as long as that; see ``FailoverStore``.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock
from flask_msm.record.record import Kind

from .store import RecordTooLargeError


if TYPE_CHECKING:
    from flask_msm.process.background import Background
    from flask_msm.record.record import Record

    from .local.store import LocalStore


#: So many sessions are remembered as mirrored already; one more look at a forgotten one is cheap.
REMEMBERED = 4096
#: Time in seconds for which changes are collected; the end or the move of a session ends it.
COLLECTED = 0.05
#: So many sessions may wait to be copied; of more no copy is made.
WAITING = 1000

_DATA = Kind.DATA


class Mirror:
    """Sees to it that local storage has what the cluster was seen to hold.

    Attributes:
        dropped: How many copies were not made, for too many waited.
        recent: Version and renewal of what was mirrored last, by storage key.
    """

    def __init__(self, local: LocalStore, background: Background) -> None:
        self.dropped = 0
        self.recent: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._local = local
        self._background = background
        self._lock = ProcessLock()
        #: What is to be copied next, and when it was seen, seconds since the epoch.
        self._waiting: dict[str, tuple[Record, float]] = {}
        #: Whether a job will look at what waits.
        self._queued = False
        self._pid = os.getpid()

    def note(self, key: str, record: Record, *, anew: bool = False) -> None:
        """Take note that the cluster holds *record*.

        Args:
            key: Storage key.
            record: What the cluster holds.
            anew: Also when this version was mirrored before: that the cluster was asked counts.
        """
        seen = record.version, record.renewed
        if self.recent.get(key) == seen and not anew:
            return
        now = self._local.clock.time()
        with self._lock.inner:
            if self._pid != os.getpid():
                # What waited before a fork is done by the parent.
                self._waiting, self._pid, self._queued = {}, os.getpid(), False
            before = self._waiting.get(key)
            if before is None and len(self._waiting) >= WAITING:
                self.dropped += 1
                return
            if before is None or record.version >= before[0].version:
                self._waiting[key] = record, now
            self.recent[key] = seen
            if len(self.recent) > REMEMBERED:
                self.recent.popitem(last=False)
            is_queued, self._queued = self._queued, True
            if not is_queued:
                self._local.sign().show()
        is_last = record.kind is not _DATA
        if is_queued and not is_last:
            return
        if not self._background.put(self._copy_all, after=0.0 if is_last else COLLECTED):
            self._queued = is_queued
            if not is_queued:
                self._give_up(key)
                self.dropped += 1

    def catch_up(self, key: str) -> None:
        """Make the copy of *key* now if it waits: this host is about to be asked for it.

        Only of what waits by now: others may go on to change it.
        """
        waiting = self._waiting.get(key)
        if waiting is not None:
            self._copy(key, waiting)

    def forget(self) -> None:
        """Mirror everything anew: local storage was emptied."""
        with self._lock.inner:
            self.recent.clear()

    def _copy_all(self, _: float) -> None:
        # Before: what is noted from now on has a job of its own.
        self._queued = False
        failure = None
        for key in list(self._waiting):
            try:
                self.catch_up(key)
            except Exception as error:  # noqa: BLE001  (raised when the others are copied)
                failure = error
        with self._lock.inner:
            if not self._waiting:
                self._local.sign().hide()
        # Here only: it takes long, and no request is to wait for it.
        self._local.trim_if_due()
        if failure is not None:
            raise failure

    def _copy(self, key: str, waiting: tuple[Record, float]) -> None:
        record, seen_at = waiting
        try:
            done = self._local.confirm(key, record, seen_at=seen_at)
        except RecordTooLargeError:
            done = False  # together with what is here, which stays
        except BaseException:
            self._give_up(key)
            raise
        if not done:
            self._give_up(key)
            return
        # It waits until it is written, because a load meanwhile makes the copy as well. While it
        # was made a newer one may have come, which another job copies.
        with self._lock.inner:
            if self._waiting.get(key) is waiting:
                del self._waiting[key]

    def _give_up(self, key: str) -> None:
        """Let nothing of *key* wait; what comes next is looked at anew."""
        with self._lock.inner:
            self._waiting.pop(key, None)
            self.recent.pop(key, None)
            if not self._waiting:
                self._local.sign().hide()
