"""Local storage in a folder: one file for each session."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.record.keys import is_digest
from flask_msm.storage.store import LocalStorageError

from .cache import Limits, Usage, as_bytes, reason_of
from .files import Files, has_expired


if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from .locks import KeyLocks


#: A file that was being written for longer than this belongs to a process that died, seconds.
ABANDONED = 60.0


class _File(NamedTuple):
    """A session in the folder, as it was when the folder was listed; sorted, the first goes first.

    *size* is what the disk gives away for it; *inode* is another one when it was written anew.
    """

    is_dirty: bool
    written_at: int
    size: int
    digest: str
    inode: int


class FileCache:
    """A folder that the workers of a host share: one file for each session.

    Those in *dirty* are nowhere else: they go last.
    """

    def __init__(
        self, folder: Path, limits: Limits, dirty: Container[str], locks: KeyLocks
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._dirty = dirty
        self._locks = locks
        self._files = Files(str(folder), threshold=0, mode=0o600)
        self._usage = Usage(0, 0)

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*."""
        try:
            return as_bytes(self._files.get(key))
        except OSError as error:
            raise LocalStorageError(reason_of(error)) from None

    def set(self, key: str, data: bytes, ttl: int) -> None:
        """Store *data*; the file is replaced whole or not at all."""
        try:
            self._files.set(key, data, timeout=ttl)
        except (OSError, struct.error) as error:
            raise LocalStorageError(reason_of(error)) from None

    def delete(self, key: str) -> None:
        """Remove *key*."""
        try:
            self._files.delete(key)
        except OSError as error:
            raise LocalStorageError(reason_of(error)) from None

    def digests(self) -> list[str]:
        """Return the hashes in the storage keys of all sessions in the folder."""
        return [entry.name for entry in self._entries() if is_digest(entry.name)]

    def evict(self) -> None:
        """Do nothing: counting files takes too long for a request; see ``trim``."""

    def trim(self) -> int:
        """Remove what has expired, then what was written longest ago."""
        limits = self._limits
        kept: list[_File] = []
        now = time.time()
        size = 0
        for entry in self._entries():
            try:
                if not is_digest(entry.name):
                    self._remove_abandoned(entry, now)
                elif has_expired(entry.path, now):
                    self._remove_expired(entry)
                else:
                    file = self._look(entry.name, entry.path)
                    size += file.size
                    kept.append(file)
            except (OSError, ValueError):
                continue  # another worker was faster, or it is no file of ours
        sessions, lost = len(kept), 0
        if sessions > limits.sessions or size > limits.size:
            kept.sort()
            for file in kept:
                if sessions <= limits.sessions * 0.9 and size <= limits.size * 0.9:
                    break
                if self._remove(file):
                    sessions, size, lost = sessions - 1, size - file.size, lost + file.is_dirty
        self._usage = Usage(sessions, size)
        return lost

    def usage(self) -> Usage:
        """Return how much there was at the last ``trim``."""
        return self._usage

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as entries:
                yield from entries
        except OSError as error:
            raise LocalStorageError(reason_of(error)) from None

    def _look(self, digest: str, path: str) -> _File:
        stat = os.stat(path)
        # What the disk really gives away for it, not the length of the file.
        taken = max(stat.st_blocks * 512, stat.st_size)
        return _File(digest in self._dirty, stat.st_mtime_ns, taken, digest, stat.st_ino)

    def _remove(self, file: _File) -> bool:
        """Remove *file*, if it is still what was seen; return whether it went."""
        path = os.path.join(self._folder, file.digest)
        with self._locks.hold(file.digest, wait=False) as held, suppress(OSError):
            if held and self._look(file.digest, path) == file:
                os.unlink(path)
                return True
        return False

    def _remove_expired(self, entry: os.DirEntry[str]) -> None:
        with self._locks.hold(entry.name, wait=False) as held:
            if held and has_expired(entry.path, time.time()):
                os.unlink(entry.path)

    def _remove_abandoned(self, entry: os.DirEntry[str], now: float) -> None:
        if not entry.name.endswith(Files.unfinished):
            return
        if now - entry.stat().st_mtime <= ABANDONED:
            return
        # A process that was merely stopped holds the lock; its file is not abandoned.
        with self._locks.hold(entry.name.split(".")[0], wait=False) as held:
            if held:
                os.unlink(entry.path)
