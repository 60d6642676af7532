"""Sessions in a cachelib cache of this host; so far the memory of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachelib import SimpleCache

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.locks import ProcessLock
from flask_msm.record.record import Record, ttl_for

from .ports import Loaded, Outcome, RecordTooLargeError, Rewrite, Saved


if TYPE_CHECKING:
    from cachelib.base import BaseCache

    from flask_msm.clock import Clock
    from flask_msm.record.envelope import Envelope
    from flask_msm.record.keys import Keyring


LOCKS = 64
#: What local storage is called among the holders of a session.
LOCAL = "local"


class LocalStore:
    """Implements ``SessionStore`` over one cache. The cache is given bytes only.

    Args:
        cache: Where records are kept.
        envelope: Seals and opens records.
        max_size: Largest record, bytes.
        clock: Its wall clock makes times to live.
    """

    def __init__(
        self, cache: BaseCache, *, envelope: Envelope, max_size: int, clock: Clock
    ) -> None:
        self._cache = cache
        self._envelope = envelope
        self._max_size = max_size
        self._clock = clock
        # One of many, so that sessions hardly ever wait for each other.
        self._locks = [ProcessLock() for _ in range(LOCKS)]

    def load(self, key: str, keys: Keyring, *, at_least: int, deadline: float) -> Loaded:  # noqa: ARG002
        """Return the record of *key*."""
        data = self._cache.get(key)
        if data is None:
            return Loaded(Outcome.MISSING, None, {})
        try:
            return Loaded(Outcome.FOUND, self._envelope.open(data, key, keys), {})
        except (CorruptRecordError, UnknownRecordError):
            return Loaded(Outcome.UNKNOWN, None, {})

    def save(
        self,
        key: str,
        keys: Keyring,
        rewrite: Rewrite,
        *,
        known: Loaded | None,  # noqa: ARG002  (what was known may be old: it is read under the lock)
        deadline: float,
    ) -> Saved:
        """Store what *rewrite* makes of the record that is there."""
        with self._locks[hash(key) % LOCKS]:
            loaded = self.load(key, keys, at_least=0, deadline=deadline)
            if loaded.outcome is Outcome.UNKNOWN and not self._may_replace(key, keys):
                return Saved(rewrite(None), frozenset())
            record = rewrite(loaded.record)
            if record != loaded.record:
                self._put(key, keys, record)
        return Saved(record, frozenset({LOCAL}))

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:  # noqa: ARG002
        """Return ``local`` when *key* is here."""
        return (LOCAL,) if self._cache.has(key) else ()

    def _put(self, key: str, keys: Keyring, record: Record) -> None:
        data = self._envelope.seal(record, key, keys)
        if len(data) > self._max_size:
            raise RecordTooLargeError(len(data), self._max_size, record.attributes.largest())
        now = self._clock.time()
        ttl = ttl_for(record.expires_at, now)
        # cachelib takes seconds from now only, however many.
        self._cache.set(key, data, timeout=ttl if ttl < now else int(ttl - now))

    def _may_replace(self, key: str, keys: Keyring) -> bool:
        """Return whether what is there is corrupt, and not merely written with another key."""
        try:
            self._envelope.open(self._cache.get(key) or b"", key, keys)
        except UnknownRecordError:
            return False
        except CorruptRecordError:
            return True
        return True


def memory_cache(sessions: int) -> SimpleCache:
    """Return a cache in the memory of this process.

    Args:
        sessions: How many it keeps; beyond, what expires soonest goes first.
    """
    # The time-out is always given with the value; 0 would mean "first to be thrown out".
    return SimpleCache(threshold=sessions, default_timeout=1)
