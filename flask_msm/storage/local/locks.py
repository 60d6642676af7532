"""Locks around reading, joining and writing one session, held by all workers of a host."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


#: One of many, so that sessions hardly ever wait for each other.
STRIPES = 64
#: Time in seconds to wait for another process: on a busy machine it may not run for a while, and a
#: write beside it can cost a change. One that is stopped in the middle must not stop all others.
PATIENCE = 1.0
#: For so many seconds after a wait in vain, waits for that lock are shorter: as long as this.
RESIGNED, SHORT_PATIENCE = 10.0, 0.1
_PAUSE = 0.001


class KeyLocks:
    """Locks by storage key.

    Without *folder* no other process uses the storage.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._locks = [ProcessLock() for _ in range(STRIPES)]
        self._files: dict[str, int] = {}
        #: By stripe: until when waits are short, monotonic time in seconds.
        self._resigned = [0.0] * STRIPES
        self._pid = 0

    @contextmanager
    def hold(
        self, key: str, *, wait: bool = True, unless: Callable[[], bool] | None = None
    ) -> Iterator[bool]:
        """For a ``with`` block: hold the lock of *key*; yields whether it is held.

        It is not when another process keeps it for too long, or lock files cannot be opened. A
        change is written all the same, for a stopped process must not stop all others; but nothing
        is deleted then, for what is deleted may be what another process is writing.

        Args:
            key: A storage key, or the hash in it.
            wait: Whether to wait for another process. Threads of this process always wait for each
                other, so the locks of two sessions must not be held at once.
            unless: Returns whether the lock is not needed any more, asked after the other threads.
        """
        stripe = _stripe(key)
        with self._locks[stripe]:
            if unless is not None and unless():
                yield False
                return
            if self._folder is None:
                yield True
                return
            file = self._file(f"{stripe:02}")
            locked = file is not None and self._lock(file, stripe, wait=wait)
            try:
                yield locked
            finally:
                if file is not None and locked:
                    fcntl.flock(file, fcntl.LOCK_UN)

    def renew(self) -> None:
        """See that lock files are those that others use: folders of temporary files are cleaned."""
        for stripe, lock in enumerate(self._locks):
            name = f"{stripe:02}"
            if name in self._files:
                with lock:
                    self._close_if_removed(name)

    @contextmanager
    def alone(self, task: str) -> Iterator[bool]:
        """For a ``with`` block: whether no other process of the host is at *task*."""
        file = self._file(task) if self._folder else None
        if file is None:
            yield True
            return
        locked = _lock(file, 0.0)
        try:
            yield locked
        finally:
            if locked:
                fcntl.flock(file, fcntl.LOCK_UN)

    def note(self, task: str, text: bytes) -> None:
        """Note on the host that *task* was done now, and *text* of it, always as long."""
        file = self._file(task) if self._folder else None
        if file is not None:
            with suppress(OSError):
                os.pwrite(file, text, 0)
                # The time of this process: a folder may be on a machine that has another one.
                os.utime(file, (now := time.time(), now))

    def noted(self, task: str, size: int) -> tuple[float, bytes] | None:
        """Return when a worker of the host noted *task*, and its *size* bytes of text.

        The time is in seconds since the epoch. Without a folder, or a note, there is ``None``.
        """
        file = self._file(task) if self._folder else None
        if file is None:
            return None
        try:
            text, found = os.pread(file, size, 0), os.fstat(file)
        except OSError:
            return None
        return (found.st_mtime, text) if len(text) == size else None

    def _close_if_removed(self, name: str) -> None:
        file = self._files[name]
        path = os.path.join(str(self._folder), name)
        with suppress(OSError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                return
        del self._files[name]
        os.close(file)

    def _lock(self, file: int, stripe: int, *, wait: bool) -> bool:
        if not wait:
            return _lock(file, 0.0)
        now = time.monotonic()
        patient = now >= self._resigned[stripe]
        locked = _lock(file, now + (PATIENCE if patient else SHORT_PATIENCE))
        if patient and not locked:
            self._resigned[stripe] = time.monotonic() + RESIGNED
        return locked

    def _file(self, name: str) -> int | None:
        """Return a lock file that this process opened itself: a child shares its parent's locks."""
        if self._pid != os.getpid():
            self._files, self._pid = {}, os.getpid()
        file = self._files.get(name)
        if file is None:
            with suppress(OSError):
                path = os.path.join(str(self._folder), name)
                made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                file = self._files.setdefault(name, made)
                if file != made:
                    os.close(made)  # another thread was faster
        return file


def _stripe(key: str) -> int:
    try:
        return int(key[-2:], 16) % STRIPES
    except ValueError:
        return 0  # what workers share: its name ends with no hash


def _lock(file: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        except OSError:
            return False
        else:
            return True
