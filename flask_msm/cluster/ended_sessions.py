"""Sessions that ended lately, shared with every host: a mirror must not outlive a logout.

The tombstone in the cluster is what ends a session. This list is for copies that are read
without asking the holders of the tombstone: while none of them can be reached, when what the nodes
hold is corrupt, and near copies of sticky sessions. It is bounded; what it forgets is still in the
cluster, or brought there by every host: a tombstone that only one host keeps is marked in the list.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.process.locks import ProcessLock
from flask_msm.record.keys import DIGEST_LENGTH, digest_of, is_digest

from .shared_map import Bounds


if TYPE_CHECKING:
    from .shared_map import SharedMap


KEY_SUFFIX = "fleet:ended"
#: Most sessions in the list, and most that wait to be put there.
LISTED, WAITING = 1000, 5000
BOUNDS = Bounds(names=LISTED)
#: What stands beside a session: the cluster has its tombstone, or only the host that took the end.
_SHARED, _KEPT = b"", b"kept"


class Ended(NamedTuple):
    """A session that ended.

    Attributes:
        kept: Its tombstone was on one host only.
    """

    digest: str
    stamp: int
    kept: bool


class EndedSessions:
    """The sessions that ended lately, as this worker knows them."""

    def __init__(self, shared: SharedMap) -> None:
        self.shared = shared
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=WAITING)
        self._lock = ProcessLock()
        #: Stamps and hashes of sessions that ended earlier, the oldest first; no more of them than
        #: the list has room for.
        self._earlier: list[tuple[int, str]] = []
        self._done: frozenset[str] = frozenset()

    def add(self, digest: str, *, stamp: int | None = None, kept: bool = False) -> None:
        """Take note that a session ended; others learn of it with the next tick. No I/O.

        With the *stamp* of an earlier end it takes the place in the list that it would have now,
        and none from a session that ended later. *kept*: only this host has its tombstone.
        """
        if stamp is None:
            self._waiting.append((digest, _KEPT if kept else _SHARED))
            return
        with self._lock:
            if len(self._earlier) < LISTED:
                heappush(self._earlier, (stamp, digest))
            else:
                heappushpop(self._earlier, (stamp, digest))

    def share(self) -> None:
        """Put what waits into the list, for it to be brought to the nodes."""
        with self._lock:
            earlier, self._earlier = self._earlier, []
        for stamp, digest in earlier:
            self.shared.put(digest, _SHARED, stamp=stamp)
        ended = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if ended:
            # They are the newest of the list, also if the clock of another worker is ahead.
            self.shared.put_newest(ended)

    def has(self, key: str) -> bool:
        """Return whether the session of the storage key *key* is in the list. No I/O.

        An id that ended is never used again, so what is in the list cannot be alive.
        """
        # Called in every read: the value is looked at only if there is such a name.
        listed = key[-DIGEST_LENGTH:] in self.shared.attributes.entries
        return listed and digest_of(key) is not None

    def fresh(self) -> list[Ended]:
        """Return what was not returned before, and is a hash."""
        entries = self.shared.attributes.entries
        found = [
            Ended(name, stamp, value == _KEPT)
            for name, (stamp, value) in entries.items()
            if name not in self._done and is_digest(name)
        ]
        self._done = frozenset(entries)
        return found
