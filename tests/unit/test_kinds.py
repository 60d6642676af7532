"""The name of the type of an encoded value is known without decoding it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import pytest
from markupsafe import Markup

from flask_msm.record.codec import MsgpackCodec
from flask_msm.record.codec.kinds import kind_of


VALUES = [
    *(None, True, False, 0, 1, -1, -(2**40), 2**40, 2**64 - 1, 2**100, 1.5),
    *("", "a", "a" * 40, "a" * 300, "a" * 70_000, "\ud800", b"", b"x" * 300),
    *([], [1] * 20, [[]] * 70_000, {}, {"a": 1}, {str(n): n for n in range(70_000)}),
    *((), (1, 2), {1}, frozenset({1}), {1: 2}, [(1,)], {"a": (1,)}),
    *(Markup("x"), UUID(int=1), Decimal("1.5"), Decimal("1" * 300)),
    *(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.date(2026, 1, 1), dt.time(1), dt.timedelta(1)),
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_the_type_of_a_value_is_known_from_its_bytes(number):
    value = VALUES[number]

    assert kind_of(MsgpackCodec().dumps(value)) == type(value).__name__


@pytest.mark.parametrize("name", ["Cart", "c" * 32, "c" * 200])
def test_a_registered_type_has_the_name_it_was_registered_under(name):
    @dataclass
    class Cart:
        items: tuple[int, ...] = ()

    codec = MsgpackCodec()
    codec.register_dataclass(Cart, name)

    assert kind_of(codec.dumps(Cart((1,)))) == name


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\xc1\xc1", b"\xd4", b"\xc7\x00\xff", b"\xc1\x93\xc7\x00\x14", b"\xc9"]
)
def test_what_the_codec_did_not_write_has_no_type(data):
    assert kind_of(data) is None
