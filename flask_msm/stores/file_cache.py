"""Local storage in a folder: one file for each session."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from flask_msm.record.keys import is_digest

from .caches import Files, has_expired
from .ports import LocalStorageError
from .record_cache import Limits, Usage, as_bytes, reason_of


if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path


#: A file that was being written for longer than this belongs to a process that died, seconds.
ABANDONED = 60.0


class FileCache:
    """A folder that the workers of a host share: one file for each session.

    Args:
        folder: An existing folder that belongs to this user alone.
        limits: How much ``trim`` leaves there.
        dirty: Hashes of sessions that are nowhere else: they go last.
    """

    def __init__(self, folder: Path, limits: Limits, dirty: Container[str]) -> None:
        self._folder = folder
        self._limits = limits
        self._dirty = dirty
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

    def trim(self) -> int:
        """Remove what has expired, then what was written longest ago."""
        limits = self._limits
        kept: list[tuple[bool, float, int, str]] = []
        now = time.time()
        size = 0
        for entry in self._entries():
            try:
                if not is_digest(entry.name):
                    self._remove_abandoned(entry, now)
                elif has_expired(entry.path, now):
                    os.unlink(entry.path)
                else:
                    stat = entry.stat()
                    # What the disk really gives away for it, not the length of the file.
                    taken = max(stat.st_blocks * 512, stat.st_size)
                    size += taken
                    kept.append((entry.name in self._dirty, stat.st_mtime, taken, entry.path))
            except OSError:
                continue  # another worker was faster
        sessions, lost = len(kept), 0
        if sessions > limits.sessions or size > limits.size:
            kept.sort()
            for is_dirty, _, taken, path in kept:
                if sessions <= limits.sessions * 0.9 and size <= limits.size * 0.9:
                    break
                with suppress(OSError):
                    os.unlink(path)
                sessions, size, lost = sessions - 1, size - taken, lost + is_dirty
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

    def _remove_abandoned(self, entry: os.DirEntry[str], now: float) -> None:
        if entry.name.endswith(Files.unfinished) and now - entry.stat().st_mtime > ABANDONED:
            os.unlink(entry.path)
