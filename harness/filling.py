"""Many sessions on their nodes in a moment, without a request for each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask_msm.record.attributes import Attributes
from flask_msm.record.keys import storage_key
from flask_msm.record.record import Kind, Record


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Flask

    from flask_msm import MemcachedSessionManager

#: Time in seconds a session lives, and filling a node may take.
LIFE, PATIENCE = 86_400.0, 600.0
#: So many records of a node are sent at once.
_BATCH = 5000
#: Of all records.
VERSION = 1


def fill(
    manager: MemcachedSessionManager, app: Flask, sids: Iterable[str], content: Mapping[str, bytes]
) -> None:
    """Put a session onto its homes for each of *sids*; *content* has encoded values."""
    state = manager.state(app)
    parts, prefix = state.parts, state.settings.key_prefix
    cluster = parts.cluster
    assert cluster is not None  # noqa: S101  (there are nodes)
    now = time.time()
    values: dict[str, tuple[int, bytes | None]] = {
        name: (VERSION, value) for name, value in content.items()
    }
    record = Record(Kind.DATA, now, now, now + LIFE, VERSION, Attributes(values, {}, 0))
    batches: dict[str, dict[str, tuple[bytes, int | None]]] = {one: {} for one in cluster.nodes}

    def send(node_id: str) -> None:
        batch, batches[node_id] = batches[node_id], {}
        cluster.nodes[node_id].add_many(batch, time.monotonic() + PATIENCE)

    for sid in sids:
        key = storage_key(prefix, sid)
        data = parts.envelope.seal(record, key)
        for node_id in parts.placement.homes(key):
            batches[node_id][key] = data, int(LIFE)
            if len(batches[node_id]) == _BATCH:
                send(node_id)
    for node_id in batches:
        send(node_id)
