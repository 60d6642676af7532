"""Sticky sessions in the memory of a worker."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from flask_msm.record.record import Record

#: What an entry takes beside the names and values of its attributes, and each of these, bytes.
_ENTRY, _ATTRIBUTE = 1_000, 250


class NearCopy(NamedTuple):
    """A session in memory.

    Attributes:
        checked_at: When the cluster was asked last, seconds since the epoch; 0 for never.
        seen: The marks of its changes as it was read; see ``ChangeMarks``.
        size: What it takes in memory, bytes, about.
    """

    record: Record
    checked_at: float
    seen: bytes
    size: int


class NearCopies:
    """The sessions that this worker read or wrote last. One thread at a time may change them.

    Args:
        most: How much memory they may take, bytes, about; 0 for none.

    Attributes:
        size: How much they take now, bytes, about.
        by_key: The copies by storage key.
    """

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most
        self.by_key: OrderedDict[str, NearCopy] = OrderedDict()

    def __len__(self) -> int:
        return len(self.by_key)

    def get(self, key: str) -> NearCopy | None:
        """Return the copy of *key*. Any thread may ask at any time."""
        found = self.by_key.get(key)
        if found is not None:
            try:
                self.by_key.move_to_end(key)
            except KeyError:
                return None  # another thread has just removed it
        return found

    def put(
        self, key: str, record: Record, checked_at: float, seen: bytes, size: int | None = None
    ) -> None:
        """Keep *record*, if there is room for it; *size* in bytes, as far as it is known."""
        needs = _ENTRY + 2 * size if size is not None else _size(record)
        before = self.by_key.pop(key, None)
        if before is not None:
            self.size -= before.size
        if needs > self._most:
            return
        self.by_key[key] = _new(NearCopy, (record, checked_at, seen, needs))
        self.size += needs
        while self.size > self._most:
            self.size -= self.by_key.popitem(last=False)[1].size

    def drop(self, key: str) -> None:
        """Forget *key*."""
        before = self.by_key.pop(key, None)
        if before is not None:
            self.size -= before.size

    def clear(self) -> None:
        """Forget all of them."""
        self.by_key.clear()
        self.size = 0


#: Makes named tuples without the call of a Python function that their class needs.
_new = tuple.__new__


def _size(record: Record) -> int:
    size = _ENTRY
    for name, (_, value) in record.attributes.entries.items():
        size += _ATTRIBUTE + len(name)
        if value:
            size += len(value)
    return size + _ATTRIBUTE * len(record.attributes.weak)
