"""Reads of a good day on one flat path; every other request goes through ``FailoverStore``.

The path does nothing that ``FailoverStore`` and ``ClusterStore`` would not do with the same
replies: distribution is on, the homes of the session count alone, it is not known to have ended
and nothing of it waits on this host; the home that is asked has it, at least as new as the browser
has seen. At the first thing that is otherwise the answer is left to them, from the beginning.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from flask_msm.cluster.mode import Mode
from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.record.record import PARTIAL

from .store import Copy, Loaded, Outcome


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_msm.cluster.ended_sessions import EndedSessions
    from flask_msm.cluster.mode import ModeState
    from flask_msm.memcached.protocol import Item
    from flask_msm.memcached.quick_read import Asked, QuickReader
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record

    from .failover import FailoverStore
    from .known_records import KnownRecords
    from .second_looks import SecondLooks
    from .store import Rewrite, Saved


class FastPath:
    """Implements ``SessionStore`` over ``FailoverStore``.

    Args:
        store: Does what is not usual.
        enabled: Whether the fast path is taken at all.
        mode: Where sessions go now.
        ended: Sessions that are known to have ended.
        second_looks: Decides which reads ask both homes.
        known: Records that were verified already.
        keys: Returns the keyring of the application's secrets as they are now.

    Attributes:
        taken: How many reads took the fast path.
        left: How many were left to *store*.
    """

    def __init__(
        self,
        store: FailoverStore,
        *,
        enabled: bool,
        mode: ModeState,
        ended: EndedSessions,
        second_looks: SecondLooks,
        known: KnownRecords,
        keys: Callable[[], Keyring],
    ) -> None:
        self.taken = self.left = 0
        self._store = store
        self._enabled = enabled
        self._mode = mode
        self._ended = ended
        self._second_looks = second_looks
        self._known = known
        self._keys = keys
        nodes = store.nodes
        self._envelope = nodes.envelope
        self._homes = nodes.placement.homes
        self._table = nodes.views
        self._quick: dict[str, QuickReader] = {
            node_id: client.quick for node_id, client in nodes.clients.items()
        }
        self._is_dirty = store.local.is_dirty
        self._mirror = store.mirror

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*."""
        if self._enabled and self._mode.mode is Mode.DISTRIBUTED:
            homes = self._homes(key)
            if self._table.alone.issuperset(homes) and not self._ended.has(key):
                loaded = self._read(key, homes, at_least, deadline)
                if loaded is not None:
                    self.taken += 1
                    return loaded
                self._second_looks.take_back(key)
        self.left += 1
        return self._store.load(key, at_least=at_least, deadline=deadline)

    def save(self, key: str, rewrite: Rewrite, *, known: Loaded | None, deadline: float) -> Saved:
        """Store what *rewrite* makes of the record."""
        return self._store.save(key, rewrite, known=known, deadline=deadline)

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return where *key* is held now: ids of nodes, and ``local``."""
        return self._store.holders(key, deadline)

    def _read(
        self, key: str, homes: tuple[str, ...], at_least: int, deadline: float
    ) -> Loaded | None:
        """Return what the homes have, ``None`` if anything is not as on a good day."""
        name, first = key.encode(), homes[0]
        if self._second_looks.due(key):
            items = self._read_all(homes, name, deadline)
            if items is None:
                return None
            item = items[0]
        else:
            reader = self._quick[first]
            asked = reader.send(name, deadline)
            found = reader.receive(asked, name) if asked else None
            if found is None:
                return None
            item, items = found, ()
        record = self._opened(key, item.value)
        if record is None or record.version < at_least or record.created == PARTIAL:
            return None
        copies = {first: Copy(record, item.token)}
        for node_id, other in zip(homes[1:], items[1:], strict=False):
            if other.value != item.value:
                return None
            copies[node_id] = Copy(record, other.token)
        # What this host has yet to hand over may be newer, or a logout.
        if self._is_dirty(key):
            return None
        if self._mirror is not None:
            self._mirror.note(key, record)
        return Loaded(Outcome.FOUND, record, copies)

    def _read_all(
        self, homes: tuple[str, ...], name: bytes, deadline: float
    ) -> Sequence[Item] | None:
        """Return what all homes have, asked side by side; ``None`` if one of them has nothing."""
        asked: deque[tuple[QuickReader, Asked]] = deque()
        items = []
        try:
            for node_id in homes:
                reader = self._quick[node_id]
                sent = reader.send(name, deadline)
                if sent is None:
                    return None
                asked.append((reader, sent))
            while asked:
                reader, sent = asked.popleft()
                item = reader.receive(sent, name)
                if item is None:
                    return None
                items.append(item)
        finally:
            for reader, sent in asked:
                reader.abandon(sent)
        return items

    def _opened(self, key: str, data: bytes) -> Record | None:
        keys = self._keys()
        record = self._known.find(key, data, keys)
        if record is None:
            try:
                record = self._envelope.open(data, key)
            except (CorruptRecordError, UnknownRecordError):
                return None
            self._known.note(key, data, keys, record)
        return record
