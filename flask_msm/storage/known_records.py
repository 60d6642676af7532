"""Records of this process by the bytes they were made of, so that none is verified twice.

Between two reads of a session it is often not changed: the same bytes under the same storage key,
verified with the same keys, are the same record. And what a node was seen to hold can be replaced
without being read again, if it is still the same.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.memcached.protocol import Item
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask_msm.memcached.protocol import CasToken
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record
    from flask_msm.record.segments import Segments

#: From this size on a node is asked first whether it has the known copy still, bytes: if not, it is
#: asked twice.
LARGE = 64 * 1024
#: What an entry takes beside its bytes, twice: as they came and as attributes. Measured.
_ENTRY_OVERHEAD = 2_000


class KnownRecord(NamedTuple):
    """A record that was verified."""

    data: bytes
    keys: Keyring
    record: Record
    #: Of the nodes that were seen to hold the record, in any bytes.
    tokens: Mapping[str, CasToken]
    #: What the bytes contain, if that is known.
    segments: Segments | None


_NO_TOKENS: Mapping[str, CasToken] = {}


class KnownRecords:
    """The records that were verified or written last.

    Args:
        most: How much memory they may take, bytes, about; 0 for none.

    Attributes:
        size: How much they take now, bytes, about.
        by_key: The records by their storage keys.
        large: Keys of large records, of which a node was seen to hold a copy.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0
        self.by_key: OrderedDict[str, KnownRecord] = OrderedDict()
        self.large: dict[str, None] = {}
        self._lock = ProcessLock()

    def find(self, key: str, data: bytes, keys: Keyring) -> Record | None:
        """Return the record that *data* is, if it was verified for *key* with *keys* before.

        The keys are part of it because an application may rotate its secrets while it runs.
        """
        known = self.by_key.get(key)
        if known is not None and known.data == data and known.keys is keys:
            return known.record
        return None

    def tokens(self, key: str, record: Record) -> Mapping[str, CasToken]:
        """Return what replaces the copies of *record* on nodes that were seen to hold it.

        They may hold another one by now: then a ``cas`` fails.
        """
        known = self.by_key.get(key)
        return known.tokens if known is not None and known.record is record else _NO_TOKENS

    def seen_on(self, key: str, nodes: Iterable[str]) -> dict[str, Item]:
        """Return what *nodes* were seen to hold, if all of them were seen to hold the record."""
        known = self.by_key.get(key)
        if known is None or not known.tokens.keys() >= set(nodes):
            return {}
        return {node_id: Item(known.data, known.tokens[node_id]) for node_id in nodes}

    def beginning(self, key: str, data: bytes, keys: Keyring) -> tuple[int, Segments] | None:
        """Return how much of *data* was verified before, and what that contains, if any was."""
        known = self.by_key.get(key)
        if known is None or known.segments is None or known.keys is not keys:
            return None
        return (len(known.data), known.segments) if data.startswith(known.data) else None

    def note(
        self,
        key: str,
        data: bytes,
        keys: Keyring,
        record: Record,
        tokens: Mapping[str, CasToken] = _NO_TOKENS,
        *,
        segments: Segments | None = None,
    ) -> None:
        """Take note that *data* was verified for *key* with *keys*, and is *record*.

        Args:
            key: Storage key.
            data: The sealed record.
            keys: What it was sealed with.
            record: What it is.
            tokens: Of nodes that were seen to hold it.
            segments: What *data* contains; of the same bytes it is known already.
        """
        size = 2 * len(data) + _ENTRY_OVERHEAD
        if size > self._most:
            return
        # The lock itself, for this is in the way of every write. It is only a memory: another
        # thread that is at it need not be waited for.
        lock = self._lock.inner
        if not lock.acquire(blocking=False):
            return
        try:
            before = self.by_key.pop(key, None)
            if before is not None:
                if segments is None and before.data == data:
                    segments = before.segments
                self.size -= 2 * len(before.data) + _ENTRY_OVERHEAD
            self.by_key[key] = _new(KnownRecord, (data, keys, record, tokens, segments))
            if tokens and len(data) >= LARGE:
                self.large[key] = None
            else:
                self.large.pop(key, None)
            self.size += size
            while self.size > self._most:
                old, gone = self.by_key.popitem(last=False)
                self.large.pop(old, None)
                self.size -= 2 * len(gone.data) + _ENTRY_OVERHEAD
        finally:
            lock.release()


#: Makes named tuples without the call of a Python function that their class needs.
_new = tuple.__new__
