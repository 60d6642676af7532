"""Copies of recent sessions on this host, made behind the response."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock

from .store import RecordTooLargeError


if TYPE_CHECKING:
    from flask_msm.process.background import Background
    from flask_msm.record.record import Record

    from .local.store import LocalStore


#: So many sessions are remembered as mirrored already; one more look at a forgotten one is cheap.
REMEMBERED = 4096


class Mirror:
    """Sees to it that local storage has what the cluster was seen to hold."""

    def __init__(self, local: LocalStore, background: Background) -> None:
        self.dropped = 0
        self._local = local
        self._background = background
        self._lock = ProcessLock()
        #: Version and renewal of what was mirrored last, by storage key.
        self._recent: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: What is to be copied next, and when it was seen, seconds since the epoch; bounded by what
        #: the background takes.
        self._waiting: dict[str, tuple[Record, float]] = {}
        self._pid = os.getpid()

    def note(self, key: str, record: Record, *, anew: bool = False) -> None:
        """Take note that the cluster holds *record*.

        Args:
            key: Storage key.
            record: What the cluster holds.
            anew: Also when this version was mirrored before: that the cluster was asked counts.
        """
        seen = record.version, record.renewed
        if self._recent.get(key) == seen and not anew:
            return
        with self._lock:
            if self._pid != os.getpid():
                # What waited before a fork is done by the parent.
                self._waiting, self._pid = {}, os.getpid()
            before = self._waiting.get(key)
            if before is None or record.version >= before[0].version:
                self._waiting[key] = record, self._local.now()
            self._recent[key] = seen
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
        # Of a session that waits already only the newest copy is made.
        if before is None and not self._background.put(partial(self._work, key)):
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
        with self._lock:
            self._recent.clear()

    def _work(self, key: str, _: float) -> None:
        # The copy waits until it is written, because a load meanwhile makes it as well. While it is
        # made a newer one may have come, for which no other job was queued.
        while (waiting := self._waiting.get(key)) is not None:
            self._copy(key, waiting)
        # Here only: it takes long, and no request is to wait for it.
        if self._local.is_trim_due():
            self._local.trim()

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
        with self._lock:
            if self._waiting.get(key) is waiting:
                del self._waiting[key]

    def _give_up(self, key: str) -> None:
        """Let nothing of *key* wait without a job; what comes next is looked at anew."""
        with self._lock:
            self._waiting.pop(key, None)
            self._recent.pop(key, None)
