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
    from collections.abc import Callable, Iterable


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
        self._hashes = {id_: blake2b(key=id_.encode(), digest_size=8) for id_ in self._ids}
        self.rank = lru_cache(maxsize=4096)(self.ranking)
        self.homes = lru_cache(maxsize=4096)(self._homes)

    def first(self, count: int, key: str, usable: Callable[[str], bool]) -> list[str]:
        """Return the first *count* nodes in the ranking of *key* that are *usable*."""
        return [node_id for node_id in self.rank(key) if usable(node_id)][:count]

    def home_test(self, node_id: str, among: Iterable[str]) -> Callable[[bytes], bool]:
        """Return what tells whether *node_id* is to hold a storage key: for millions of them.

        It is if it is one of the first in the ranking *among* these nodes.
        """
        others = set(among) - {node_id}
        hashes, replicas = self._hashes, self.replicas
        mine = hashes[node_id]
        # Of the same rank but for their hashes; which of two has the greater id counts last.
        rivals = [
            (hashes[other], other > node_id)
            for other in others
            if (other in self._last) == (node_id in self._last)
        ]
        before = sum(other not in self._last for other in others) if node_id in self._last else 0

        def is_home(key: bytes) -> bool:
            mac = mine.copy()
            mac.update(key)
            weight, above = mac.digest(), before
            for rival, is_greater in rivals:
                mac = rival.copy()
                mac.update(key)
                other = mac.digest()
                above += other > weight or (is_greater and other == weight)
                if above >= replicas:
                    return False
            return above < replicas

        return is_home

    def ranking(self, key: str) -> tuple[str, ...]:
        """Return what ``rank`` does, and do not keep it: for what is asked of many keys once."""
        raw = key.encode()

        def weight(node_id: str) -> tuple[bool, bytes, str]:
            # A copy of a hash that has its key costs half of a new one.
            mac = self._hashes[node_id].copy()
            mac.update(raw)
            return node_id not in self._last, mac.digest(), node_id

        return tuple(sorted(self._ids, key=weight, reverse=True))

    def _homes(self, key: str) -> tuple[str, ...]:
        """Return the nodes that shall hold the session, the primary first."""
        return self.rank(key)[: self.replicas]
