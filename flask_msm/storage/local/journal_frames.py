"""The journal of a worker as bytes: one frame for each change, appended and never changed.

A frame is the whole record that the worker made, sealed as it is everywhere, behind a head that
shows how long it is and whose it is::

    magic 2 | size of the sealed record 4 | hash in the storage key 20 | sealed record

The seal is a keyed hash over record and storage key, so a head that was damaged, or belongs to
another session, is noticed when the record is opened. Scanning verifies nothing: it is done for
every change of every worker of the host.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from flask_msm.record.envelope import MAGIC as SEALED
from flask_msm.record.envelope import OVERHEAD


HEAD = Struct(">2sI20s")
MAGIC = b"Mj"
#: No record is larger: memcached takes no more than a gigabyte.
_MOST = 2**30


class Place(NamedTuple):
    """Where a sealed record is in a journal: offset and size in bytes."""

    at: int
    size: int


class Scanned(NamedTuple):
    """What was found in a part of a journal.

    Attributes:
        places: Hash in the storage key, and where the record is, in the order of the changes.
        end: Where the next scan begins, an offset in the part.
        damaged: How many places there are at which something else than a frame stands.
    """

    places: list[tuple[str, Place]]
    end: int
    damaged: int


def frame(digest: str, sealed: bytes) -> bytes:
    """Return the frame of a sealed record; *digest* is the hash in its storage key."""
    return HEAD.pack(MAGIC, len(sealed), bytes.fromhex(digest)) + sealed


def scan(data: bytes, *, final: bool = False) -> Scanned:
    """Return the frames in *data*.

    Args:
        data: A part of a journal that begins with a frame.
        final: The journal grows no more: a frame that is not whole is torn, or has a damaged size
            and others follow it.
    """
    places: list[tuple[str, Place]] = []
    at = damaged = 0
    last = -1
    while at + HEAD.size <= len(data):
        found = _frame_at(data, at)
        if found is None or (final and found[1].at + found[1].size > len(data)):
            # It may be the size in the frame before that is damaged.
            following = _next(data, last + 1 if last >= 0 else at + 1, final=final)
            if following < 0:
                damaged += found is None
                break
            damaged += 1
            at = following
            continue
        digest, place = found
        if place.at + place.size > len(data):
            break
        places.append((digest, place))
        last, at = at, place.at + place.size
    return Scanned(places, at, damaged)


def _frame_at(data: bytes, at: int) -> tuple[str, Place] | None:
    """Return what the head at *at* promises, ``None`` if there is none."""
    magic, size, digest = HEAD.unpack_from(data, at)
    begin = at + HEAD.size
    if magic != MAGIC or not OVERHEAD <= size <= _MOST:
        return None
    sealed = data[begin : begin + len(SEALED)]
    return (digest.hex(), Place(begin, size)) if SEALED.startswith(sealed) else None


def _next(data: bytes, start: int, *, final: bool) -> int:
    """Return where the next frame begins, -1 if there is none."""
    at = data.find(MAGIC, start)
    while 0 <= at <= len(data) - HEAD.size:
        found = _frame_at(data, at)
        if found and (not final or found[1].at + found[1].size <= len(data)):
            return at
        at = data.find(MAGIC, at + 1)
    return -1
