"""What the repository needs of any store."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flask_msm.record.record import Kind, join_optional


if TYPE_CHECKING:
    from flask_msm.memcached.protocol import CasToken
    from flask_msm.record.record import Record


class Outcome(Enum):
    """Three answers, not two: "not known" is another answer than "not there"."""

    FOUND = "found"
    MISSING = "missing"
    UNKNOWN = "unknown"


class Copy(NamedTuple):
    """What a node was seen to hold.

    Attributes:
        record: Its record; ``None`` if there is none that can be used.
        token: Replaces what is there; ``None`` if nothing is.
        part: What could be read of a record that is not whole: it is joined, and is no copy.
    """

    record: Record | None
    token: CasToken | None
    part: Record | None = None

    @property
    def known(self) -> Record | None:
        """What a join takes from it."""
        return self.record or self.part


ABSENT = Copy(None, None)


class Loaded(NamedTuple):
    """The answer to a load.

    Attributes:
        outcome: Found, missing, or not known.
        record: The join of all that was read; only when found. It may be a tombstone or an alias.
        copies: What each node was seen to hold, so that a save need not read again.
        certain: A node that must know replied: what was found is all there is, unless the
            browser has seen a newer version.
        failed: Nodes that failed just now. A save leaves them alone as long as there are others:
            a node that hangs must not cost the request the time to store its change elsewhere.
        nowhere_else: The homes replied in this very load that they have nothing: a part of a
            session that was found on this host is all there is.
        said_no: Homes that replied that they have nothing, and were trusted at that time.
    """

    outcome: Outcome
    record: Record | None
    copies: dict[str, Copy]
    certain: bool = True
    failed: frozenset[str] = frozenset()
    nowhere_else: bool = False
    said_no: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether there is no session that goes on: it ended, it moved, or nothing has it."""
        if self.record is None:
            return self.outcome is Outcome.MISSING
        return self.record.kind is not Kind.DATA


#: What is known of a session whose id was just made up: no store can have it.
FRESH = Loaded(Outcome.MISSING, None, {})


class Saved(NamedTuple):
    """The answer to a save.

    Attributes:
        record: What the store holds now, which may be more than was written, or a tombstone.
        holders: Nodes that confirmed their copy; empty when nothing was stored.
        relocated: A copy had to go to a node that is not home to the session.
        failed: Nodes that failed just now.
        refused: Nodes that are well and refused this very value.
    """

    record: Record
    holders: frozenset[str]
    relocated: bool = False
    failed: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    @property
    def copies(self) -> int:
        """How many copies are confirmed."""
        return len(self.holders)


#: Puts the caller's change on top of what a store turned out to hold.
Rewrite = Callable[["Record | None"], "Record"]


def joined_with(record: Record) -> Rewrite:
    """Return what adds *record* to what a store holds."""

    def rewrite(seen: Record | None) -> Record:
        return join_optional(record, seen) or record

    return rewrite


class RecordTooLargeError(Exception):
    """A record does not fit; nothing was written.

    Sizes are in bytes; *largest* is the attribute that takes most room.
    """

    def __init__(self, size: int, limit: int, largest: str) -> None:
        self.size = size
        self.limit = limit
        self.largest = largest
        super().__init__(f"{size} bytes, allowed are {limit}")


class RecordRefusedError(Exception):
    """The nodes are well and none of them takes this record; it stays where it was."""


class LocalStorageError(Exception):
    """Local storage failed: the disk is full, read-only or gone, or its cache raised."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class SessionStore(Protocol):
    """Keeps records by storage key. *deadline* is a time in seconds on the monotonic clock."""

    def load(self, key: str, *, at_least: int, deadline: float) -> Loaded:
        """Return the record of *key*, at least as new as version *at_least* if that exists."""
        ...

    def save(
        self,
        key: str,
        rewrite: Rewrite,
        *,
        known: Loaded | None,
        deadline: float,
    ) -> Saved:
        """Store what *rewrite* makes of the record that is there.

        *rewrite* is called with all that is known of the record (``None``: nothing), and again
        when the store turns out to know more. *known* is what an earlier load saw; with ``None``
        the store looks first.

        Raises:
            RecordTooLargeError: The record does not fit; what was stored stays.
        """
        ...

    def holders(self, key: str, deadline: float) -> tuple[str, ...]:
        """Return the ids of the nodes that hold *key* now, for people to look at."""
        ...
