"""Local storage in a cache that cannot list its keys: with an index of what is in it."""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any

from flask_msm.locks import ProcessLock
from flask_msm.record.keys import digest_of

from .ports import LocalStorageError
from .record_cache import Limits, Usage, as_bytes, reason_of


if TYPE_CHECKING:
    from collections.abc import Container

    from flask_msm.settings_parsing import CacheLike


#: Of so many of the oldest sessions one is looked for that the cluster holds by now.
LOOK_AT = 64


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
        found = as_bytes(self._call(self._cache.get, key))
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
            raise LocalStorageError(f"the cache raised {reason_of(error)}") from None
