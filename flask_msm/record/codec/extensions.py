"""Values MessagePack has no type for, as an extension number and bytes, without containers.

The bytes depend on nothing but the value, so that an unchanged value is seen to be unchanged.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from struct import Struct
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup

from .unsupported import Refused


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# Numbers are part of the stored format: never change or reuse one.
BIG_INT = 1
#: A str that has lone surrogates, so that UTF-8 cannot hold it.
SURROGATES = 2

_DATETIME = Struct(">HBBBBBIB")
_DATE = Struct(">HBB")
_TIME = Struct(">BBBIB")
_DURATION = Struct(">iII")
_OFFSET = Struct(">q")
_UTC = _OFFSET.pack(0)
_MICROSECOND = dt.timedelta(microseconds=1)

# The last byte of a date or time: fold in bit 0, how its zone is written above it.
_NAIVE, _FIXED, _NAMED, _ZONE = range(4)


def encode_int(value: int) -> bytes:
    """Return *value* in two's complement, as many bytes as it needs."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def encode_text(value: str) -> bytes:
    """Return *value* in UTF-8, lone surrogates written like any other character."""
    return value.encode("utf-8", "surrogatepass")


def _decode_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _decode_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _encode_datetime(value: dt.datetime) -> bytes:
    zone_kind, zone = _encode_zone(value, value)
    return (
        _DATETIME.pack(
            value.year,
            value.month,
            value.day,
            value.hour,
            value.minute,
            value.second,
            value.microsecond,
            zone_kind << 1 | value.fold,
        )
        + zone
    )


def _decode_datetime(data: bytes) -> dt.datetime:
    year, month, day, hour, minute, second, micro, last = _DATETIME.unpack_from(data)
    zone = _decode_zone(last >> 1, data[_DATETIME.size :])
    return dt.datetime(year, month, day, hour, minute, second, micro, tzinfo=zone, fold=last & 1)


def _encode_time(value: dt.time) -> bytes:
    zone_kind, zone = _encode_zone(value, None)
    last = zone_kind << 1 | value.fold
    return _TIME.pack(value.hour, value.minute, value.second, value.microsecond, last) + zone


def _decode_time(data: bytes) -> dt.time:
    hour, minute, second, micro, last = _TIME.unpack_from(data)
    zone = _decode_zone(last >> 1, data[_TIME.size :])
    return dt.time(hour, minute, second, micro, tzinfo=zone, fold=last & 1)


def _encode_zone(value: dt.datetime | dt.time, moment: dt.datetime | None) -> tuple[int, bytes]:
    zone = value.tzinfo
    if zone is None:
        return _NAIVE, b""
    if zone is dt.UTC:
        return _FIXED, _UTC
    if type(zone) is ZoneInfo and _key_is_enough(zone, moment):
        return _ZONE, encode_text(zone.key)
    offset = value.utcoffset()
    if offset is None:
        raise Refused(value, "its time zone gives no offset from UTC")
    written = _OFFSET.pack(offset // _MICROSECOND)
    if type(zone) is dt.timezone:
        name = zone.tzname(None)
        if name != dt.timezone(offset).tzname(None):
            return _NAMED, written + encode_text(name)
    return _FIXED, written


def _key_is_enough(zone: ZoneInfo, moment: dt.datetime | None) -> bool:
    # A zone read from a file has no key, or one that was made up.
    if not zone.key:
        return False
    try:
        found = ZoneInfo(zone.key)
    except (LookupError, ValueError, OSError):
        return False
    return found is zone or (
        found.utcoffset(moment) == zone.utcoffset(moment)
        and found.tzname(moment) == zone.tzname(moment)
    )


def _decode_zone(kind: int, data: bytes) -> dt.tzinfo | None:
    if kind == _ZONE:
        return ZoneInfo(_decode_text(data))
    if kind == _NAIVE and not data:
        return None
    offset = dt.timedelta(microseconds=_OFFSET.unpack_from(data)[0])
    if kind == _FIXED and len(data) == _OFFSET.size:
        return dt.timezone(offset)
    if kind == _NAMED:
        return dt.timezone(offset, _decode_text(data[_OFFSET.size :]))
    raise ValueError


def _encode_decimal(value: Decimal) -> bytes:
    # upper(): whether str() writes "E" or "e" depends on the decimal context of the thread.
    return str(value).upper().encode()


#: How each exact type is written: the number of its extension, and its bytes.
ENCODERS: Mapping[type, tuple[int, Callable[[Any], bytes]]] = {
    UUID: (3, lambda value: value.bytes),
    Markup: (4, encode_text),
    dt.datetime: (5, _encode_datetime),
    dt.date: (6, lambda value: _DATE.pack(value.year, value.month, value.day)),
    dt.time: (7, _encode_time),
    dt.timedelta: (8, lambda v: _DURATION.pack(v.days, v.seconds, v.microseconds)),
    Decimal: (9, _encode_decimal),
}

_DECODERS: Mapping[int, Callable[[bytes], object]] = {
    BIG_INT: _decode_int,
    SURROGATES: _decode_text,
    3: lambda data: UUID(bytes=data),
    4: lambda data: Markup(_decode_text(data)),  # noqa: S704 - it was Markup when it was encoded
    5: _decode_datetime,
    6: lambda data: dt.date(*_DATE.unpack(data)),
    7: _decode_time,
    8: lambda data: dt.timedelta(*_DURATION.unpack(data)),
    9: lambda data: Decimal(data.decode("ascii")),
}


def decode(number: int, data: bytes) -> object:
    """Return the value that extension *number* wrote as *data*; raises if there is none."""
    return _DECODERS[number](data)
