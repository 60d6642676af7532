"""Many sessions of this host into the cluster at once, where that is simple.

Each home is asked for all of them with one command, and gets with one more what it does not hold
like that. What is out of the ordinary is left to the way for one session: a home that is not
written, a copy that cannot be read or changes meanwhile, a session that moved or is too large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import NodeError, UnknownRecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.record import Kind, join

from .store import ABSENT


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.record.record import Record

    from .replica_set import ReplicaSet
    from .store import Copy

    #: Value, time to live in seconds, and what is replaced.
    Write = tuple[bytes, int, CasToken | None]


def hand_over(
    nodes: ReplicaSet, records: Mapping[str, Record], timeout: float
) -> dict[str, Record]:
    """Join *records* into what the homes of their sessions hold.

    Args:
        nodes: Where sessions are kept.
        records: By storage key; a few hundred at most.
        timeout: Time in seconds for one command.

    Returns:
        What the homes hold now, by storage key, of those sessions that all homes have taken.
    """
    rights = nodes.views.rights
    homes = {key: nodes.placement.homes(key) for key in records}
    left = {key for key, ids in homes.items() if not all(rights(id_).written for id_ in ids)}
    found: dict[str, dict[str, Item]] = {}
    for node_id, keys in _by_node(homes, left).items():
        found[node_id] = _asked(nodes, node_id, keys, left, timeout)
    taken: dict[str, Record] = {}
    writes: dict[str, dict[str, Write]] = {}
    for key, record in records.items():
        if key in left:
            continue
        there = {node_id: found[node_id].get(key) for node_id in homes[key]}
        planned = _planned(nodes, key, record, there)
        if planned is not None:
            taken[key], by_node = planned
            for node_id, write in by_node.items():
                writes.setdefault(node_id, {})[key] = write
    for node_id, items in writes.items():
        for key in _refused(nodes, node_id, items, timeout):
            taken.pop(key, None)
    return taken


def _by_node(homes: Mapping[str, tuple[str, ...]], left: set[str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for key, ids in homes.items():
        if key not in left:
            for node_id in ids:
                keys.setdefault(node_id, []).append(key)
    return keys


def _asked(
    nodes: ReplicaSet, node_id: str, keys: list[str], left: set[str], timeout: float
) -> dict[str, Item]:
    """Return what a node holds; *left* gets *keys* if it fails."""
    try:
        found = nodes.clients[node_id].get_many(keys, nodes.clock.monotonic() + timeout)
    except NodeError as error:
        nodes.report(node_id, error)
        left.update(keys)
        return {}
    nodes.answered(node_id)
    return found


def _planned(
    nodes: ReplicaSet, key: str, record: Record, there: Mapping[str, Item | None]
) -> tuple[Record, dict[str, Write]] | None:
    """Return what homes shall hold, and what is written to which; ``None`` if it is not simple."""
    copies: dict[str, Copy] = {}
    #: By value: as a rule all homes hold the same.
    opened: dict[bytes, Copy] = {}
    for node_id, item in there.items():
        seen = opened.get(item.value) if item else None
        try:
            copy = seen._replace(token=item.token) if seen and item else nodes.opened(item, key)
        except UnknownRecordError:
            return None
        copies[node_id] = copy
        if item:
            opened[item.value] = copy
        if copy.record is not None:
            record = join(record, copy.record)
        elif copy is not ABSENT:
            return None
    if record.kind is Kind.ALIAS:
        return None  # what was written beside the move goes along with it
    data = nodes.envelope.seal(record, key)
    if len(data) > nodes.limit(key):
        return None
    ttl = ttl_for(record.expires_at, earliest(nodes.clock))
    return record, {
        node_id: (data, ttl, copy.token)
        for node_id, copy in copies.items()
        if copy.record != record
    }


def _refused(
    nodes: ReplicaSet, node_id: str, items: Mapping[str, Write], timeout: float
) -> list[str]:
    """Write to a node; return the keys whose values it has not taken."""
    node = nodes.clients[node_id]
    new = {key: (data, ttl) for key, (data, ttl, token) in items.items() if token is None}
    changed = {
        key: (data, ttl, token) for key, (data, ttl, token) in items.items() if token is not None
    }

    def deadline() -> float:
        return nodes.clock.monotonic() + timeout

    steps: list[Callable[[], Mapping[str, object]]] = [
        lambda: node.add_many(new, deadline()),
        lambda: node.cas_many(changed, deadline()),
    ]
    stored: set[str] = set()
    try:
        for step in steps:
            stored |= {key for key, answer in step().items() if answer is True}
    except NodeError as error:
        nodes.report(node_id, error)
    else:
        nodes.answered(node_id)
    return [key for key in items if key not in stored]
