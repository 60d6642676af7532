"""What the built-in codec takes comes back equal, of the same type, from the same bytes."""

import datetime as dt
import math
import os
import subprocess
import sys
import zoneinfo
from decimal import Decimal, localcontext
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask.sessions import TaggedJSONSerializer
from hypothesis import given
from markupsafe import Markup
from support.codec_values import (
    VALUES,
    OtherZone,
    assert_comes_back,
    dumps,
    loads,
    numbered,
    same,
    thorough,
)

import flask_msm
from flask_msm.errors import DecodeError
from flask_msm.record.codec.msgpack import pack, unpack


ROOT = Path(flask_msm.__file__).parent.parent


@thorough(max_examples=300)
@given(VALUES)
def test_every_value_comes_back(value):
    """Equal, of the same type, and encoded the same again."""
    assert_comes_back(value)


@pytest.mark.parametrize("zone", [ZoneInfo.no_cache("Europe/Paris"), ZoneInfo("Europe/Paris")])
@pytest.mark.parametrize("kind", ["datetime", "time"])
def test_zone_with_a_key_comes_back_by_key(zone, kind):
    """Also when it is not the object that the cache of zoneinfo would return."""
    value = dt.datetime(2026, 3, 29, 3, 30, 1, 2, tzinfo=zone)
    back = loads(dumps(value if kind == "datetime" else value.timetz()))

    assert type(back.tzinfo) is ZoneInfo
    assert back.tzinfo.key == "Europe/Paris"


@pytest.mark.parametrize("key", [None, "Europe/Paris", "No/Where", "/etc", ""])
def test_zone_whose_key_says_something_else_comes_back_as_offset(key):
    """A zone read from a file has no key, or one that was made up."""
    folder = next(path for path in zoneinfo.TZPATH if Path(path, "Asia/Tokyo").exists())
    with Path(folder, "Asia/Tokyo").open("rb") as file:
        zone = ZoneInfo.from_file(file, key=key)
    value = dt.datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=zone)
    back = loads(dumps(value))

    assert back == value
    assert back.tzinfo == dt.timezone(dt.timedelta(hours=9))


def test_other_time_zones_come_back_as_their_offset():
    value = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=OtherZone())
    back = loads(dumps([value]))[0]

    assert back == value
    assert back.tzinfo == dt.timezone(dt.timedelta(hours=2, microseconds=7))


EDGE = [
    2**64 - 1,
    2**64,
    -(2**63),
    10**5000,
    "\ud800",
    {"\ud800": 1},
    {2**70: 1, "a": 2},
    {math.nan: 1},
    [-0.0, 0.0, math.inf, -math.inf, math.nan],
    {None: 1, True: 2, 0: 3, 0.5: 4, b"x": 5, "x": 6},
    Decimal("-0"),
    Decimal("NaN123"),
    Decimal("1e999999"),
    dt.datetime.max.replace(tzinfo=dt.UTC),
    dt.datetime.min.replace(tzinfo=dt.UTC),
    dt.timedelta.max,
    dt.timedelta.min,
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "")),
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET\ud800")),
    frozenset(),
    {frozenset({frozenset()}), frozenset()},
    [[], {}, ((),)],
]


@pytest.mark.parametrize("value", EDGE, ids=numbered(EDGE))
def test_values_at_the_edge_come_back(value):
    assert_comes_back(value)
    assert_comes_back([value, {"x": value}, (value,)])


def test_a_value_that_flask_takes_unchanged_is_taken():
    """Sessions need no change to move from the cookie of Flask."""
    tagged = TaggedJSONSerializer()
    values = [
        None, True, 1, 2**80, 1.5, "é", "\ud800", b"\xff", [1], (1, (2,)), {"a": {"b": ()}},
        {" t": 1}, UUID(int=5), Markup("<i>"), dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    ]  # fmt: skip
    with Flask(__name__).app_context():
        for value in values:
            assert tagged.loads(tagged.dumps(value)) == value
            assert_comes_back(value)


def test_shared_parts_come_back_as_copies():
    inner = [1]
    first, second = loads(dumps([inner, inner]))

    assert first == second == inner
    assert first is not second


SETS = """
from decimal import Decimal
from flask_msm.record.codec.msgpack import MsgpackCodec
names = {f"name{n}" for n in range(50)}
value = [names, frozenset(names), {("a", n) for n in names}, {frozenset({n, 1}) for n in names}]
print(MsgpackCodec().dumps({"s": value, 1: {None, 1.5, "x", b"y", Decimal(1)}}).hex())
"""


def test_bytes_of_sets_do_not_depend_on_the_hash_seed():
    """Another process must not see a change where there is none."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SETS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }

    assert len(outputs) == 1


def test_bytes_of_decimals_do_not_depend_on_the_context():
    with localcontext() as context:
        context.capitals = 0
        low = dumps(Decimal("1E+10"))

    assert low == dumps(Decimal("1E+10"))


def test_stored_form_is_stable():
    """Sessions outlive releases: these bytes must stay readable, and be what is written."""
    value = {
        "plain": [None, True, -1, 1.5, "é", b"\xff"],
        "big": 2**64,
        "odd": "\ud800",
        "id": UUID(int=1),
        "html": Markup("<b>"),
        "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "hour": dt.time(3, 4, 5, 6),
        "took": dt.timedelta(-1, 2, 3),
        "price": Decimal("1.10"),
    }
    marked = [(1,), {2}, frozenset({3}), {4: 5}]

    assert dumps(value).hex() == STABLE
    assert dumps(marked).hex() == STABLE_MARKED
    assert same(loads(bytes.fromhex(STABLE)), value)
    assert same(loads(bytes.fromhex(STABLE_MARKED)), marked)


STABLE = (
    "8aa5706c61696e96c0c3ffcb3ff8000000000000a2c3a9c401ff"
    "a3626967c70901010000000000000000"
    "a36f6464c70302eda080"
    "a26964d80300000000000000000000000000000001"
    "a468746d6cc703043c623e"
    "a26174c7140507ea010203040500000006020000000000000000"
    "a3646179d60607ea0102"
    "a4686f7572d7070304050000000600"
    "a4746f6f6bc70c08ffffffff0000000200000003"
    "a57072696365d609312e3130"
)
STABLE_MARKED = "c19492c700100192c700110292c700120393c700130405"


@pytest.mark.parametrize("obj", [[], [1, [b"x", None, "é"], -5, 2**64 - 1], b"", None, {"a": [1]}])
def test_pack_and_unpack(obj):
    assert unpack(pack(obj)) == obj


@pytest.mark.parametrize(
    "data", [b"", b"\x92\x01", b"\x01\x01", b"\xc1", b"\xd4\x01\x00", None, "x"]
)
def test_unpack_takes_exactly_one_value(data):
    with pytest.raises(DecodeError):
        unpack(data)
