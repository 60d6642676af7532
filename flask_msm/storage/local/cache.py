"""What local storage needs of any cache."""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol


class Limits(NamedTuple):
    """How much local storage may hold.

    *size* is in bytes.
    """

    sessions: int
    size: int


class Usage(NamedTuple):
    """How much local storage holds.

    *size* is in bytes.
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

    def evict(self) -> None:
        """Remove what is too much, if that is to be done at once.

        Nothing is deleted but under the lock of its key and after a second look: call it, and
        ``trim``, while none is held.
        """
        ...

    def trim(self) -> int:
        """Remove what has expired and what is too much; return how many dirty sessions went."""
        ...

    def trimmed_ago(self) -> float:
        """Return how long ago a worker of this host did that for all, seconds."""
        ...

    def usage(self) -> Usage:
        """Return how much is stored, as of the last ``trim``, or now if that costs nothing."""
        ...


def as_bytes(found: object) -> bytes | None:
    """Return what was found in a cache if it can be a record."""
    # A value of another type under a key of ours is not ours.
    return found if isinstance(found, bytes) else None


def reason_of(error: Exception) -> str:
    """Return why a cache failed, without anything it was given."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
