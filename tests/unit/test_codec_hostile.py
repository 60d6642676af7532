"""Bytes that are no value are refused; nothing else ever happens."""

import datetime as dt
import random
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from markupsafe import Markup
from support.codec_values import dumps, loads, same

from flask_msm.errors import DecodeError


SAMPLES = [
    dumps({"plain": [1, 2.5, None, True, "é", b"\xc1"], "n": {"a": {"b": [[]]}}}),
    dumps([2**70, "\ud800", UUID(int=7), Markup("<b>"), dt.date(2026, 1, 1), Decimal("1.5")]),
    dumps([dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")), dt.time(1), dt.timedelta(1)]),
    dumps({"t": (1, {2}, frozenset({"x"}), {3: 4}), "z": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}),
    dumps("text" * 20),
    dumps(5),
]


def value_or_decode_error(data):
    """Return whether *data* is a value; fail on any other outcome."""
    try:
        loads(data)
    except DecodeError as error:
        assert error.__context__ is None  # noqa: PT017
        return False
    return True


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:6].hex())
def test_left_over_bytes_are_refused(data):
    rng = random.Random(1)
    for extra in (b"\x00", b"\xc0", b"\xc3", b"\xc1", data, *(rng.randbytes(9) for _ in range(50))):
        with pytest.raises(DecodeError):
            loads(data + extra)


def extension(number, data=b""):
    return ormsgpack.packb(ormsgpack.Ext(number, data))


def marked(*parts):
    """Return a tree whose only list has these encoded *parts*."""
    return b"\xc1" + bytes([0x90 + len(parts)]) + b"".join(parts)


ONE = b"\x01"
NAIVE = b"\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00"
HOSTILE = {
    "nothing": b"",
    "only the tree byte": b"\xc1",
    "reserved inside": b"\x91\xc1",
    "long list": b"\xdd\xff\xff\xff\xff\x01",
    "long text": b"\xdb\xff\xff\xff\xff",
    "long extension": b"\xc9\xff\xff\xff\xff\x01",
    "deep": b"\x91" * 5000 + ONE,
    "deep tree": b"\xc1" + b"\x91" * 201 + ONE,
    "list as key": b"\x81\x91\x01\x01",
    "no utf-8": b"\xa1\xff",
    "unknown extension": extension(99),
    "mark without tree": extension(16),
    "mark in a plain list": b"\x92" + extension(16) + ONE,
    "mark alone": b"\xc1" + extension(16),
    "mark with data": marked(extension(16, b"x"), ONE),
    "set of lists": marked(extension(17), b"\x90"),
    "list as odd key": marked(extension(19), b"\x90", ONE),
    "odd dict with half a pair": marked(extension(19), ONE),
    "object without value": marked(extension(20), b"\xa1x"),
    "object of unknown name": marked(extension(20), b"\xa1x", ONE),
    "surrogates": extension(2, b"\xff"),
    "uuid": extension(3, b"\x00" * 15),
    "datetime of month 13": extension(5, b"\x07\xea\x0d\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
    "naive datetime with a zone": extension(5, NAIVE + b"x"),
    "time with long offset": extension(7, bytes(7) + b"\x02" + b"\x7f" * 8),
    "time with unknown kind": extension(7, bytes(7) + b"\xfe" + bytes(8)),
    "zone that goes up": extension(7, bytes(7) + b"\x06../../etc/passwd"),
    "zone that is nowhere": extension(7, bytes(7) + b"\x06No/Where"),
    "timedelta too long": extension(8, b"\x7f" * 12),
    "no decimal": extension(9, b"1.2.3"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused(case):
    assert not value_or_decode_error(HOSTILE[case])


@pytest.mark.parametrize("data", [None, "text", 5, [1]])
def test_data_that_is_not_bytes_is_refused(data):
    assert not value_or_decode_error(data)


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_other_buffers_are_read(make):
    for data in SAMPLES:
        assert same(loads(make(data)), loads(data))
