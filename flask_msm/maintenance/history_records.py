"""What happened in the last days, in three records that all workers share.

``day`` has a point for each five minutes, ``week`` one for each hour, ``log`` what happened: the
states of nodes, warnings, and what people changed. They are read only by who looks at them and by
who adds to them, a few times an hour. They lie on three nodes, and a copy on each host outlives all
of them.

The name of an entry begins with its time: entries are cut by it, and not by a stamp. The stamp of
a point is made of that time and of the number of workers that were seen, so that of two writers of
one point the one that saw more of them wins, in every join.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.cluster import map_state
from flask_msm.errors import NodeError, RecordError, UnknownRecordError
from flask_msm.memcached.wire import ttl_for
from flask_msm.record.attributes import NOTHING, Attributes
from flask_msm.record.hybrid_clock import stamp_at
from flask_msm.record.record import Kind, Record


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from flask_msm.cluster.common_nodes import CommonNodes
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.storage.local.store import LocalStore


HOUR, DAY, WEEK = 3600.0, 24 * 3600.0, 7 * 24 * 3600.0
#: Length of a slot of the day and of the week, seconds.
DAY_STEP, WEEK_STEP = 300, 3600
#: How long entries of each record are kept, and how far ahead of the clock they may be, seconds.
LIVES = {"day": (DAY, DAY_STEP), "week": (WEEK, WEEK_STEP), "log": (WEEK, 60.0)}
#: Most entries of what happened: the newest stay.
MOST_LOGGED = 2000
#: Largest record, bytes, and what is around it on a node.
MAX_SIZE, AROUND = 256 * 1024, 512
#: Time in seconds a record lives on a node that is not in use any more.
LIFE = 30 * DAY
#: Records lie on so many nodes, and a writer that loses so often leaves it to the next one.
COPIES, MAX_TRIES = 3, 4
#: Largest number that a stamp has beside its time.
_MOST_WORKERS = (1 << 16) - 1
_DIGITS = 14


class _There(NamedTuple):
    """What a node has of one record; *foreign*: only others can read it."""

    attributes: Attributes = NOTHING
    token: CasToken | None = None
    foreign: bool = False


class Logged(NamedTuple):
    """One entry of what happened.

    Attributes:
        at: When, seconds since the epoch.
        kind: ``state`` of a node, ``event`` or ``change``.
        facts: What; it comes from the network: any part may be missing or odd.
    """

    at: float
    kind: str
    facts: dict[str, Any]


@dataclass(eq=False)
class Book:
    """All three records as they were read, to be added to and written back."""

    records: dict[str, Attributes] = field(default_factory=lambda: dict.fromkeys(LIVES, NOTHING))
    there: dict[str, dict[str, _There]] = field(default_factory=dict)
    noted: dict[str, Attributes] = field(default_factory=dict)

    def points(self, kind: str) -> dict[int, dict[str, Any]]:
        """Return the points of ``day`` or ``week`` by the time their slot begins."""
        return {int(_time_of(name)): facts for name, facts in self._parsed(kind)}

    def add_point(self, kind: str, begin: int, workers: int, facts: Mapping[str, Any]) -> None:
        """Add the point of a slot; one that more workers were seen for stays."""
        stamp = stamp_at(begin) + min(workers, _MOST_WORKERS)
        self._put(kind, _name(begin), stamp, facts)

    def log(self) -> list[Logged]:
        """Return what happened, oldest first."""
        return [
            Logged(_time_of(name), name.split(":", 2)[1], facts)
            for name, facts in sorted(self._parsed("log"))
            if name.count(":") >= 2
        ]

    def add(self, at: float, kind: str, key: str, facts: Mapping[str, Any]) -> None:
        """Add something that happened; the same time, kind and key are the same entry."""
        digest = blake2b(key.encode(errors="replace"), digest_size=6).hexdigest()
        self._put("log", f"{_name(at)}:{kind}:{digest}", stamp_at(at), facts)

    def states(self) -> dict[str, Logged]:
        """Return the last state of each node that was written down, by node id."""
        found = [one for one in self.log() if one.kind == "state"]
        return {str(one.facts.get("node")): one for one in found}

    def _put(self, kind: str, name: str, stamp: int, facts: Mapping[str, Any]) -> None:
        value = json.dumps(facts, ensure_ascii=True, separators=(",", ":")).encode()
        self.records[kind] = map_state.put(self.records[kind], name, (stamp, value))

    def _parsed(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, (_, value) in self.records[kind].entries.items():
            try:
                facts = json.loads(value or b"")
            except (ValueError, RecursionError):
                continue
            if isinstance(facts, dict) and _time_of(name):
                yield name, facts


@dataclass(eq=False)
class HistoryRecords:
    """Reads and writes the three records, on nodes and on this host."""

    common: CommonNodes
    local: LocalStore

    def key(self, kind: str) -> str:
        """Return where a record is kept."""
        return f"{self.common.prefix}fleet:history:{kind}"

    def homes(self) -> list[str]:
        """Return the nodes that have the records, as far as they may be asked."""
        return self.common.first(COPIES, self.key(""))

    def read(self, deadline: float, kinds: Collection[str] = tuple(LIVES)) -> Book:
        """Return what the nodes that answer by *deadline* know of *kinds*, and this host."""
        book = Book()
        names = {self.key(kind): kind for kind in kinds}
        for node_id in self.homes():
            try:
                items = self.common.nodes[node_id].get_many(names, deadline)
            except NodeError:
                continue
            there = {kind: self._opened(kind, items.get(key)) for key, kind in names.items()}
            book.there[node_id] = there
            for kind, found in there.items():
                self._join(book, kind, found.attributes)
        for kind in kinds:
            noted = self.local.get_blob(f"fleet:history:{kind}")
            book.noted[kind] = NOTHING if noted is None else self._attributes(kind, noted)[0]
            self._join(book, kind, book.noted[kind])
        return book

    def write(self, book: Book, deadline: float) -> None:
        """Bring what *book* knows to the nodes it was read from and to this host."""
        for kind in book.noted:
            book.records[kind] = self._fitting(kind, book.records[kind])
            for node_id, there in book.there.items():
                try:
                    self._push(book, kind, self.common.nodes[node_id], there[kind], deadline)
                except NodeError:
                    continue
            if book.records[kind] not in (book.noted.get(kind), NOTHING):
                self.local.put_blob(f"fleet:history:{kind}", self._sealed(kind, book.records[kind]))

    def _push(
        self, book: Book, kind: str, node: MemcachedNode, there: _There, deadline: float
    ) -> None:
        now = self.common.clock.time()
        key, ttl = self.key(kind), ttl_for(now + LIFE, now)
        for _ in range(MAX_TRIES):
            mine = book.records[kind]
            if there.foreign or mine in (there.attributes, NOTHING):
                return
            data = self._sealed(kind, mine)
            exchange = (
                node.start_add(key, data, ttl, deadline)
                if there.token is None
                else node.start_cas(key, data, ttl, there.token, deadline)
            )
            if exchange.result():
                return
            there = self._opened(kind, node.start_gets(key, deadline).result())
            self._join(book, kind, there.attributes)

    def _join(self, book: Book, kind: str, attributes: Attributes) -> None:
        joined = map_state.join(book.records[kind], attributes)
        book.records[kind] = self._fitting(kind, joined)

    def _opened(self, kind: str, item: Item | None) -> _There:
        if item is None:
            return _There()
        attributes, foreign = self._attributes(kind, item.value)
        return _There(attributes, item.token, foreign)

    def _attributes(self, kind: str, data: bytes) -> tuple[Attributes, bool]:
        """Return what is in *data*, and whether only others can read it."""
        try:
            return self.common.envelope.open(data[: MAX_SIZE + 1], self.key(kind)).attributes, False
        except UnknownRecordError:
            return NOTHING, True
        except RecordError:
            return NOTHING, False

    def _sealed(self, kind: str, attributes: Attributes) -> bytes:
        return self.common.envelope.seal(self._record(attributes), self.key(kind))

    def _record(self, attributes: Attributes) -> Record:
        now = self.common.clock.time()
        newest = max((stamp for stamp, _ in attributes.entries.values()), default=0)
        return Record(Kind.DATA, now, now, now + LIFE, newest, attributes)

    def _fitting(self, kind: str, attributes: Attributes) -> Attributes:
        """Return *attributes* without what is too old, cut to what every node takes."""
        life, ahead = LIVES[kind]
        now = self.common.clock.time()
        entries = {
            name: entry
            for name, entry in attributes.entries.items()
            if now - life <= _time_of(name) <= now + ahead and entry[1] is not None
        }
        if len(entries) > MOST_LOGGED:
            entries = {name: entries[name] for name in sorted(entries)[-MOST_LOGGED:]}
        found = Attributes(entries, {}, 0)
        largest = self.common.largest(MAX_SIZE) - AROUND
        if map_state.at_most(found) > largest:
            found, _ = map_state.fitted(found, largest, lambda _: 0, self._size, 0)
        return found

    def _size(self, attributes: Attributes) -> int:
        return self.common.envelope.size(self._record(attributes))


def _name(at: float) -> str:
    return f"{int(at * 1000):0{_DIGITS}d}"


def _time_of(name: str) -> float:
    """Return the time in seconds that a name begins with, 0 for none."""
    digits = name[:_DIGITS]
    return int(digits) / 1000 if digits.isascii() and digits.isdigit() else 0.0
