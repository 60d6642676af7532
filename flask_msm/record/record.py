"""One session as every store keeps it: a few facts about it, and its attributes."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from . import attributes as attribute_map
from .attributes import Attributes


#: ``created`` of a part: of a record written while the existing session could not be read. Joining
#: takes the lower ``created``, so joining with a whole record clears the mark.
PARTIAL = float("inf")
#: From here on ``created`` marks a part. One that was written on top of a whole record, without the
#: latest changes that the browser had seen, has this plus when the session began: nothing but those
#: changes is missing. Far from any time, and within the years that people are shown.
BEHIND = float(2**37)


class Kind(IntEnum):
    """What a record stands for; joining takes the higher kind."""

    DATA = 0
    #: The session moved to another storage key (``regenerate``).
    ALIAS = 1
    #: The session was ended (``destroy``); this tombstone keeps every older copy down.
    DESTROYED = 2


class Pointer(NamedTuple):
    """Where an alias points. The greater one wins, so the first field is the stamp.

    Attributes:
        stamp: When the session moved.
        key: Storage key it moved to (never its sid, which would be a usable cookie).
        until: Time up to which the old cookie still shows the frozen attributes, seconds since
            the epoch.
    """

    stamp: int
    key: str
    until: float


#: Characters of an ending that are kept: how and by whom together.
ENDING_LENGTH = 120


class Ending(NamedTuple):
    """How a session ended. The earliest is kept, so the first field is the time.

    Attributes:
        at: When, seconds since the epoch.
        how: What ended it.
        by: Who did, if that was not its own browser.
    """

    at: float
    how: str
    by: str

    @classmethod
    def of(cls, at: float, how: str, by: str = "") -> Ending:
        """Return an ending whose texts are not too long and can be stored."""
        how = how.encode(errors="replace").decode()[:ENDING_LENGTH]
        by = by.encode(errors="replace").decode()[: ENDING_LENGTH - len(how)]
        return cls(at, how, by)


class Record(NamedTuple):
    """A session, or what is left of it.

    Attributes:
        kind: Data, alias or tombstone.
        created: When the session began, seconds since the epoch; of a part ``PARTIAL``, or
            ``BEHIND`` and more.
        renewed: When it was last written or refreshed, seconds since the epoch.
        expires_at: When it ends if it is not refreshed, seconds since the epoch.
        version: Highest stamp of all changes so far.
        attributes: What the session holds; frozen in an alias, empty in a tombstone.
        pointer: In an alias; a tombstone that met one keeps it.
        ending: In a tombstone, if that is known.
    """

    kind: Kind
    created: float
    renewed: float
    expires_at: float
    version: int
    attributes: Attributes
    pointer: Pointer | None = None
    ending: Ending | None = None


def lagging(record: Record) -> Record:
    """Return *record* as one that lacks the latest changes of the session."""
    created = record.created
    return record if created >= BEHIND else record._replace(created=created + BEHIND)


def as_whole(record: Record) -> Record:
    """Return *record* as the whole session, of which it may be a part."""
    created = record.created
    if created < BEHIND:
        return record
    return record._replace(created=record.renewed if created == PARTIAL else created - BEHIND)


def join(one: Record, other: Record) -> Record:
    """Return the record that knows all that *one* and *other* know."""
    if one is other or one == other:
        return one
    kind = max(one.kind, other.kind)
    if kind is Kind.DESTROYED:
        attributes = attribute_map.NOTHING
    else:
        # An alias takes up what was written under the old key beside it: it is carried over.
        attributes = attribute_map.join(one.attributes, other.attributes)
    # A tombstone keeps the pointer: where the session moved to has to be ended as well.
    pointer = max(filter(None, (one.pointer, other.pointer)), default=None)
    ending = min(filter(None, (one.ending, other.ending)), default=None)
    return Record(
        kind,
        min(one.created, other.created),
        max(one.renewed, other.renewed),
        max(one.expires_at, other.expires_at),
        max(one.version, other.version),
        attributes,
        pointer,
        ending,
    )


def join_optional(one: Record | None, other: Record | None) -> Record | None:
    """Return the join of what is there, ``None`` when neither is."""
    if one is None or other is None:
        return one or other
    return join(one, other)
