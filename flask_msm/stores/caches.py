"""The caches local storage is kept in; the only module that imports cachelib.

cachelib cannot list its keys, counts its files wrongly when several processes write, and throws
out what expires soonest. So it is given no limits here, and what is too much is removed by the
limits of the sessions: those the cluster holds as well first, those only this host has last.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cachelib import FileSystemCache, SimpleCache

from flask_msm.locks import ProcessLock
from flask_msm.record.keys import digest_of, is_digest

from .ports import LocalStorageError


if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Container

    from flask_msm.settings_parsing import CacheLike


#: A file that was being written for longer than this belongs to a process that died, seconds.
ABANDONED = 60.0
#: Files are read in parts of so many bytes.
CHUNK = 64 * 1024
#: Of so many of the oldest sessions one is looked for that the cluster holds by now.
LOOK_AT = 64


class Limits(NamedTuple):
    """How much local storage may hold.

    Attributes:
        sessions: Most sessions.
        size: Most bytes.
    """

    sessions: int
    size: int


class Usage(NamedTuple):
    """How much local storage holds.

    Attributes:
        sessions: Number of sessions.
        size: Bytes.
    """

    sessions: int
    size: int


class RecordCache(Protocol):
    """What local storage needs of a cache. All methods may raise ``LocalStorageError``."""

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*."""
        ...

    def set(self, key: str, data: bytes, ttl: int) -> None:
        """Store *data* for *ttl* seconds."""
        ...

    def delete(self, key: str) -> None:
        """Remove *key*."""
        ...

    def digests(self) -> list[str]:
        """Return the hashes in the storage keys of all sessions in the cache."""
        ...

    def trim(self) -> int:
        """Remove what has expired and what is too much; return how many dirty sessions went."""
        ...

    def usage(self) -> Usage:
        """Return how much is stored, as of the last ``trim``, or now if that costs nothing."""
        ...


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
        self._files = _Files(str(folder), threshold=0, mode=0o600)
        self._usage = Usage(0, 0)

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*."""
        try:
            return _bytes(self._files.get(key))
        except OSError as error:
            raise LocalStorageError(_reason(error)) from None

    def set(self, key: str, data: bytes, ttl: int) -> None:
        """Store *data*; the file is replaced whole or not at all."""
        try:
            self._files.set(key, data, timeout=ttl)
        except (OSError, struct.error) as error:
            raise LocalStorageError(_reason(error)) from None

    def delete(self, key: str) -> None:
        """Remove *key*."""
        try:
            self._files.delete(key)
        except OSError as error:
            raise LocalStorageError(_reason(error)) from None

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
                elif _has_expired(entry.path, now):
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
            raise LocalStorageError(_reason(error)) from None

    def _remove_abandoned(self, entry: os.DirEntry[str], now: float) -> None:
        if entry.name.endswith(_Files.unfinished) and now - entry.stat().st_mtime > ABANDONED:
            os.unlink(entry.path)


class IndexedCache:
    """Any other cachelib cache, with an index of what this process put into it.

    Args:
        cache: Where bytes are kept.
        limits: How much may be kept; beyond, what was used longest ago goes at once.
        dirty: Hashes of sessions that are nowhere else: they go last.

    Attributes:
        lost: How many dirty sessions had to go.
    """

    def __init__(self, cache: CacheLike, limits: Limits, dirty: Container[str]) -> None:
        self.lost = 0
        self._cache = cache
        self._limits = limits
        self._dirty = dirty
        self._lock = ProcessLock()
        #: Size and time of expiry (monotonic clock, seconds) by storage key, oldest use first.
        self._index: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: Those that were not dirty when they were stored, oldest use first.
        self._clean: OrderedDict[str, None] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*."""
        found = _bytes(self._call(self._cache.get, key))
        with self._lock:
            if found is None:
                self._forget(key)
            elif key in self._index:
                self._index.move_to_end(key)
                if key in self._clean:
                    self._clean.move_to_end(key)
        return found

    def set(self, key: str, data: bytes, ttl: int) -> None:
        """Store *data*."""
        if self._call(self._cache.set, key, data, timeout=ttl) is False:
            raise LocalStorageError("the cache refused to store it")
        gone = []
        with self._lock:
            self._forget(key)
            self._index[key] = len(data), time.monotonic() + ttl
            self._size += len(data)
            if (digest_of(key) or "") not in self._dirty:
                self._clean[key] = None
            while len(self._index) > self._limits.sessions or self._size > self._limits.size:
                gone.append(self._least_needed())
                self._forget(gone[-1])
        for other in gone:
            self._call(self._cache.delete, other)

    def delete(self, key: str) -> None:
        """Remove *key*."""
        self._call(self._cache.delete, key)
        with self._lock:
            self._forget(key)

    def digests(self) -> list[str]:
        """Return the hashes in the storage keys of all sessions this process put there."""
        with self._lock:
            keys = list(self._index)
        return [digest for digest in map(digest_of, keys) if digest]

    def trim(self) -> int:
        """Remove what has expired; what is too much never stays."""
        now = time.monotonic()
        with self._lock:
            gone = [key for key, (_, expiry) in self._index.items() if expiry <= now]
            for key in gone:
                self._forget(key)
            lost, self.lost = self.lost, 0
        for key in gone:
            self._call(self._cache.delete, key)
        return lost

    def usage(self) -> Usage:
        """Return how much is stored."""
        return Usage(len(self._index), self._size)

    def _least_needed(self) -> str:
        for key in islice(self._index, LOOK_AT):
            if (digest_of(key) or "") not in self._dirty:
                return key
        if self._clean:
            return next(iter(self._clean))
        self.lost += 1
        return next(iter(self._index))

    def _forget(self, key: str) -> None:
        size, _ = self._index.pop(key, (0, 0.0))
        self._clean.pop(key, None)
        self._size -= size

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Exception as error:  # noqa: BLE001  (a cache of the user may raise what it wants)
            raise LocalStorageError(f"the cache raised {_reason(error)}") from None


def is_private(cache: CacheLike) -> bool:
    """Return whether every process has its own *cache*: what one puts there no other one sees."""
    return isinstance(cache, SimpleCache)


def memory_cache(sessions: int) -> SimpleCache:
    """Return a cache in the memory of this process.

    Args:
        sessions: How many it has to take at least; who uses it sees to the limit.
    """
    # The time-out is always given with the value; 0 would mean "first to be thrown out".
    return SimpleCache(threshold=2 * sessions + 100, default_timeout=1)


#: In front of what is in a file: when it expires, seconds since the epoch.
_EXPIRY = struct.Struct("I")


class _Files(FileSystemCache):
    """A ``FileSystemCache`` of bytes that says when it fails, and never makes a request wait.

    cachelib's own ``set`` logs to the root logger and leaves its unfinished file behind when the
    disk is full, and it repeats what is forbidden for up to sixteen seconds. Its ``get`` says of a
    file that cannot be read that it is not there. What lies in the folder is never unpickled.
    """

    unfinished = FileSystemCache._fs_transaction_suffix  # noqa: SLF001  (its own subclass)

    def _get_filename(self, key: str) -> str:
        """Name the file of a session by the hash in its key, so that the folder can be listed."""
        return f"{self._path}/{digest_of(key) or sha256(key.encode()).hexdigest()}"

    def get(self, key: str) -> bytes | None:
        try:
            descriptor = os.open(self._get_filename(key), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            data = _read(descriptor)
        finally:
            os.close(descriptor)
        if len(data) < _EXPIRY.size:
            return b""  # there is something, and nobody can read it
        return data[_EXPIRY.size :] if _EXPIRY.unpack_from(data)[0] >= time.time() else None

    def set(
        self,
        key: str,
        value: Any,
        timeout: int | dt.timedelta | None = None,
        mgmt_element: bool = False,  # noqa: ARG002, FBT001, FBT002  (cachelib's signature)
    ) -> bool:
        path = self._get_filename(key)
        own = f"{path}.{os.getpid()}.{threading.get_ident()}{self.unfinished}"
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            try:
                _write(descriptor, struct.pack("I", self._normalize_timeout(timeout)) + value)
            finally:
                os.close(descriptor)
            os.replace(own, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(own)
            raise
        return True

    def delete(self, key: str, mgmt_element: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002
        with suppress(FileNotFoundError):
            os.unlink(self._get_filename(key))
        return True


def _read(descriptor: int) -> bytes:
    # Nearly always one part; the file objects of Python cost more than the rest of a read.
    data = part = os.read(descriptor, CHUNK)
    while len(part) == CHUNK:
        data += (part := os.read(descriptor, CHUNK))
    return data


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _has_expired(path: str, now: float) -> bool:
    with open(path, "rb") as file:
        head = file.read(_EXPIRY.size)
    return len(head) < _EXPIRY.size or int(_EXPIRY.unpack(head)[0]) < now


def _bytes(found: object) -> bytes | None:
    # Whatever else lies under a key of ours is not ours.
    return found if isinstance(found, bytes) else None


def _reason(error: Exception) -> str:
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
