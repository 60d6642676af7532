"""What a host keeps of a session, and how far the cluster knows it."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from flask_msm.errors import CorruptRecordError
from flask_msm.record.record import Record, join


if TYPE_CHECKING:
    from flask_msm.record.envelope import Envelope


_HEAD = Struct(">Bd")


class SyncState(IntEnum):
    """What the cluster knows of a session in local storage; the higher one stays."""

    #: All of it.
    SYNCED = 0
    #: Not yet, or not any more: it was to be written and that was not confirmed.
    PENDING = 1
    #: It was written while no node could be reached, or distribution was stopped.
    OUTAGE = 2


class Entry(NamedTuple):
    """A session in local storage.

    Attributes:
        checked_at: When the cluster was asked last, seconds since the epoch; 0 for never.
        journaled: Some of it is in journals of workers only.
    """

    record: Record
    mark: SyncState
    checked_at: float
    journaled: bool = False

    def beside(self, record: Record, mark: SyncState) -> Entry:
        """Return this with what else is here of the session, which was never checked."""
        return Entry(join(self.record, record), max(self.mark, mark), 0.0)

    def with_journaled(self, record: Record) -> Entry:
        """Return this with what journals of workers have of the session."""
        if join(self.record, record) == self.record:
            return self
        return self.beside(record, SyncState.PENDING)._replace(journaled=True)


def packed(entry: Entry, sealed: bytes) -> bytes:
    """Return *entry* as bytes, given its sealed record."""
    return _HEAD.pack(entry.mark, entry.checked_at) + sealed


def unpacked(data: bytes, key: str, envelope: Envelope) -> Entry:
    """Return the entry in *data*.

    Raises:
        CorruptRecordError: It cannot be used.
        UnknownRecordError: It was written with another key or by a newer version.
    """
    if len(data) <= _HEAD.size:
        raise CorruptRecordError("cut off")
    mark, checked_at = _HEAD.unpack_from(data)
    record = envelope.open(data[_HEAD.size :], key)
    return Entry(record, SyncState(min(mark, SyncState.OUTAGE)), checked_at)
