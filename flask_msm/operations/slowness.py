"""Which nodes are slow, and which workers: a worker whose nodes all look slow is slow itself. Pure.

A machine that is busy, or a process that stood still for a while, finds every node slow. So each
worker compares its nodes with each other, and a node is slow when most workers say so.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Mapping


#: From so much on (seconds, 95 of 100) answers of a node are called slow.
SLOW = 0.1


class Slowness(NamedTuple):
    """Ids of the nodes and names of the workers that are slow."""

    nodes: frozenset[str]
    workers: frozenset[str]


def slowness(seen: Mapping[str, Mapping[str, float]]) -> Slowness:
    """Return what is slow.

    Args:
        seen: How long a node takes in 95 of 100 answers, seconds, by worker and node.
    """
    slow_workers = frozenset(
        worker for worker, nodes in seen.items() if len(nodes) > 1 and min(nodes.values()) > SLOW
    )
    sound = [nodes for worker, nodes in seen.items() if worker not in slow_workers]
    accused = Counter(id_ for nodes in sound for id_, took in nodes.items() if took > SLOW)
    asked = Counter(id_ for nodes in seen.values() for id_ in nodes)
    slow_nodes = {node_id for node_id, count in accused.items() if 2 * count > asked[node_id]}
    return Slowness(frozenset(slow_nodes), slow_workers)
