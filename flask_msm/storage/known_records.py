"""Records of this process by the bytes they were made of, so that none is verified twice.

Between two reads of a session it is often not changed: the same bytes under the same storage key,
verified with the same keys, are the same record.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from flask_msm.record.keys import Keyring
    from flask_msm.record.record import Record

#: What an entry takes beside its bytes, twice: as they came and as attributes.
_ENTRY_OVERHEAD = 1_000


class _Known(NamedTuple):
    data: bytes
    keys: Keyring
    record: Record


class KnownRecords:
    """The records that were verified or written last.

    Args:
        most: How much memory they may take, bytes, about; 0 for none.

    Attributes:
        size: How much they take now, bytes, about.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = ProcessLock()

    def find(self, key: str, data: bytes, keys: Keyring) -> Record | None:
        """Return the record that *data* is, if it was verified for *key* with *keys* before.

        The keys are part of it because an application may rotate its secrets while it runs.
        """
        known = self._known.get(key)
        if known is not None and known.data == data and known.keys is keys:
            return known.record
        return None

    def note(self, key: str, data: bytes, keys: Keyring, record: Record) -> None:
        """Take note that *data* was verified for *key* with *keys*, and is *record*."""
        size = 2 * len(data) + _ENTRY_OVERHEAD
        if size > self._most:
            return
        with self._lock:
            before = self._known.pop(key, None)
            if before is not None:
                self.size -= 2 * len(before.data) + _ENTRY_OVERHEAD
            self._known[key] = _Known(data, keys, record)
            self.size += size
            while self.size > self._most:
                _, gone = self._known.popitem(last=False)
                self.size -= 2 * len(gone.data) + _ENTRY_OVERHEAD
