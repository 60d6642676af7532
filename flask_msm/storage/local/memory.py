"""Local storage in a cache that cannot list its keys: with an index of what is in it."""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from flask_msm.process.locks import ProcessLock
from flask_msm.record.keys import digest_of
from flask_msm.storage.store import LocalStorageError

from .cache import Limits, Usage, as_bytes, reason_of


if TYPE_CHECKING:
    from collections.abc import Container

    from flask_msm.settings.types import CacheLike

    from .locks import KeyLocks


#: Of so many of the oldest sessions one is looked for that the cluster holds by now.
LOOK_AT = 64


class IndexedCache:
    """Any other cachelib cache, with an index of what this process put into it.

    Those in *dirty* are nowhere else: they go last.
    """

    def __init__(
        self, cache: CacheLike, limits: Limits, dirty: Container[str], locks: KeyLocks
    ) -> None:
        self.lost = 0
        self._cache = cache
        self._limits = limits
        self._dirty = dirty
        self._locks = locks
        #: Guards the index.
        self._lock = ProcessLock()
        #: Size and time of expiry (monotonic clock, seconds) by storage key, oldest use first.
        self._index: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: Those that were not dirty when they were stored, oldest use first.
        self._clean: OrderedDict[str, None] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """Return what is stored under *key*."""
        before = self._index.get(key)
        found = as_bytes(self._call(self._cache.get, key))
        with self._lock:
            if found is None:
                # Unless it was stored again meanwhile: reading holds no lock of a session.
                if self._index.get(key) is before:
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
        with self._lock:
            self._forget(key)
            self._index[key] = len(data), time.monotonic() + ttl
            self._size += len(data)
            if (digest_of(key) or "") not in self._dirty:
                self._clean[key] = None

    def evict(self) -> None:
        """Remove what was used longest ago, as long as there is too much."""
        for _ in range(len(self._index)):
            with self._lock:
                if not self._is_too_much():
                    return
                key = self._least_needed()
                seen = self._index[key]
            with self._locks.hold(key, wait=False) as held:
                if not held:
                    return  # the next change goes on
                if self._is_to_go(key, seen):
                    self._call(self._cache.delete, key)

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
            expired = [(key, one) for key, one in self._index.items() if one[1] <= now]
            lost, self.lost = self.lost, 0
        for key, seen in expired:
            with self._locks.hold(key, wait=False) as held:
                # Another process may have stored it again: only the cache knows.
                if held and self._call(self._cache.get, key) is None:
                    with self._lock:
                        if self._index.get(key) is not seen:
                            continue
                        self._forget(key)
                    self._call(self._cache.delete, key)
        return lost

    def trimmed_ago(self) -> float:
        """Return infinity: each process does it, for its own index."""
        return inf

    def usage(self) -> Usage:
        """Return how much is stored."""
        return Usage(len(self._index), self._size)

    def _is_too_much(self) -> bool:
        return len(self._index) > self._limits.sessions or self._size > self._limits.size

    def _least_needed(self) -> str:
        for key in islice(self._index, LOOK_AT):
            if not self._is_dirty(key):
                return key
        return next(iter(self._clean or self._index))

    def _is_to_go(self, key: str, seen: tuple[int, float]) -> bool:
        """Take *key* out of the index, unless something happened since it was *seen* there."""
        with self._lock:
            if self._index.get(key) is not seen or not self._is_too_much():
                return False
            is_dirty = self._is_dirty(key)
            if is_dirty and key in self._clean:
                # Another process has written it: those that the cluster holds go first.
                del self._clean[key]
                return False
            self._forget(key)
            self.lost += is_dirty
            return True

    def _is_dirty(self, key: str) -> bool:
        return (digest_of(key) or "") in self._dirty

    def _forget(self, key: str) -> None:
        size, _ = self._index.pop(key, (0, 0.0))
        self._clean.pop(key, None)
        self._size -= size

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Exception as error:  # noqa: BLE001  (a cache of the user may raise what it wants)
            raise LocalStorageError(f"the cache raised {reason_of(error)}") from None
