"""Values for a codec, and what it means that one comes back the same or is refused."""

import datetime as dt
import math
import traceback
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_msm.errors import EncodeError
from flask_msm.record.codec.msgpack import MsgpackCodec


#: In no value of a test but where an error could give it away.
SECRET = "hunter2"

codec = MsgpackCodec()
#: Takes nothing that would come back as another type.
strict = codec.bound(strict=True, default=None)
dumps, loads = codec.dumps, codec.loads

thorough = partial(settings, derandomize=True, deadline=None, database=None)


class Plain:
    def __repr__(self):
        return SECRET


class OtherZone(dt.tzinfo):
    """A time zone of a third party."""

    def utcoffset(self, when):
        return dt.timedelta(hours=2, microseconds=7) if when else None

    def dst(self, when):
        return None


def refusal(value, using=codec):
    with pytest.raises(EncodeError) as caught:
        using.dumps(value)
    return caught.value


def assert_silent(error):
    """Neither the error nor a log line about it has the value."""
    assert SECRET not in error.reason
    assert SECRET not in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    assert error.__context__ is None


def nested(depth, wrap, inner=1):
    value = inner
    for _ in range(depth):
        value = wrap(value)
    return value


def numbered(values):
    """Return names for parameters that have none."""
    return [f"{number}-{type(value).__name__}" for number, value in enumerate(values)]


def same(one, other):  # noqa: PLR0911 - one type, one answer
    """Tell whether two values are equal and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        # Encoded, because a NaN is not found in a set by a NaN.
        return sorted(map(dumps, one)) == sorted(map(dumps, other))
    if isinstance(one, dt.datetime | dt.time):
        naive = one.replace(tzinfo=None), other.replace(tzinfo=None)
        return naive[0] == naive[1] and one.fold == other.fold and same_zone(one, other)
    return one == other


def same_zone(one, other):
    if isinstance(one.tzinfo, ZoneInfo):
        return isinstance(other.tzinfo, ZoneInfo) and one.tzinfo.key == other.tzinfo.key
    return one.tzinfo == other.tzinfo and one.tzname() == other.tzname()


def assert_comes_back(value):
    data = dumps(value)
    back = loads(data)
    assert same(value, back)
    assert dumps(back) == data


OFFSETS = st.integers(-86_399_999_999, 86_399_999_999).map(lambda n: dt.timedelta(microseconds=n))
FIXED = st.builds(dt.timezone, OFFSETS) | st.builds(dt.timezone, OFFSETS, st.text(max_size=5))
ZONES = st.sampled_from(["Europe/Paris", "UTC", "America/New_York", "Asia/Kathmandu"]).map(ZoneInfo)
TZINFO = st.none() | FIXED | ZONES | st.just(dt.UTC)
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
FOLD = st.sampled_from([0, 1])
KEYS = TEXT | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False) | st.binary()
HASHABLE_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.binary(max_size=20)
    | st.uuids()
    | TEXT.map(Markup)
    | st.builds(lambda v, z, f: v.replace(tzinfo=z, fold=f), st.datetimes(), TZINFO, FOLD)
    | st.builds(lambda v, z, f: v.replace(tzinfo=z, fold=f), st.times(), TZINFO, FOLD)
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=True).filter(lambda d: not d.is_snan())
)
HASHABLE = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
