"""How many sessions have one copy only: counted by one worker, at most once a minute.

From the keys that nodes list, without reading a session. A node that does not answer has no copies:
what only one other node has is lost with that one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_msm.errors import NodeError, NodeValueError
from flask_msm.record.keys import DIGEST_LENGTH

from . import lease


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flask_msm.cluster.common_nodes import CommonNodes
    from flask_msm.process.background import Background


#: Time in seconds between two counts of a worker; the first one comes earlier.
EVERY, FIRST = 60.0, 10.0
#: For so many seconds other workers leave it to the one that counts. A little less than a minute,
#: else each second try of a worker that is alone would come too early.
LEFT_FOR = 55
#: Of its time a worker spends at most one part of so many on it.
PARTS = 50
#: Time in seconds a node may take to list its keys.
LIST_TIME = 30.0
#: Of more sessions than this, one of so many is counted: those whose hashes begin with these.
MOST, ONE_OF = 200_000, 64
#: Which of two copies is the first one is asked of so many sessions at most, more by their share.
MOST_RANKED = 20_000
_DIGITS = "0123456789abcdef"
_PART = frozenset({b"00", b"40", b"80", b"c0"})


def _in_part(name: bytes) -> bool:
    return name[:2] in _PART


class Hashes:
    """Collects the hashes in the keys of sessions on one node.

    Attributes:
        names: The hashes: all, or one of ``ONE_OF`` when there were too many.
        thinned: There were too many.
    """

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self.thinned = False

    def take(self, found: list[bytes]) -> None:
        """Take some hashes; one may come twice."""
        self.names.update(self._part(found) if self.thinned else found)
        if len(self.names) > MOST and not self.thinned:
            self.names, self.thinned = self.thin(), True

    def thin(self) -> set[bytes]:
        """Return one of ``ONE_OF`` of the hashes: on all nodes the same ones."""
        return set(self._part(self.names))

    def _part(self, names: Iterable[bytes]) -> list[bytes]:
        return [name for name in names if _in_part(name)]


@dataclass(eq=False, kw_only=True)
class CopyCount:
    """Counts copies, for one worker.

    Args:
        timeout: Time in seconds that finding out whose turn it is may take.

    Attributes:
        found: What was counted last, as JSON takes it; empty while nothing was.
    """

    common: CommonNodes
    bulk: Background
    timeout: float

    def __post_init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._clock = self.common.clock
        self._due_at = self._clock.monotonic() + FIRST

    def start(self) -> None:
        """Begin to count if it is time, behind the tick."""
        now = self._clock.monotonic()
        if now >= self._due_at:
            self._due_at = now + EVERY
            if self.common.placement.replicas > 1:
                self.bulk.put(lambda _: self._count())

    def _count(self) -> None:
        common, began = self.common, self._clock.monotonic()
        usable = [node_id for node_id in common.nodes if common.usable(node_id)]
        turn, deadline = common.prefix + lease.COPIES, began + self.timeout
        if not usable or not common.take_turn(turn, usable, LEFT_FOR, deadline):
            return
        if self._clock.monotonic() >= deadline:
            return  # a node hangs, and would for as long as a listing may take
        try:
            listed, unlisted = self._listed(usable)
        except NodeError:
            return  # what it has is not known: the next count follows
        took = self._clock.monotonic() - began
        self._due_at = max(self._due_at, began + took * PARTS)
        self.found = {
            "at": self._clock.time(),
            **({"unlisted": unlisted} if unlisted else counted(listed, self._ranking)),
        }

    def _ranking(self, name: bytes) -> tuple[str, ...]:
        return self.common.placement.ranking(self.common.prefix + name.decode())

    def _listed(self, usable: list[str]) -> tuple[dict[str, Hashes], list[str]]:
        """Return what nodes hold, and which ones do not list their keys."""
        listed: dict[str, Hashes] = {}
        unlisted = []
        for node_id in usable:
            try:
                hashes = Hashes()
                self.common.nodes[node_id].list_digests(
                    self.common.prefix,
                    _DIGITS,
                    DIGEST_LENGTH,
                    hashes.take,
                    self._clock.monotonic() + LIST_TIME,
                )
                listed[node_id] = hashes
            except NodeValueError:
                unlisted.append(node_id)
        return listed, unlisted


def counted(
    listed: Mapping[str, Hashes], ranking: Callable[[bytes], tuple[str, ...]]
) -> dict[str, Any]:
    """Return how many sessions nodes hold, and how many of them one node alone.

    Args:
        listed: What each node holds.
        ranking: Returns the nodes in the order in which they are home to a hash.
    """
    about = any(found.thinned for found in listed.values())
    holding = {node: found.thin() if about else found.names for node, found in listed.items()}
    copies = Counter[bytes]()
    for names in holding.values():
        copies.update(names)
    factor = ONE_OF if about else 1
    alone = sum(count == 1 for count in copies.values())
    return {
        "sessions": len(copies) * factor,
        "one_copy": alone * factor,
        "about": about,
        "nodes": {
            node: [count * factor for count in parts]
            for node, parts in _parts(holding, copies, ranking).items()
        },
    }


def _parts(
    holding: Mapping[str, set[bytes]],
    copies: Mapping[bytes, int],
    ranking: Callable[[bytes], tuple[str, ...]],
) -> dict[str, tuple[int, int, int]]:
    """Return for each node how many first, further and only copies it has."""
    asked = copies if len(copies) <= MOST_RANKED else [name for name in copies if _in_part(name)]
    ranked, first = Counter[str](), Counter[str]()
    for name in asked:
        if copies[name] > 1:
            holders = [node for node in ranking(name) if name in holding.get(node, ())]
            ranked.update(holders)
            first.update(holders[:1])
    parts = {}
    for node, names in holding.items():
        alone = sum(copies[name] == 1 for name in names)
        shared = len(names) - alone
        share = first[node] / ranked[node] if ranked[node] else 0.5
        leading = round(shared * share)
        parts[node] = leading, shared - leading, alone
    return parts
