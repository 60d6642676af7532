"""What this worker acknowledged and nodes do not have yet: a file that only grows, for each turn.

A change is appended before the response: one ``write``, no ``fsync``, for it is the death of the
worker that must not lose it. Behind the response it goes to the nodes, and when all of a file did,
the file goes.

The worker holds a lock on its files, which the kernel frees when it dies: that is how others find
out (``journal_takeover.py``). A worker that is merely stopped keeps it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.process.forks import forget_in_children


if TYPE_CHECKING:
    from pathlib import Path


#: What the name of a journal ends with; while it is made it has another one.
SUFFIX, UNFINISHED = ".changes", ".new"
#: Most bytes in all journals of one worker; then changes go another way until some are handed over.
MOST_BYTES = 4 * 1024 * 1024


class Turned:
    """A journal that is not appended to any more."""

    __slots__ = ("file", "path", "size")

    def __init__(self, file: int, path: Path, size: int) -> None:
        self.file = file
        self.path = path
        self.size = size


class WorkerJournal:
    """The journals of this process. One thread at a time may append.

    Attributes:
        size: How many bytes are in all of them.
        failures: How many changes could not be appended although there was room.
    """

    def __init__(self, folder: Path, *, most: int = MOST_BYTES) -> None:
        self.size = 0
        self.failures = 0
        self._folder = folder
        self._most = most
        self._now: Turned | None = None
        self._turned: list[Turned] = []
        forget_in_children(self)

    def append(self, frame: bytes) -> bool:
        """Append *frame*; return whether all of it is there."""
        if self.size + len(frame) > self._most:
            return False
        now = self._now or self._begin()
        if now is None:
            self.failures += 1
            return False
        try:
            written = os.write(now.file, frame)
        except OSError:
            written = 0
        if written == len(frame):
            now.size += written
            self.size += written
            return True
        self.failures += 1
        # What is torn must stay the last of its file.
        try:
            os.ftruncate(now.file, now.size)
        except OSError:
            self.turn()
        return False

    def turn(self) -> list[Turned]:
        """Begin another file with the next change; return those that wait to be removed."""
        if self._now is not None:
            self._turned.append(self._now)
            self._now = None
        return list(self._turned)

    def remove(self, turned: list[Turned]) -> None:
        """Remove journals: all that is in them is elsewhere by now."""
        for one in turned:
            if one in self._turned:
                self._turned.remove(one)
                self.size -= one.size
                # First the name: what has one and no lock is taken over.
                with suppress(OSError):
                    one.path.unlink()
                os.close(one.file)

    def _begin(self) -> Turned | None:
        """Make a file, locked before it has a name that others look at."""
        name = secrets.token_hex(8)
        unfinished, path = self._folder / f"{name}{UNFINISHED}", self._folder / f"{name}{SUFFIX}"
        try:
            file = os.open(
                unfinished, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unfinished.rename(path)
        except OSError:
            os.close(file)
            with suppress(OSError):
                unfinished.unlink()
            return None
        self._now = Turned(file, path, 0)
        return self._now

    def forget(self) -> None:
        """Be without any file, in a forked child: they are its parent's, and so is their lock."""
        mine = [*self._turned, *([self._now] if self._now else [])]
        self._turned, self._now, self.size = [], None, 0
        for one in mine:
            # A child that keeps it open would keep the lock when the parent dies.
            with suppress(OSError):
                os.close(one.file)
