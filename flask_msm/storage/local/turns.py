"""Changes of one session that wait for its lock on this host, written together.

Each change of a large session takes as long as reading, sealing and writing all of it. Were they
written one after another, the last of many parallel requests would wait for all of them. So
the thread that gets the lock writes all that waits by then, and the others find their change
written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from flask_msm.storage.store import Rewrite, Saved

    from .sync_state import SyncState


class Turn:
    """One change that waits.

    *saved* is ``None`` while it waits, and when it failed.
    """

    __slots__ = ("error", "limit", "mark", "rewrite", "saved")

    def __init__(self, rewrite: Rewrite, mark: SyncState, limit: int) -> None:
        self.rewrite = rewrite
        self.mark = mark
        self.limit = limit
        self.saved: Saved | None = None
        self.error: Exception | None = None

    @property
    def waits(self) -> bool:
        """Whether it is still to be written."""
        return self.saved is None and self.error is None

    def result(self) -> Saved:
        """Return what became of it, or raise why it failed."""
        if self.error is not None:
            raise self.error
        assert self.saved is not None  # noqa: S101  (asked only when it waits no more)
        return self.saved


class Turns:
    """The changes that wait in this process, by storage key."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Turn]] = {}
        self._lock = ProcessLock()
        self._pid = os.getpid()

    def add(self, key: str, turn: Turn) -> None:
        """Let *turn* wait."""
        with self._lock:
            if self._pid != os.getpid():
                # What waited before a fork is written by the parent.
                self._waiting, self._pid = {}, os.getpid()
            self._waiting.setdefault(key, []).append(turn)

    def take(self, key: str, own: Turn) -> list[Turn]:
        """Return all that waits for *key* in the order in which it came, with *own* among it."""
        with self._lock:
            taken = self._waiting.pop(key, [])
        return taken if own in taken else [*taken, own]

    def leave(self, key: str, turn: Turn) -> None:
        """Remove *turn* from those that wait, served or not."""
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting and turn in waiting:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[key]
