"""Attributes that could not be stored, by name and type: a record for people, not a filter.

Every worker keeps its own and what it received from others. What two of them know of the same
entry is joined: counts are kept by worker, so that nothing is counted twice, however often it is
received.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from flask_msm.errors import one_line, short_name
from flask_msm.process.locks import ProcessLock

from .blacklist_entries import Entry, dump, join, parse


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask_msm.process.clock import Clock


#: Most entries; beyond, only what was not seen for ``RETAINED`` seconds makes room.
MAX_ENTRIES = 200
RETAINED = 3600.0
#: A summary contains the counts of so many workers.
COUNTS = 4
#: Times of another clock are accepted up to so many seconds ahead of the own one.
MAX_AHEAD = 60.0


class Noted(Enum):
    """What became of a failure."""

    NEW = "new"
    KNOWN = "known"
    FULL = "full"


class Blacklist:
    """The entries this worker knows."""

    def __init__(self, clock: Clock, worker: Callable[[], str]) -> None:
        self.overflow = 0
        self._clock = clock
        self._worker = worker
        self._lock = ProcessLock()
        # The one that was not seen for the longest time comes first.
        self._entries: dict[tuple[str | None, str], Entry] = {}
        self._cleared_at = 0.0
        self._cleared: dict[str | None, float] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def note(
        self,
        attribute: str | None,
        type_name: str,
        *,
        path: str,
        error: str,
        reason: str,
        endpoint: str | None,
        added_by: str,
    ) -> Noted:
        """Take note of a failure; return whether this worker has seen its like before.

        *added_by* counts if there is no entry yet.
        """
        now, worker = self._clock.time(), self._worker()
        name = None if attribute is None else short_name(attribute)
        key = name, one_line(type_name, 200)
        with self._lock:
            known = self._entries.get(key)
            if known is None and not self._has_room(now):
                self.overflow += 1
                return Noted.FULL
            seen = known.counts.get(worker, 0) if known else 0
            entry = Entry(
                attribute=name,
                type_name=key[1],
                path=one_line(path, 200),
                error=one_line(error, 80),
                reason=one_line(reason, 300),
                endpoint=None if endpoint is None else one_line(endpoint, 120),
                added_by=added_by,
                first_seen=now,
                last_seen=now,
                counts={worker: seen + 1},
            )
            self._entries.pop(key, None)
            self._entries[key] = join(known, entry) if known else entry
        return Noted.KNOWN if seen else Noted.NEW

    def all(self) -> list[Entry]:
        """Return the entries, what was seen last first."""
        with self._lock:
            return list(self._entries.values())[::-1]

    def clear(self, at: float, attribute: str | None = None) -> None:
        """Forget what was seen last before *at*, here and whenever it is received again.

        *at* is in seconds since the epoch; of *attribute* only, if it is given.
        """
        with self._lock:
            if attribute is None:
                self._cleared_at = max(self._cleared_at, at)
            else:
                name = short_name(attribute)
                self._cleared[name] = max(self._cleared.pop(name, 0.0), at)
                for oldest in list(self._cleared)[:-MAX_ENTRIES]:
                    del self._cleared[oldest]
            self._replace(self._entries.values())

    def to_json(self) -> bytes:
        """Return the entries as bytes that ``merge`` takes."""
        return dump(self.all())

    def summary(self, limit: int) -> bytes:
        """Return the newest entries as bytes that ``merge`` takes: those of this worker first.

        It contains what others saw as well, for they may be gone; of their counts the greatest.
        """
        worker = self._worker()
        entries = sorted(self.all(), key=lambda entry: worker not in entry.counts)
        return dump(entry.shortened(COUNTS, worker) for entry in entries[:limit])

    def merge(self, *data: bytes | str) -> None:
        """Add what ``to_json`` returned, here or elsewhere; what is wrong in it is passed over."""
        latest = self._clock.time() + MAX_AHEAD
        heard: dict[tuple[str | None, str], list[Entry]] = {}
        for said in data:
            for entry in parse(said, limit=MAX_ENTRIES, latest=latest):
                heard.setdefault(entry.key, []).append(entry)
        with self._lock:
            entries = dict(self._entries)
            for key, same in heard.items():
                known = entries.get(key)
                entries[key] = join(known, *same) if known else join(*same)
            self._replace(entries.values())

    def _has_room(self, now: float) -> bool:
        """Make room if that is possible."""
        if len(self._entries) < MAX_ENTRIES:
            return True
        oldest = next(iter(self._entries.values()))
        if now - oldest.last_seen < RETAINED:
            return False
        del self._entries[oldest.key]
        return True

    def _replace(self, entries: Iterable[Entry]) -> None:
        """Hold those of *entries* that were not cleared, the newest if they are too many."""
        kept = sorted(
            (entry for entry in entries if not self._is_cleared(entry)),
            key=lambda entry: entry.last_seen,
        )
        self._entries = {entry.key: entry for entry in kept[-MAX_ENTRIES:]}

    def _is_cleared(self, entry: Entry) -> bool:
        at = max(self._cleared_at, self._cleared.get(entry.attribute, 0.0))
        return entry.last_seen <= at
