"""A record of format 2 in segments: a base, and behind it the changes that were appended to it.

Every segment says how long it is and is signed for itself, with the storage key. Layout,
big-endian, the first 14 bytes of both alike::

    base    "Ms" 2 | format 1 | kind 1 | flags 1 | codec 1 | key id 4 | length 4
            created 8 | renewed 8 | expires_at 8 | version 8 | body | hash 16
    change  "Md" 2 | format 1 | 0 1    | flags 1 | codec 1 | key id 4 | length 4
            after 8 | version 8 | body | hash 16

A change names the version that it was made *after*, so that a reader notices when one before it is
missing, and carries no times: those of the base count. Changes may stand in any order, and twice.

This module knows layout, signature and meaning; ``envelope.py`` has the keys and reads bodies.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from . import attributes as attribute_map
from .attributes import NOTHING, Attributes, Entries
from .record import Kind, Record


if TYPE_CHECKING:
    from collections.abc import Iterator

#: The number of the format.
SEGMENTED = 2
BASE, CHANGE = b"Ms", b"Md"
HASH_SIZE = 16
BASE_HEADER = Struct(">2sBBBB4sIdddq")
CHANGE_HEADER = Struct(">2sBBBB4sIqq")
_LENGTH = Struct(">I")
_LENGTH_AT = 10
_SHORTEST = {
    BASE: BASE_HEADER.size + HASH_SIZE,
    CHANGE: CHANGE_HEADER.size + HASH_SIZE,
}
#: Makes named tuples without the call of a Python function that their class needs.
_new = tuple.__new__


class Change(NamedTuple):
    """What one request changed.

    Attributes:
        after: Version of the record that it was made from.
        version: Stamp of the change, above that.
        entries: What was written and removed, by name.
    """

    after: int
    version: int
    entries: Entries


class Segments(NamedTuple):
    """What the bytes of a record were found to contain.

    Attributes:
        record: The join of all that could be read.
        base: The record that the changes were appended to; what it holds is not kept.
        size: Length of that, bytes.
        links: ``after`` and ``version`` of each change that could be read, as they came.
        damaged: Something behind them could not be read.
        growing: Its format has room for changes.
    """

    record: Record
    base: Record
    size: int
    links: tuple[tuple[int, int], ...] = ()
    damaged: bool = False
    growing: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing that its writers knew.

        An incomplete record is joined with others, and never counts as a copy.
        """
        if self.damaged or (self.links and not self.growing):
            return False
        # Behind a tombstone or an alias nothing is waited for.
        return not self.links or self.base.kind is not Kind.DATA or self._is_chain()

    def _is_chain(self) -> bool:
        known = {self.base.version}
        for after, version in sorted(self.links, key=lambda link: link[1]):
            if after not in known and after >= self.base.version:
                return False
            known.add(version)
        return True

    def with_change(self, change: Change) -> Segments:
        """Return these segments with *change* behind them."""
        return self.grown(changed(self.record, change), change)

    def grown(self, record: Record, change: Change) -> Segments:
        """Return these segments with *change* behind them, which make *record* together."""
        base = self.base if self.links else self.base._replace(attributes=NOTHING)
        links = (*self.links, (change.after, change.version))
        return _new(Segments, (record, base, self.size, links, self.damaged, self.growing))


def changed(record: Record, change: Change) -> Record:
    """Return the join of *record* and *change*."""
    version = max(record.version, change.version)
    if record.kind is Kind.DESTROYED:
        return record._replace(version=version)
    later = Attributes(change.entries, {}, 0)
    attributes = attribute_map.join(record.attributes, later)
    return record._replace(version=version, attributes=attributes)


def change_between(base: Record, record: Record) -> Change | None:
    """Return what turns *base* into *record* but for its times; ``None`` if no change does."""
    before, now = base.attributes, record.attributes
    version, old = record.version, before.entries
    if version <= base.version or now.floor != before.floor or now.weak or before.weak:
        return None
    entries: Entries = {}
    kept = len(now.entries) - len(old)
    for name, entry in now.entries.items():
        before_it = old.get(name)
        if before_it is entry or before_it == entry:
            continue
        if entry[0] != version:
            return None  # it might be beaten by what is there
        kept -= before_it is None
        entries[name] = entry
    if not entries or kept:
        return None
    return _new(Change, (base.version, version, entries))


def segment_at(data: bytes, start: int, magic: bytes) -> bytes | None:
    """Return the segment that begins at *start*; ``None`` if there is no whole one of that kind.

    Its signature is not verified.
    """
    if data[start : start + 2] != magic or len(data) - start < _SHORTEST[magic]:
        return None
    (length,) = _LENGTH.unpack_from(data, start + _LENGTH_AT)
    if not _SHORTEST[magic] <= length <= len(data) - start:
        return None
    return data[start : start + length]


def segments_in(data: bytes) -> Iterator[bytes]:
    """Yield the segments of *data*, as far as they are whole; none is verified."""
    start, magic = 0, BASE
    while (segment := segment_at(data, start, magic)) is not None:
        yield segment
        start, magic = start + len(segment), CHANGE


def signed(data: bytes, key: str, secret: bytes) -> bytes:
    """Return a segment or record with the signature for the storage key *key* behind it."""
    # No storage key holds a NUL, so it ends where the segment begins.
    mac = blake2b(key.encode() + b"\0", key=secret, digest_size=HASH_SIZE)
    mac.update(data)
    return data + mac.digest()


def is_signed(data: bytes, key: str, secret: bytes) -> bool:
    """Return whether the signature at the end of *data* is that for *key*."""
    # As above: written out, for both are in the way of every request.
    mac = blake2b(key.encode() + b"\0", key=secret, digest_size=HASH_SIZE)
    mac.update(data[:-HASH_SIZE])
    return compare_digest(mac.digest(), data[-HASH_SIZE:])
