"""Reads and writes of a good day on a flat path; all others go through ``FailoverStore``.

The path does nothing that ``FailoverStore`` and ``ClusterStore`` would not do with the same
replies. Distribution is on and the homes of the session count alone. A read: the session is not
known to have ended, nothing of it waits on this host, and the home that is asked has it, at least
as new as the browser has seen. A write: the copies that are written over are what was read. At the
first thing that is otherwise, all of it is left to them, from the beginning.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from flask_msm.cluster.mode import Mode
from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.memcached.quick import LARGEST
from flask_msm.memcached.wire import checked_ttl, ttl_for
from flask_msm.process.clock import earliest
from flask_msm.record.record import PARTIAL, Kind

from .store import ABSENT, Copy, Loaded, Outcome, Saved


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.mode import ModeState
    from flask_msm.memcached.protocol import CasToken, Item
    from flask_msm.memcached.quick import Asked, QuickCommands
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record

    from .failover import FailoverStore
    from .known_records import KnownRecords
    from .second_looks import SecondLooks
    from .store import Rewrite


#: Node ids, each with the token that replaces its copy; ``None`` where that must be read first.
Todo = list["tuple[str, CasToken | None]"]


class FastPath:
    """Implements ``SessionStore`` over ``FailoverStore``.

    Args:
        store: Does what is not usual.
        enabled: Whether the fast path is taken at all.
        writes: Whether changes take it, too.
        mode: Where sessions go now.
        ended: Sessions that are known to have ended.
        second_looks: Decides which reads ask both homes.
        known: Records that were verified already.
        keys: Returns the keyring of the application's secrets as they are now.

    Attributes:
        reads: How many reads took the fast path.
        other_reads: How many were left to *store*.
        writes: How many changes took the fast path.
        other_writes: How many were left to *store*.
    """

    def __init__(
        self,
        store: FailoverStore,
        *,
        enabled: bool,
        writes: bool,
        mode: ModeState,
        ended: EndedSessions,
        second_looks: SecondLooks,
        known: KnownRecords,
        keys: Callable[[], Keyring],
    ) -> None:
        self.reads = self.other_reads = self.writes = self.other_writes = 0
        self._store = store
        self._takes_reads = enabled
        self._takes_writes = enabled and writes
        self._mode = mode
        self._ended = ended
        self._second_looks = second_looks
        self._known = known
        self._keys = keys
        self._nodes = store.nodes
        self._homes = store.nodes.placement.homes
        self._table = store.nodes.views
        self._quick = {node_id: client.quick for node_id, client in store.nodes.clients.items()}

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*."""
        if self._takes_reads and self._mode.mode is Mode.DISTRIBUTED:
            homes = self._homes(key)
            if self._table.alone.issuperset(homes) and not self._ended.has(key):
                loaded = self._read(key, homes, at_least, deadline)
                if loaded is not None:
                    self.reads += 1
                    return loaded
                self._second_looks.take_back(key)
        self.other_reads += 1
        return self._store.load(key, at_least=at_least, deadline=deadline)

    def save(self, key: str, rewrite: Rewrite, *, known: Loaded | None, deadline: float) -> Saved:
        """Store what *rewrite* makes of the record."""
        if self._takes_writes and known is not None and self._mode.mode is Mode.DISTRIBUTED:
            homes = self._homes(key)
            if self._table.alone.issuperset(homes) and not self._store.returning():
                saved = self._write(key, homes, rewrite, known, deadline)
                if saved is not None:
                    self.writes += 1
                    return saved
        self.other_writes += 1
        # The token of a copy that was replaced by now does not fit, so that it is read again.
        return self._store.save(key, rewrite, known=known, deadline=deadline)

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return where *key* is held now: ids of nodes, and ``local``."""
        return self._store.holders(key, deadline)

    # -- reading -------------------------------------------------------------------------------

    def _read(
        self, key: str, homes: tuple[str, ...], at_least: int, deadline: float
    ) -> Loaded | None:
        """Return what the homes have, ``None`` if anything is not as on a good day."""
        name, first = key.encode(), homes[0]
        others: dict[str, Item] = {}
        if self._second_looks.due(key):
            others = self._exchanged(name, [(node_id, None) for node_id in homes], deadline) or {}
            item = others.pop(first, None)
        else:
            node = self._quick[first]
            asked = node.send_gets(name, deadline)
            item = node.receive_item(asked, name) if asked else None
        if item is None:
            return None
        record = self._opened(key, item.value)
        if record is None or record.version < at_least or record.created == PARTIAL:
            return None
        copies = {first: Copy(record, item.token)}
        for node_id, other in others.items():
            # The same record may be other bytes: encrypted anew by a rebuild, for example.
            if other.value != item.value and self._opened(key, other.value) != record:
                return None
            copies[node_id] = Copy(record, other.token)
        # What this host has yet to hand over may be newer, or a logout.
        if self._store.local.is_dirty(key):
            return None
        if self._store.mirror is not None:
            self._store.mirror.note(key, record)
        return Loaded(Outcome.FOUND, record, copies)

    def _opened(self, key: str, data: bytes) -> Record | None:
        keys = self._keys()
        record = self._known.find(key, data, keys)
        if record is None:
            try:
                record = self._nodes.envelope.open(data, key)
            except (CorruptRecordError, UnknownRecordError):
                return None
            self._known.note(key, data, keys, record)
        return record

    # -- writing -------------------------------------------------------------------------------

    def _write(
        self, key: str, homes: tuple[str, ...], rewrite: Rewrite, known: Loaded, deadline: float
    ) -> Saved | None:
        """Replace all copies by what *rewrite* makes of the record.

        Returns:
            What was stored; ``None`` if anything is not as on a good day. Some copies may have
            been replaced by then.
        """
        base = known.record
        if base is None or base.kind is not Kind.DATA or base.created == PARTIAL:
            return None
        mine = rewrite(base)
        if mine.kind is not Kind.DATA:
            return None
        nodes = self._nodes
        data = nodes.envelope.seal(mine, key)
        if len(data) > LARGEST or len(data) > nodes.limit(key):
            return None
        ttl = ttl_for(mine.expires_at, earliest(nodes.clock))
        todo: Todo = []
        for node_id in homes:
            copy = known.copies.get(node_id, ABSENT)
            todo.append((node_id, copy.token if copy.record is base else None))
        # The first copy is replaced while the second is read, then that one is replaced.
        while todo:
            items = self._exchanged(key.encode(), todo, deadline, data, ttl)
            if items is None:
                return None
            for item in items.values():
                if self._opened(key, item.value) != base:
                    return None
            todo = [(node_id, item.token) for node_id, item in items.items()]
        self._known.note(key, data, self._keys(), mine)
        if self._store.mirror is not None:
            self._store.mirror.note(key, mine)
        return Saved(mine, frozenset(homes))

    # -- both ----------------------------------------------------------------------------------

    def _exchanged(
        self, name: bytes, todo: Todo, deadline: float, data: bytes = b"", ttl: int = 0
    ) -> dict[str, Item] | None:
        """Read copies, and replace others by *data*, side by side.

        Returns:
            What was read, by node; ``None`` if a node gave no answer, has nothing or another copy.
        """
        found: dict[str, Item] = {}
        asked: deque[tuple[str, QuickCommands, Asked, bool]] = deque()
        try:
            for node_id, token in todo:
                node = self._quick[node_id]
                if token is None:
                    sent = node.send_gets(name, deadline)
                else:
                    checked = checked_ttl(ttl, self._nodes.clients[node_id].clock_ahead)
                    sent = node.send_cas(name, data, checked, token, deadline)
                if sent is None:
                    return None
                asked.append((node_id, node, sent, token is None))
            while asked:
                node_id, node, sent, is_read = asked.popleft()
                if not is_read:
                    if not node.receive_stored(sent):
                        return None
                    continue
                item = node.receive_item(sent, name)
                if item is None:
                    return None
                found[node_id] = item
        finally:
            for _, node, sent, _ in asked:
                node.abandon(sent)
        return found
