"""Notes from worker to worker of a host, sealed as sessions are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.errors import CorruptRecordError, UnknownRecordError
from flask_msm.record.attributes import Attributes
from flask_msm.record.record import Kind, Record


if TYPE_CHECKING:
    from flask_msm.record.envelope import Envelope


#: Time in seconds that notes are kept.
LIFE = 30 * 24 * 3600
_NOTE = "note"


def sealed_note(note: bytes, key: str, envelope: Envelope, *, now: float) -> bytes:
    """Return *note* as bytes that only open under the storage key *key*."""
    attributes = Attributes({_NOTE: (0, note)}, {}, 0)
    return envelope.seal(Record(Kind.DATA, now, now, now + LIFE, 0, attributes), key)


def note_in(data: bytes, key: str, envelope: Envelope) -> bytes | None:
    """Return the note in *data*; ``None`` for what was not written with our keys."""
    try:
        return envelope.open(data, key).attributes.entries[_NOTE][1]
    except (CorruptRecordError, UnknownRecordError, KeyError):
        return None
