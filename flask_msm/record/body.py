"""Bodies of records and of appended changes as bytes, before they are deflated and encrypted.

MessagePack: of a record ``[floor, pointer, entries, weak]``, in format 2 with its ending behind
them, of a change its entries. Entries are one flat list ``name, stamp, value, name, ...``, because
that packs and unpacks fastest.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from flask_msm.errors import CorruptRecordError, DecodeError

from .attributes import Attributes, Entries
from .codec.msgpack import pack, unpack
from .hybrid_clock import WEAK_OFFSET
from .record import Ending, Pointer


if TYPE_CHECKING:
    from .record import Record


def pack_body(record: Record, record_format: int) -> bytes:
    """Return the body of *record*; format 1 has no place for its ending."""
    attributes = record.attributes
    flat: list[object] = []
    for name, (stamp, value) in attributes.entries.items():
        flat += (name, stamp, value)  # as _flat(), which is a call more for each change
    parts: list[object] = [
        attributes.floor,
        list(record.pointer) if record.pointer else None,
        flat,
        _flat(attributes.weak) if attributes.weak else [],
    ]
    if record_format > 1:
        parts.append(list(record.ending) if record.ending else None)
    try:
        return pack(parts)
    except TypeError:
        # A name with a lone surrogate is no UTF-8; its bytes are kept instead.
        parts[2:4] = [
            _flat(attributes.entries, as_bytes=True),
            _flat(attributes.weak, as_bytes=True),
        ]
        return pack(parts)


def unpack_body(
    body: bytes, record_format: int
) -> tuple[Attributes, Pointer | None, Ending | None]:
    """Return what is in the body of a record.

    Raises:
        CorruptRecordError: It is not the body of one.
    """
    try:
        parts: Any = unpack(body)
        ending = None
        if record_format == 1:
            floor, pointer, entries, weak = parts
        else:
            floor, pointer, entries, weak, ending = parts
        return (
            # Hardly any session has weak ones.
            Attributes(_entries(entries), {} if weak == [] else _entries(weak), stamp_of(floor)),
            _pointer(*pointer) if pointer else None,
            _ending(*ending) if ending else None,
        )
    except (DecodeError, TypeError, ValueError) as error:
        # The hash was right, so this was written by a program of ours with a fault.
        raise CorruptRecordError("the body is not a map of attributes") from error


def pack_entries(entries: Entries) -> bytes:
    """Return the body of a change."""
    flat: list[object] = []
    for name, (stamp, value) in entries.items():
        flat += (name, stamp, value)  # as _flat(), which is a call more for each change
    try:
        return pack(flat)
    except TypeError:
        return pack(_flat(entries, as_bytes=True))


def unpack_entries(body: bytes) -> Entries:
    """Return the entries in the body of a change.

    Raises:
        CorruptRecordError: It is not the body of one.
    """
    try:
        return _entries(cast("Any", unpack(body)))
    except (DecodeError, TypeError, ValueError) as error:
        raise CorruptRecordError("the body is not a list of entries") from error


def _flat(entries: Entries, *, as_bytes: bool = False) -> list[object]:
    flat: list[object] = []
    for name, (stamp, value) in entries.items():
        flat += (name.encode("utf-8", "surrogatepass") if as_bytes else name, stamp, value)
    return flat


def _entries(flat: list[Any]) -> Entries:
    entries = {}
    parts = iter(flat)
    for name, stamp, value in zip(parts, parts, parts, strict=True):
        # Written without calls, for this is in the way of every read.
        if type(stamp) is not int or not -WEAK_OFFSET <= stamp < WEAK_OFFSET:
            raise TypeError
        if type(value) is not bytes and value is not None:
            raise TypeError
        if type(name) is not str:
            # Bytes, or this raises.
            name = bytes.decode(name, "utf-8", "surrogatepass")  # noqa: PLW2901
        entries[name] = (stamp, value)
    return entries


def stamp_of(value: object) -> int:
    """Return *value* if it is a stamp.

    Raises:
        TypeError: It is none.
    """
    if type(value) is not int or not -WEAK_OFFSET <= value < WEAK_OFFSET:
        raise TypeError
    return value


def _pointer(stamp: object, key: object, until: object) -> Pointer:
    if type(key) is not str or type(until) is not float or not isfinite(until):
        raise TypeError
    return Pointer(stamp_of(stamp), key, until)


def _ending(at: object, how: object, by: object) -> Ending:
    if type(at) is not float or not isfinite(at) or type(how) is not str or type(by) is not str:
        raise TypeError
    return Ending.of(at, how, by)
