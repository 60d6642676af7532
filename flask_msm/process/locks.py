"""A lock that survives a fork: a child must not wait for a thread that only its parent has."""

from __future__ import annotations

import os
import threading
import weakref


class ProcessLock:
    """A lock that a forked process finds free, also if it was held in its parent.

    What it guards is replaced as a whole, or harmless when half done; anything else needs more.
    In the child, ``release`` by a holder from before the fork (the thread that forked, every
    greenlet) does nothing: the lock was replaced.

    Attributes:
        inner: The lock itself, for what must not cost a call of a function: it is released by the
            same reference that took it, and no other method is used beside it.
    """

    __slots__ = ("__weakref__", "_left", "_owner", "inner")

    def __init__(self) -> None:
        self.inner = threading.Lock()
        self._owner = 0
        self._left = 0
        _locks.add(self)

    def acquire(self, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; return whether that was possible (within *timeout* seconds, if given)."""
        taken = self.inner.acquire(blocking, timeout)
        if taken:
            self._owner = threading.get_ident()
            if self._left == self._owner:
                # A new thread with the id of the old holder, which would have released it first.
                self._left = 0
        return taken

    def release(self, *_exc_info: object) -> None:
        """Give it back."""
        if self._left and self._left == threading.get_ident():
            self._left = 0
        else:
            self.inner.release()

    def locked(self) -> bool:
        """Return whether it is held."""
        return self.inner.locked()

    def renew(self) -> None:
        """Replace the lock by a free one, in a forked child."""
        self._left = self._owner if self.inner.locked() else 0
        self.inner = threading.Lock()

    __enter__, __exit__ = acquire, release


_locks: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_after_fork)
