"""What the whole fleet is like, as one worker put it together for all: one item on two nodes.

A worker that shows the fleet reads both and takes the newer one. Who replaces it has read it
before, and does so only if it is the same still, so versions rise on each node. What does not fit
into one item lies in parts under names of their own, that are never written twice.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import NodeError, RecordError
from flask_msm.record.attributes import Attributes
from flask_msm.record.record import Kind, Record


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.record.hybrid_clock import HybridLogicalClock

    from .common_nodes import CommonNodes


#: Time in seconds a digest lives that is not replaced.
LIFE = 120
#: One worker gathers at a time: it has so many seconds.
LEASE = 3
#: A digest lies on so many nodes.
COPIES = 2
#: Largest part, bytes; parts are cut to what the smallest node takes.
MAX_PART, AROUND = 256 * 1024, 1024
#: Most parts, and largest digest when it is inflated, bytes.
MAX_PARTS, MAX_SIZE = 16, 32 * 1024 * 1024
_BODY, _PARTS = "body", "parts"


class Digest(NamedTuple):
    """One digest.

    Attributes:
        version: Of two digests the higher one is newer.
        at: When it was made, seconds since the epoch.
        body: What it says.
    """

    version: int
    at: float
    body: bytes


class _Head(NamedTuple):
    """What a node has under the name of the digest; *record* is ``None`` for what is none."""

    token: CasToken | None = None
    record: Record | None = None


class Heads(NamedTuple):
    """What the homes of the digest have, by node, as it was read."""

    by_node: Mapping[str, _Head]

    def newest(self) -> tuple[str, Record] | None:
        """Return the newest one, and the node that has it."""
        found = [(head.record, one) for one, head in self.by_node.items() if head.record]
        if not found:
            return None
        record, node_id = max(found, key=lambda pair: pair[0].version)
        return node_id, record

    @property
    def version(self) -> int:
        """Its version, 0 for none."""
        found = self.newest()
        return found[1].version if found else 0


@dataclass(eq=False)
class Digests:
    """Reads and replaces the digest of the fleet.

    Args:
        key: Its storage key; workers that put other things into it use another one.
        lease_key: Where the worker that gathers keeps others from it.
        stamps: Issues versions.
    """

    common: CommonNodes
    _: KW_ONLY
    key: str
    lease_key: str
    stamps: HybridLogicalClock

    def __post_init__(self) -> None:
        #: The bytes that were read last, by node, and what they are.
        self._known: dict[str, tuple[bytes, Record | None]] = {}

    def homes(self) -> list[str]:
        """Return the nodes that have it, as far as they may be asked."""
        return self.common.first(COPIES, self.key)

    def heads(self, deadline: float) -> Heads:
        """Return what its homes have: one round trip."""
        asked = {one: self.common.nodes[one].start_gets(self.key, deadline) for one in self.homes()}
        found: dict[str, _Head] = {}
        for node_id, exchange in asked.items():
            with suppress(NodeError):
                found[node_id] = self._head(node_id, exchange.result())
        return Heads(found)

    def read(self, heads: Heads, deadline: float) -> Digest | None:
        """Return the newest digest among *heads*; ``None`` for none, or a part of it is gone."""
        newest = heads.newest()
        if newest is None:
            return None
        node_id, record = newest
        try:
            packed = self._body(node_id, record, deadline)
        except NodeError:
            return None
        if packed is None:
            return None
        inflater = zlib.decompressobj()
        try:
            body = inflater.decompress(packed, MAX_SIZE)
        except zlib.error:
            return None
        return Digest(record.version, record.created, body) if inflater.eof else None

    def replace(self, body: bytes, heads: Heads, deadline: float) -> bool:
        """Bring a new digest to the homes in place of *heads*; return whether one has it now."""
        version = self.stamps.next(heads.version)
        packed, largest = zlib.compress(body, 1), self._largest()
        pieces = [packed[start : start + largest] for start in range(0, len(packed), largest)]
        if len(pieces) > MAX_PARTS:
            return False
        kept = False
        for node_id, head in heads.by_node.items():
            node = self.common.nodes[node_id]
            with suppress(NodeError):
                if len(pieces) > 1:
                    for number, piece in enumerate(pieces):
                        name = self._part(version, number)
                        data = self._sealed(name, _BODY, piece, version)
                        node.start_add(name, data, LIFE, deadline).result()
                    data = self._sealed(self.key, _PARTS, b"%d" % len(pieces), version)
                else:
                    data = self._sealed(self.key, _BODY, packed, version)
                exchange = (
                    node.start_add(self.key, data, LIFE, deadline)
                    if head.token is None
                    else node.start_cas(self.key, data, LIFE, head.token, deadline)
                )
                kept |= bool(exchange.result())
        return kept

    def lease(self, deadline: float) -> bool:
        """Return whether this worker may gather now; always while it reaches no node."""
        return self.common.take_turn(self.lease_key, self.homes(), LEASE, deadline)

    def release(self, deadline: float) -> None:
        """Let the next one gather."""
        self.common.end_turn(self.lease_key, self.homes(), deadline)

    def sealed(self, body: bytes) -> bytes:
        """Return a digest as bytes that ``opened`` takes, for workers of this host."""
        version = self.stamps.next()
        return self._sealed(self.key, _BODY, zlib.compress(body, 1), version)

    def opened(self, data: bytes) -> Digest | None:
        """Return the digest in *data*; ``None`` for what is none."""
        record = self._open(self.key, data)
        entry = record.attributes.entries.get(_BODY) if record else None
        if record is None or entry is None or entry[1] is None:
            return None
        try:
            return Digest(record.version, record.created, zlib.decompress(entry[1]))
        except zlib.error:
            return None

    def _head(self, node_id: str, item: Item | None) -> _Head:
        if item is None:
            return _Head()
        data, record = self._known.get(node_id, (b"", None))
        if data != item.value:
            record = self._open(self.key, item.value)
            self._known[node_id] = item.value, record
        return _Head(item.token, record)

    def _body(self, node_id: str, record: Record, deadline: float) -> bytes | None:
        entries = record.attributes.entries
        if _BODY in entries:
            return entries[_BODY][1]
        text = entries.get(_PARTS, (0, None))[1] or b"0"
        count = int(text) if text.isdigit() and len(text) < 4 else 0
        if not 0 < count <= MAX_PARTS:
            return None
        names = [self._part(record.version, number) for number in range(count)]
        items = self.common.nodes[node_id].get_many(names, deadline)
        pieces = []
        for name in names:
            part = self._open(name, items[name].value) if name in items else None
            piece = part.attributes.entries.get(_BODY, (0, None))[1] if part else None
            if piece is None:
                return None
            pieces.append(piece)
        return b"".join(pieces)

    def _part(self, version: int, number: int) -> str:
        return f"{self.key}:{version:x}:{number}"

    def _largest(self) -> int:
        return self.common.largest(MAX_PART) - AROUND

    def _sealed(self, key: str, name: str, data: bytes, version: int) -> bytes:
        now = self.common.clock.time()
        attributes = Attributes({name: (version, data)}, {}, 0)
        record = Record(Kind.DATA, now, now, now + LIFE, version, attributes)
        return self.common.envelope.seal(record, key)

    def _open(self, key: str, data: bytes) -> Record | None:
        try:
            return self.common.envelope.open(data[: MAX_PART + 1], key)
        except RecordError:
            return None
