"""What local storage takes from cachelib; the only module that imports it.

cachelib cannot list its keys, counts its files wrongly when several processes write, and throws
out what expires soonest. So it is given no limits here, and what is too much is removed by the
limits of the sessions: those the cluster holds as well first, those only this host has last.
"""

from __future__ import annotations

import os
import struct
import threading
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any

from cachelib import FileSystemCache, SimpleCache

from flask_msm.process.clock import ender, over_before
from flask_msm.record.keys import digest_of


if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from flask_msm.process.clock import Clock
    from flask_msm.settings.types import CacheLike


#: Files are read in parts of so many bytes.
CHUNK = 64 * 1024


def is_private(cache: CacheLike) -> bool:
    """Return whether every process has its own *cache*: what one puts there no other one sees."""
    return isinstance(cache, SimpleCache)


def memory_cache(sessions: int) -> SimpleCache:
    """Return a cache in the memory of this process.

    It has to take *sessions* at least; the caller enforces the limit.
    """
    # The time-out is always given with the value; 0 would mean "first to be thrown out".
    return _Memory(threshold=2 * sessions + 100, default_timeout=1)


class _Memory(SimpleCache):
    """A ``SimpleCache`` with the monotonic clock, which is never set."""

    def get(self, key: str) -> Any:
        expires_at, value = self._cache.get(key, (0, b""))
        return self.serializer.loads(value) if expires_at > monotonic() else None

    def _normalize_timeout(self, timeout: int | dt.timedelta | None) -> int:
        return int(monotonic()) + super(SimpleCache, self)._normalize_timeout(timeout)

    def _remove_expired(self, now: float) -> None:  # noqa: ARG002  (cachelib's signature)
        super()._remove_expired(monotonic())


#: In front of what is in a file: when it expires, seconds since the epoch.
_EXPIRY = struct.Struct("I")
_LATEST = 2**32 - 1
#: Nanoseconds of the time of a file which shows that its seconds are when it expires. Written in
#: microseconds, the finest some file systems have; where they have none files are opened.
_STAMP = 777_777_000
_SECOND = 10**9


class Files(FileSystemCache):
    """A ``FileSystemCache`` of bytes that reports its failures, and never makes a request wait.

    cachelib's own ``set`` logs to the root logger and leaves its unfinished file behind when the
    disk is full, and it repeats what is forbidden for up to sixteen seconds. Its ``get``
    reports a file that cannot be read as missing. What lies in the folder is never unpickled. And
    its clock is that of the machine alone, which may be wrong.
    """

    unfinished = FileSystemCache._fs_transaction_suffix  # noqa: SLF001  (its own subclass)

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._now = ender(clock)
        #: Returns the time before which files are not needed any more, seconds since the epoch.
        self.over_before = over_before(clock)
        super().__init__(str(folder), threshold=0, mode=0o600)

    def _normalize_timeout(self, timeout: int | dt.timedelta | None) -> int:
        return int(self._now()) + super(FileSystemCache, self)._normalize_timeout(timeout)

    def _get_filename(self, key: str) -> str:
        """Name the file of a session by the hash in its key, so that the folder can be listed."""
        return f"{self._path}/{digest_of(key) or sha256(key.encode()).hexdigest()}"

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*, or ``b""`` if it is damaged.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            descriptor = os.open(self._get_filename(key), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            data = _read(descriptor)
        finally:
            os.close(descriptor)
        if len(data) < _EXPIRY.size:
            return b""  # there is something, but it is damaged
        is_over = _EXPIRY.unpack_from(data)[0] < self.over_before()
        return None if is_over else data[_EXPIRY.size :]

    def set(
        self,
        key: str,
        value: Any,
        timeout: int | dt.timedelta | None = None,
        mgmt_element: bool = False,  # noqa: ARG002, FBT001, FBT002  (cachelib's signature)
    ) -> bool:
        """Store *value*; the file is replaced whole or not at all.

        Raises:
            OSError: The file cannot be written.
        """
        path = self._get_filename(key)
        own = f"{path}.{os.getpid()}.{threading.get_ident()}{self.unfinished}"
        # Which counts from the whole second before now.
        expires_at = min(self._normalize_timeout(timeout) + 1, _LATEST)
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            try:
                _write(descriptor, _EXPIRY.pack(expires_at) + value)
                with suppress(OSError):  # then it is opened to see when it expires
                    stamp = expires_at * _SECOND + _STAMP
                    os.utime(descriptor, ns=(stamp, stamp))
            finally:
                os.close(descriptor)
            os.replace(own, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(own)
            raise
        return True

    def delete(self, key: str, mgmt_element: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Remove the file of *key*, if there is one."""
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


def may_have_expired(path: str, changed_at: int, over_before: float) -> bool:
    """Return ``False`` if the file is needed yet, as a rule without opening it.

    *changed_at* is its time of change, in nanoseconds.
    """
    seconds, rest = divmod(changed_at, _SECOND)
    return seconds < over_before if rest == _STAMP else has_expired(path, over_before)


def has_expired(path: str, over_before: float) -> bool:
    """Return whether the file is not needed any more."""
    with open(path, "rb") as file:
        head = file.read(_EXPIRY.size)
    return len(head) < _EXPIRY.size or int(_EXPIRY.unpack(head)[0]) < over_before
