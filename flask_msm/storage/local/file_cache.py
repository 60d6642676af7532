"""Local storage in a folder: one file for each session."""

from __future__ import annotations

import os
import struct
import time
from array import array
from contextlib import suppress
from math import inf
from string import hexdigits
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flask_msm.record.keys import DIGEST_LENGTH, is_digest
from flask_msm.storage.store import LocalStorageError

from .cache import Limits, Usage, as_bytes, reason_of
from .files import Files, has_expired, may_have_expired


if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from flask_msm.process.clock import Clock

    from .locks import KeyLocks


#: A file that was being written for longer than this belongs to a process that died, seconds.
ABANDONED = 60.0
#: What the worker that trims does, and notes of it for all: sessions, and their bytes.
TRIM = "trim"
_NOTE = struct.Struct("QQ")
#: Size of the hash in a storage key, bytes.
_DIGEST = DIGEST_LENGTH // 2


class _File(NamedTuple):
    """A session in the folder, as it was when the folder was listed.

    *written_at* is when the file became what it is, for its other time is when it expires; *size*
    is what the disk gives away for it; *inode* is another one when it was written anew.
    """

    written_at: int
    size: int
    digest: str
    inode: int


class _Files:
    """Files that were listed, 44 bytes each: a worker shall not grow by what its host keeps."""

    def __init__(self) -> None:
        self._written_at, self._sizes, self._inodes = array("q"), array("Q"), array("Q")
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, file: _File) -> None:
        """Take in a file."""
        self._digests += bytes.fromhex(file.digest)
        self._written_at.append(file.written_at)
        self._sizes.append(file.size)
        self._inodes.append(file.inode)

    def in_turn(self, marked: Container[str]) -> Iterator[tuple[_File, bool]]:
        """Yield all files, those written longest ago first, and behind them those *marked*."""
        order = sorted(range(len(self)), key=self._written_at.__getitem__)
        for is_marked in (False, True):
            for place in order:
                start = place * _DIGEST
                digest = self._digests[start : start + _DIGEST].hex()
                if (digest in marked) is is_marked:
                    written_at, size = self._written_at[place], self._sizes[place]
                    yield _File(written_at, size, digest, self._inodes[place]), is_marked


class Marks(Protocol):
    """Which sessions are nowhere else."""

    def __contains__(self, digest: object) -> bool:
        """Return whether a session is nowhere else."""
        ...

    def marked(self) -> Container[str]:
        """Return what answers that for all sessions, as it is now."""
        ...


class FileCache:
    """A folder that the workers of a host share: one file for each session.

    Those in *dirty* are nowhere else: they go last.
    """

    def __init__(
        self, folder: Path, limits: Limits, dirty: Marks, locks: KeyLocks, clock: Clock
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._dirty = dirty
        self._locks = locks
        self._files = Files(folder, clock)
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
        kept = _Files()
        over_before = self._files.over_before()
        size = 0
        for entry in self._entries():
            try:
                if not is_digest(entry.name):
                    self._remove_abandoned(entry)
                    continue
                stat = entry.stat()
                if may_have_expired(entry.path, stat.st_mtime_ns, over_before):
                    self._remove_expired(entry)
                    continue
                file = _seen(entry.name, stat)
                size += file.size
                kept.add(file)
            except (OSError, ValueError):
                continue  # another worker was faster, or it is no file of ours
        sessions, lost = len(kept), 0
        if sessions > limits.sessions or size > limits.size:
            for file, is_dirty in kept.in_turn(self._dirty.marked()):
                if sessions <= limits.sessions * 0.9 and size <= limits.size * 0.9:
                    break
                if self._remove(file, is_dirty=is_dirty):
                    sessions, size, lost = sessions - 1, size - file.size, lost + is_dirty
        self._usage = Usage(sessions, size)
        self._locks.note(TRIM, _NOTE.pack(sessions, size))
        return lost

    def trimmed_ago(self) -> float:
        """Return how long ago a worker of this host did that for all, seconds."""
        noted = self._locks.noted(TRIM, _NOTE.size)
        ago = inf if noted is None else time.time() - noted[0]
        return ago if ago >= 0 else inf  # the clock was set back

    def usage(self) -> Usage:
        """Return how much there was at the last ``trim`` by any worker of this host."""
        noted = self._locks.noted(TRIM, _NOTE.size)
        return Usage(*_NOTE.unpack(noted[1])) if noted else self._usage

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as entries:
                yield from entries
        except OSError as error:
            raise LocalStorageError(reason_of(error)) from None

    def _remove(self, file: _File, *, is_dirty: bool) -> bool:
        """Remove *file*, if it and its mark are still what was seen; return whether it went."""
        path = os.path.join(self._folder, file.digest)
        with self._locks.hold(file.digest, wait=False) as held, suppress(OSError):
            is_same = held and _seen(file.digest, os.stat(path)) == file
            if is_same and (file.digest in self._dirty) is is_dirty:
                os.unlink(path)
                return True
        return False

    def _remove_expired(self, entry: os.DirEntry[str]) -> None:
        with self._locks.hold(entry.name, wait=False) as held:
            if held and has_expired(entry.path, self._files.over_before()):
                os.unlink(entry.path)

    def _remove_abandoned(self, entry: os.DirEntry[str]) -> None:
        name = entry.name.split(".")[0]
        if not entry.name.endswith(Files.unfinished) or name.strip(hexdigits):
            return  # no file of ours: sessions and notes have hashes for names
        stat = entry.stat()
        # The one may be when it expires already.
        if time.time() - min(stat.st_mtime, stat.st_ctime) <= ABANDONED:
            return
        # A process that was merely stopped holds the lock; its file is not abandoned.
        with self._locks.hold(name, wait=False) as held:
            if held:
                os.unlink(entry.path)


def _seen(digest: str, stat: os.stat_result) -> _File:
    # What the disk really gives away for it, not the length of the file.
    return _File(stat.st_ctime_ns, max(stat.st_blocks * 512, stat.st_size), digest, stat.st_ino)
