"""Which nodes are home to a session: rendezvous hashing by storage key.

Every worker computes the same ranking without communication, a node that is added or removed
moves only the keys that it wins or loses, and the ranking goes on behind the home nodes: the next
node takes over. Source: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable


class Placement:
    """Ranks node ids for a storage key.

    Args:
        node_ids: All nodes; their order does not matter.
        last: Ids that come behind all others in every ranking (``MSM_FAILOVER_NODES``).
        replicas: How many nodes at the front of a ranking are home to a session.
    """

    def __init__(self, node_ids: Iterable[str], *, replicas: int, last: Iterable[str] = ()) -> None:
        self._ids = tuple(sorted(set(node_ids)))
        self._last = frozenset(last)
        self.replicas = min(replicas, len(self._ids))
        self.rank = lru_cache(maxsize=4096)(self._rank)
        self.homes = lru_cache(maxsize=4096)(self._homes)

    def _rank(self, key: str) -> tuple[str, ...]:
        """Return all node ids, best first, the same in every process."""
        raw = key.encode()

        def weight(node_id: str) -> tuple[bool, bytes, str]:
            digest = blake2b(raw, key=node_id.encode(), digest_size=8).digest()
            return node_id not in self._last, digest, node_id

        return tuple(sorted(self._ids, key=weight, reverse=True))

    def _homes(self, key: str) -> tuple[str, ...]:
        """Return the nodes that shall hold the session, the primary first."""
        return self.rank(key)[: self.replicas]
