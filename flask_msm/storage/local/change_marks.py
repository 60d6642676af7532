"""Marks on sessions of this host that changed, for workers that have them in memory.

A worker shows what it has in memory without looking at local storage. What the browser has seen
bounds how old that may be, but two workers that change a session at once each know a half, and a
browser whose session ended shows no newer version. So who changes a session marks it, and who has
it in memory compares the marks: a few bytes of a file that is mapped into its memory.

There is a row of marks for each group of sessions, and in it one for each worker. Were there one
for all of them, two workers could mark at once and the second would miss the first. A worker keeps
the number of its mark by a lock; all that keep nothing in memory share the first one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.process.forks import forget_in_children


if TYPE_CHECKING:
    from pathlib import Path


#: Sessions are in groups by the last digits of their hash: a change makes workers look at local
#: storage once for each of its group.
ROWS = 4096
#: Workers of a host that may keep sessions in memory, and one more.
LANES = 64
_SIZE = 4
ROW = LANES * _SIZE
_NAME = "marks"
_FLAGS = os.O_CREAT | os.O_CLOEXEC


class ChangeMarks:
    """The marks of a host.

    Args:
        folder: Where the file is; ``None`` when no other process uses the storage.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        #: As a text: each change behind a response opens it.
        self._path = "" if folder is None else str(folder / _NAME)
        self._memory = bytearray(ROWS * _SIZE)
        #: Whether this process wants a mark of its own.
        self._claims = False
        #: The file as it is mapped, and its inode; ``None`` if it is not.
        self._map: mmap.mmap | None = None
        self._inode = 0
        #: Number of the own mark, 0 for none, and the file whose lock keeps it.
        self._lane, self._lock = 0, -1
        #: The last own mark.
        self._mark = 0
        forget_in_children(self)

    def forget(self) -> None:
        """Have no mark of one's own, in a forked child: it is its parent's."""
        if self._lane:
            os.close(self._lock)
        self._lane, self._lock = 0, -1

    def claim(self) -> bool:
        """Have a mark of one's own; return whether that is so."""
        self._claims = True
        if self._folder is None or self._lane:
            return bool(self._lane)
        with suppress(OSError, ValueError):
            self._map = self._mapped(self._folder / _NAME)
            for lane in range(1, LANES):
                if self._take(self._folder / f"lane{lane:02}"):
                    self._lane = lane
                    break
            if self._lane and self._shows(self._folder / _NAME):
                return True
        self.forget()
        self._map = None
        return False

    def seen(self, key: str) -> bytes:
        """Return the marks of *key*: they differ when the session changed, and perhaps otherwise.

        As long as marks cannot be read they are others each time.
        """
        row = int(key[-3:], 16)
        if self._folder is None:
            return bytes(self._memory[row * _SIZE : row * _SIZE + _SIZE])
        marks = self._map
        return os.urandom(_SIZE) if marks is None else marks[row * ROW : row * ROW + ROW]

    def note(self, key: str) -> None:
        """Mark *key*: its session changed on this host, and is not kept in memory here."""
        row, mark = int(key[-3:], 16), os.urandom(_SIZE)
        if self._folder is None:
            self._memory[row * _SIZE : row * _SIZE + _SIZE] = mark
            return
        with suppress(OSError):  # without a file no worker compares
            file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(file, mark, row * ROW)
            finally:
                os.close(file)

    def note_own(self, key: str, seen: bytes) -> bytes | None:
        """Mark *key* as changed by this worker, which keeps it in memory.

        Args:
            key: Storage key.
            seen: The marks as they were before the change.

        Returns:
            What the marks are if no other worker has changed the session since; ``None`` without a
            mark of one's own.
        """
        marks = self._map
        if not self._lane or marks is None:
            return None
        self._mark = (self._mark + 1) % 2 ** (8 * _SIZE)
        at, mark = self._lane * _SIZE, self._mark.to_bytes(_SIZE)
        place = int(key[-3:], 16) * ROW + at
        marks[place : place + _SIZE] = mark
        return seen[:at] + mark + seen[at + _SIZE :]

    def renew(self) -> None:
        """See that these are the files that others use: folders of temporary files are cleaned."""
        if self._folder is None or not self._claims:
            return
        try:
            is_same = (self._folder / _NAME).stat().st_ino == self._inode
            lock = self._folder / f"lane{self._lane:02}"
            is_same = is_same and lock.stat().st_ino == os.fstat(self._lock).st_ino
        except OSError:
            is_same = False
        if not is_same:
            self.forget()
            self.claim()

    def _mapped(self, path: Path) -> mmap.mmap:
        """Map the file with all its room: what is not there cannot be used as memory."""
        file = os.open(path, os.O_RDWR | _FLAGS, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, ROWS * ROW)
            else:
                size = os.fstat(file).st_size
                os.pwrite(file, bytes(ROWS * ROW - size), size)
            self._inode = os.fstat(file).st_ino
            return mmap.mmap(file, ROWS * ROW)
        finally:
            os.close(file)

    def _shows(self, path: Path) -> bool:
        """Return whether the map shows what others write with a system call."""
        # By chance, for the worker that had this mark before may have died after it.
        mark, at = os.urandom(_SIZE), self._lane * _SIZE
        self._mark = int.from_bytes(mark)
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(file, mark, at)
        finally:
            os.close(file)
        return self._map is not None and self._map[at : at + _SIZE] == mark

    def _take(self, path: Path) -> bool:
        """Take the lock of the file at *path*, if it is free."""
        file = -1
        try:
            file = os.open(path, os.O_RDWR | _FLAGS, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if file >= 0:
                os.close(file)
            return False
        self._lock = file
        return True
