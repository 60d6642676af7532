"""What the built-in codec takes comes back the same; the rest is refused by path and type."""

import collections
import copy
import datetime as dt
import enum
import math
import os
import random
import subprocess
import sys
import threading
import traceback
import types
from dataclasses import InitVar, dataclass, field
from decimal import Decimal, localcontext
from functools import cached_property, partial
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from flask import Flask
from flask.sessions import TaggedJSONSerializer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

import flask_msm
from flask_msm.errors import ConfigError, DecodeError, EncodeError
from flask_msm.record.codec import Codec, MsgpackCodec, pack, unpack

ROOT = Path(flask_msm.__file__).parent.parent
SECRET = "hunter2"

codec = MsgpackCodec()
dumps, loads = codec.dumps, codec.loads

settings.register_profile("codec", derandomize=True, deadline=None, database=None)
thorough = partial(settings, settings.get_profile("codec"))


def numbered(values):
    """Return names for parameters that have none."""
    return [f"{number}-{type(value).__name__}" for number, value in enumerate(values)]


# -- the same value


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


@thorough(max_examples=800)
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
    path = next(Path(d, "Asia/Tokyo") for d in zone_folders() if Path(d, "Asia/Tokyo").exists())
    with path.open("rb") as file:
        zone = ZoneInfo.from_file(file, key=key)
    value = dt.datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=zone)
    back = loads(dumps(value))

    assert back == value
    assert back.tzinfo == dt.timezone(dt.timedelta(hours=9))


def zone_folders():
    import zoneinfo

    folders = [*zoneinfo.TZPATH]
    try:
        import tzdata
    except ImportError:
        return folders
    return [*folders, *(Path(p, "zoneinfo") for p in tzdata.__path__)]


class OtherZone(dt.tzinfo):
    """A time zone of a third party."""

    def utcoffset(self, when):
        return dt.timedelta(hours=2, microseconds=7) if when else None

    def dst(self, when):
        return None


class BrokenZone(dt.tzinfo):
    def utcoffset(self, when):
        raise LookupError(SECRET)


def test_other_time_zones_come_back_as_their_offset():
    value = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=OtherZone())
    back = loads(dumps([value]))[0]

    assert back == value
    assert back.tzinfo == dt.timezone(dt.timedelta(hours=2, microseconds=7))


def test_order_of_dicts_is_kept():
    for value in ({"b": 1, "a": 2}, {2: "b", 1: "a"}, {"b": (1,), "a": 2}):
        assert list(loads(dumps(value))) == list(value)


EDGE = [
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**5000,
    -(10**5000),
    "\ud800",
    "é\udfff",
    {"\ud800": 1},
    {2**70: 1, "a": 2},
    {math.nan: 1},
    [-0.0, 0.0, math.inf, -math.inf, math.nan],
    {None: 1, True: 2, 0: 3, 0.5: 4, b"x": 5, "x": 6},
    Decimal("-0"),
    Decimal("1.10"),
    Decimal("NaN123"),
    Decimal("sNaN"),
    Decimal("-Infinity"),
    Decimal("1e999999"),
    dt.datetime.max.replace(tzinfo=dt.UTC),
    dt.datetime.min.replace(tzinfo=dt.UTC),
    dt.timedelta.max,
    dt.timedelta.min,
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "")),
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET\ud800")),
    (),
    set(),
    frozenset(),
    {frozenset({frozenset()}), frozenset()},
    [[], {}, ((),)],
    Markup("<b>"),
    UUID(int=0),
]


@pytest.mark.parametrize("value", EDGE, ids=numbered(EDGE))
def test_values_at_the_edge_come_back(value):
    assert_comes_back(value)
    assert_comes_back([value, {"x": value}, (value,)])


def test_what_flask_takes_unchanged_is_taken():
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


# -- the same bytes


SETS = """
from decimal import Decimal
from flask_msm.record.codec import MsgpackCodec
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


@thorough(max_examples=100)
@given(st.lists(HASHABLE_LEAVES, max_size=8, unique_by=dumps), st.randoms())
def test_bytes_of_sets_do_not_depend_on_insertion(items, rng):
    assume(len(set(items)) == len(items))
    shuffled = rng.sample(items, len(items))

    assert dumps(set(items)) == dumps(set(shuffled))


@thorough(max_examples=200)
@given(VALUES)
def test_copies_have_the_same_bytes(value):
    assert dumps(copy.deepcopy(value)) == dumps(value)


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


STABLE = ""
STABLE_MARKED = ""


# -- refused


class Text(str):
    __slots__ = ()


class Number(float):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ANN = "ann"


class Colour(enum.Enum):
    RED = 1


class Bold(Markup):
    __slots__ = ()


class Lazy:
    def __html__(self):
        return SECRET


class Plain:
    def __repr__(self):
        return SECRET


@dataclass
class Unregistered:
    x: int = 1


class UnhashableType(type):
    """Makes classes that cannot be hashed or compared, and answer no question."""

    def __eq__(cls, other):
        raise LookupError(SECRET)

    __hash__ = None

    def __getattribute__(cls, name):
        raise LookupError(SECRET)


class Unhashable(metaclass=UnhashableType):
    pass


Point = collections.namedtuple("Point", "x y")
Cut = type("Cut\n\x1b[31m", (), {"__module__": "some"})
Nameless = type("Nameless", (), {"__module__": 5})

REFUSED = {
    "str subclass": (Text("a"), f"{__name__}.Text", "plain str"),
    "float subclass": (Number(1), f"{__name__}.Number", "plain float"),
    "int enum": (Level.LOW, f"{__name__}.Level", "plain int"),
    "str enum": (Name.ANN, f"{__name__}.Name", "plain str"),
    "enum": (Colour.RED, f"{__name__}.Colour", "not a type"),
    "markup subclass": (Bold("a"), f"{__name__}.Bold", "plain Markup"),
    "named tuple": (Point(1, 2), f"{__name__}.Point", "plain tuple"),
    "ordered dict": (collections.OrderedDict(a=1), "collections.OrderedDict", "plain dict"),
    "default dict": (collections.defaultdict(int), "collections.defaultdict", "plain dict"),
    "counter": (collections.Counter("a"), "collections.Counter", "plain dict"),
    "datetime subclass": (
        type("When", (dt.datetime,), {"__module__": "some"})(2026, 1, 1),
        "some.When",
        "plain datetime",
    ),
    "bytearray": (bytearray(b"a"), "builtins.bytearray", "bytes"),
    "memoryview": (memoryview(b"a"), "builtins.memoryview", "bytes"),
    "__html__": (Lazy(), f"{__name__}.Lazy", "Markup"),
    "dataclass": (Unregistered(), f"{__name__}.Unregistered", "not registered"),
    "generator": ((x for x in ()), "builtins.generator", "not a type"),
    "lock": (threading.Lock(), "_thread.lock", "not a type"),
    "object": (Plain(), f"{__name__}.Plain", "not a type"),
    "class": (Plain, "builtins.type", "not a type"),
    "function": (len, "builtins.builtin_function_or_method", "not a type"),
    "complex": (1j, "builtins.complex", "not a type"),
    "range": (range(3), "builtins.range", "not a type"),
    "ellipsis": (..., "builtins.ellipsis", "not a type"),
    "deque": (collections.deque(), "collections.deque", "not a type"),
    "dict view": ({}.keys(), "builtins.dict_keys", "not a type"),
    "mapping proxy": (types.MappingProxyType({}), "builtins.mappingproxy", "not a type"),
    "extension": (ormsgpack.Ext(16, b""), "builtins.Ext", "not a type"),
    "fragment": (ormsgpack.Fragment(b"\x01"), "builtins.Fragment", "not a type"),
    "unhashable type": (Unhashable(), f"{__name__}.Unhashable", "not a type"),
    "nameless": (Nameless(), "?.Nameless", "not a type"),
    "control characters": (Cut(), "some.Cut\\n\\x1b[31m", "not a type"),
    "no offset": (dt.time(1, tzinfo=OtherZone()), "datetime.time", "no offset"),
    "zone raises": (dt.datetime(1, 1, 1, tzinfo=BrokenZone()), "datetime.datetime", "LookupError"),
}

PLACES = {
    "": lambda value: value,
    "[0]": lambda value: [value],
    "[3].lock": lambda value: [1, "a", None, {"lock": value}],
    ".a[1]": lambda value: {"a": (1, value), "b": 2},
    ".a.b.c": lambda value: {"a": {"b": {"c": value}}},
    "['two words']": lambda value: {"two words": value},
    "[5][b'x'][None][True][1.5]": lambda value: {5: {b"x": {None: {True: {1.5: value}}}}},
}


def refusal(value, using=codec):
    with pytest.raises(EncodeError) as caught:
        using.dumps(value)
    return caught.value


def assert_silent(error):
    """Neither the error nor what a log would print of it tells the value."""
    assert SECRET not in error.reason
    assert SECRET not in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_would_change_is_refused_with_its_place(case, place):
    value, type_name, reason = REFUSED[case]
    error = refusal(PLACES[place](value))

    assert error.path == place
    assert error.type_name == type_name
    assert reason in error.reason
    assert_silent(error)


@pytest.mark.parametrize("make", [set, frozenset])
def test_refused_member_of_a_set(make):
    """A set has no places, so the path says only that it is inside."""
    error = refusal({"s": [make([1, Level.LOW + 1, Colour.RED])]})

    assert error.path == ".s[0]{…}"
    assert error.type_name == f"{__name__}.Colour"


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        (UUID(int=1), "[<uuid.UUID>]"),
        (Markup("a"), "[<markupsafe.Markup>]"),
        ((1, SECRET), "[<builtins.tuple>]"),
        (Text("a"), f"[<{__name__}.Text>]"),
        (Level.LOW, f"[<{__name__}.Level>]"),
        (Name.ANN, f"[<{__name__}.Name>]"),
        (dt.date(2026, 1, 1), "[<datetime.date>]"),
        (frozenset(), "[<builtins.frozenset>]"),
        (Decimal(1), "[<decimal.Decimal>]"),
        (memoryview(b"a"), "[<builtins.memoryview>]"),
        (Plain(), f"[<{__name__}.Plain>]"),
        (Unhashable(), f"[<{__name__}.Unhashable>]"),
    ],
    ids=lambda key: type(key).__mro__[0].__name__ if not isinstance(key, Unhashable) else "type",
)
def test_other_keys_are_refused(key, segment):
    """They would come back as str, or not at all."""
    for value in ({key: 1}, {"a": 1, key: 1}):
        error = refusal([value])

        assert error.path == f"[0]{segment}"
        assert error.type_name == segment[2:-2]
        assert "dict key" in error.reason
        assert_silent(error)


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("name", ".name"),
        ("näme", ".näme"),
        ("", "['']"),
        ("1a", "['1a']"),
        ("a b", "['a b']"),
        ("it's", '["it\'s"]'),
        ("a\n\x1b[31m\u202e", "['a\\n\\x1b[31m\\u202e']"),
        ("\ud800", "['\\ud800']"),
        ("x" * 40, f".{'x' * 40}"),
        ("x" * 41, f"['{'x' * 38}…]"),
        ("x y" * 1000, f"[{repr('x y' * 1000)[:39]}…]"),
        (b"ab" * 1000, f"[{repr(b'ab' * 1000)[:39]}…]"),
        (12, "[12]"),
        (2**127, f"[{2**127}]"),
        (-(10**5000), "[<builtins.int>]"),
        (True, "[True]"),
        (None, "[None]"),
        (math.inf, "[inf]"),
    ],
)
def test_path_of_keys(key, segment):
    assert refusal({key: Plain()}).path == segment


def nested(depth, wrap, inner=1):
    value = inner
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = {
    "list": (lambda value: [value], "[0]"),
    "tuple": (lambda value: (value,), "[0]"),
    "dict": (lambda value: {"a": value}, ".a"),
    "odd dict": (lambda value: {1: value}, "[1]"),
    "frozenset": (lambda value: frozenset({value}), "{…}"),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_nesting_up_to_the_limit_comes_back(wrap):
    wrapped = nested(200, WRAPS[wrap][0])
    back = loads(dumps(wrapped))

    assert dumps(back) == dumps(wrapped)
    for _ in range(200):
        wrapped = next(iter(wrapped.values() if isinstance(wrapped, dict) else wrapped))
        back = next(iter(back.values() if isinstance(back, dict) else back))
    assert back == wrapped == 1


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [201, 255, 400])
def test_nesting_beyond_the_limit_is_refused(wrap, depth):
    make, segment = WRAPS[wrap]
    error = refusal(nested(depth, make))

    assert error.path == segment * 200
    assert "200 containers" in error.reason


def test_value_that_contains_itself_is_refused():
    looped, mapped = [], {}
    looped += [looped, looped]
    mapped["a"] = (mapped,)

    for value in (looped, mapped):
        assert "contains itself" in refusal(value).reason


def test_value_is_refused_when_the_stack_is_nearly_used_up():
    """Whoever calls from deep down gets an answer, not a ``RecursionError``."""

    def call_from(depth):
        return call_from(depth - 1) if depth else refusal(nested(150, lambda value: (value,)))

    used = len(traceback.extract_stack())
    error = call_from(sys.getrecursionlimit() - used - 200)

    assert error.path == ""
    assert "call stack" in error.reason


# -- types of the application


class Money:
    def __init__(self, amount):
        self.amount = amount

    def __eq__(self, other):
        return type(other) is Money and other.amount == self.amount

    def __hash__(self):
        return hash(self.amount)


def with_money(encode=lambda money: money.amount, decode=Money):
    registered = MsgpackCodec()
    registered.register(Money, "money", encode, decode)
    return registered


def test_registered_type_comes_back():
    registered = with_money()
    value = {"a": [Money(1), (Money("x"), {Money((1, 2))})], "b": Money(Money(None))}

    assert registered.loads(registered.dumps(value)) == value
    assert registered.loads(registered.dumps(Money(5))) == Money(5)


def test_types_that_are_refused_can_be_registered():
    registered = MsgpackCodec()
    registered.register(Level, "level", lambda level: level.value, Level)
    registered.register(bytearray, "bytearray", bytes, bytearray)
    registered.register(
        collections.OrderedDict, "od", lambda d: list(d.items()), collections.OrderedDict
    )
    value = [Level.LOW, bytearray(b"x"), collections.OrderedDict(b=1, a=2)]
    back = registered.loads(registered.dumps(value))

    assert back == value
    assert list(map(type, back)) == list(map(type, value))


def test_registered_type_is_no_key_and_not_its_subclass():
    registered = with_money()

    assert "dict key" in refusal({Money(1): 1}, registered).reason
    assert refusal(type("Euro", (Money,), {})(1), registered).path == ""


def fail(error):
    raise error


def endless(value):
    return endless(value)


@pytest.mark.parametrize(
    ("encode", "path", "type_name", "reason"),
    [
        (lambda _: fail(KeyError(SECRET)), ".m", "Money", "raised KeyError"),
        (lambda _: fail(EncodeError("", "", SECRET)), ".m", "Money", "raised EncodeError"),
        (endless, ".m", "Money", "raised RecursionError"),
        (lambda _: Plain(), ".m(…)", "Plain", "not a type"),
        (lambda _: {"a": [Plain()]}, ".m(…).a[0]", "Plain", "not a type"),
        (lambda m: Money(Money(m)), ".m" + "(…)" * 199, "Money", "200 containers"),
        (lambda m: [m], ".m" + "(…)[0]" * 99 + "(…)", "list", "200 containers"),
    ],
)
def test_encoder_that_misbehaves(encode, path, type_name, reason):
    error = refusal({"m": Money(1)}, with_money(encode))

    assert error.path == path
    assert error.type_name.rpartition(".")[2] == type_name
    assert reason in error.reason
    assert_silent(error)


@pytest.mark.parametrize(
    "decode",
    [lambda _: fail(KeyError(SECRET)), endless, lambda _: fail(DecodeError("mine"))],
)
def test_decoder_that_misbehaves(decode):
    with pytest.raises(DecodeError) as caught:
        with_money(decode=decode).loads(with_money().dumps([Money(1)]))

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_object_whose_type_is_not_registered_here_is_not_decoded():
    """It may come from a newer version of the application."""
    with pytest.raises(DecodeError, match="not registered"):
        loads(with_money().dumps([Money(1)]))


@pytest.mark.parametrize("container", [list, dict, set])
def test_value_that_changes_while_it_is_encoded_is_refused(container):
    """No torn copy is stored, whoever changed it."""
    value = container()

    def grow(_):
        if container is list:
            value.append(Money(2))
        elif container is dict:
            value[len(value)] = 1
        else:
            value.add(len(value))

    if container is list:
        value.append(Money(1))
    elif container is dict:
        value["m"] = Money(1)
    else:
        value.add(Money(1))
    error = refusal([value], with_money(grow))

    assert error.path == "[0]"
    assert error.type_name == f"builtins.{container.__name__}"
    assert "changed" in error.reason
    assert_silent(error)


@pytest.mark.parametrize(
    ("type_", "name", "allowed"),
    [
        (str, "x", "does not take"),
        (Markup, "x", "does not take"),
        (Money, "other", "does not take"),
        (Money(1), "x", "a class"),
        (Plain, "money", "not taken yet"),
        (Plain, "", "printable"),
        (Plain, "a\n", "printable"),
        (Plain, "a" * 201, "printable"),
        (Plain, Text("a"), "printable"),
        (Plain, 5, "printable"),
    ],
)
def test_registration_that_cannot_work(type_, name, allowed):
    with pytest.raises(ConfigError, match=allowed):
        with_money().register(type_, name, repr, repr)


# -- dataclasses


@dataclass
class Item:
    name: str
    price: Decimal = Decimal(1)
    tags: list = field(default_factory=list)
    scale: InitVar[int] = 1
    total: Decimal = field(init=False, default=Decimal(0))

    def __post_init__(self, scale):
        self.total = self.price * scale

    @cached_property
    def upper(self):
        return self.name.upper()


@dataclass(frozen=True, slots=True)
class Place:
    x: float
    item: object = None


def with_dataclasses():
    registered = MsgpackCodec()
    assert registered.register_dataclass(Item) is Item
    registered.register_dataclass(Place, name="place")
    return registered


def test_dataclass_comes_back_without_running_init():
    registered = with_dataclasses()
    item = Item("a", Decimal(2), ["t"], scale=3)
    assert item.upper == "A"
    value = {"p": (Place(1.5, item), {Place(2.0)})}
    back = registered.loads(registered.dumps(value))

    assert back == value
    assert back["p"][0].item.total == Decimal(6)
    assert type(back["p"][0]) is Place


def test_dataclass_gives_the_path_of_its_fields():
    assert (
        refusal([Place(1.0, Item("a", tags=[Plain()]))], with_dataclasses()).path
        == "[0].item.tags[0]"
    )


def test_dataclass_that_holds_more_than_its_fields_is_refused():
    """What is not a field would be lost."""
    item = Item("a")
    item.extra = SECRET
    error = refusal({"i": item}, with_dataclasses())

    assert error.path == ".i.extra"
    assert "not a field" in error.reason


@dataclass(slots=True)
class Holey:
    x: int = field(init=False)


def test_dataclass_with_an_unset_field_is_refused():
    registered = MsgpackCodec()
    registered.register_dataclass(Holey)
    error = refusal(Holey(), registered)

    assert error.path == ".x"
    assert "without a value" in error.reason


def test_dataclasses_nest_too():
    registered = with_dataclasses()
    value = nested(100, lambda inner: Place(1.0, inner))

    assert registered.dumps(registered.loads(registered.dumps(value))) == registered.dumps(value)
    assert "200 containers" in refusal(nested(101, lambda v: Place(1.0, v)), registered).reason


def older_and_newer():
    def make(**fields):
        annotations = {"a": int, **dict.fromkeys(fields, int)}
        made = dataclass(type("Made", (), {"__annotations__": annotations, **fields}))
        registered = MsgpackCodec()
        registered.register_dataclass(made, name="made")
        return made, registered

    return make


def test_field_that_was_added_takes_its_default():
    """A deploy must not cost the sessions from before it."""
    make = older_and_newer()
    old, old_codec = make()
    _, new_codec = make(b=7, c=field(default_factory=list))
    back = new_codec.loads(old_codec.dumps(old(1)))

    assert (back.a, back.b, back.c) == (1, 7, [])


@pytest.mark.parametrize("added", [7, field()])
def test_field_that_cannot_be_made_up_or_placed(added):
    """Nothing is dropped: the bytes stay, and a process that knows the field reads them."""
    make = older_and_newer()
    old, old_codec = make()
    new, new_codec = make(b=added)

    with pytest.raises(DecodeError, match="not known here"):
        old_codec.loads(new_codec.dumps(new(1, 2)))
    if added != 7:
        with pytest.raises(DecodeError, match="no default"):
            new_codec.loads(old_codec.dumps(old(1)))


@dataclass
class AlsoDict(dict):
    x: int = 1


@dataclass
class AlsoError(Exception):
    x: int = 1


@pytest.mark.parametrize("cls", [Plain, AlsoDict, AlsoError, Item("a"), 5, Item])
def test_dataclass_that_cannot_be_registered(cls):
    registered = MsgpackCodec()
    registered.register_dataclass(Item)

    with pytest.raises(ConfigError):
        registered.register_dataclass(cls)


# -- bytes that are no value


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
def test_cut_bytes_are_refused(data):
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            loads(data[:end])


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:6].hex())
def test_left_over_bytes_are_refused(data):
    rng = random.Random(1)
    for extra in (b"\x00", b"\xc0", b"\xc3", b"\xc1", data, *(rng.randbytes(9) for _ in range(50))):
        with pytest.raises(DecodeError):
            loads(data + extra)


@thorough(max_examples=400)
@given(VALUES, st.data())
def test_every_cut_is_refused(value, data):
    encoded = dumps(value)
    end = data.draw(st.integers(0, len(encoded) - 1))

    assert not value_or_decode_error(encoded[:end])


@thorough(max_examples=1000)
@given(st.binary(max_size=60))
def test_random_bytes_are_a_value_or_refused(data):
    value_or_decode_error(data)
    value_or_decode_error(b"\xc1" + data)
    for number in range(22):
        value_or_decode_error(b"\xc7" + bytes([len(data), number]) + data)


def test_changed_bytes_are_a_value_or_refused():
    rng = random.Random(2)
    for _ in range(10_000):
        data = bytearray(rng.choice(SAMPLES))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        value_or_decode_error(bytes(data))


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
    "long lists": b"\xdd\xff\xff\xff\xff" * 300,
    "long dict": b"\xdf\xff\xff\xff\xff\xa1a\x01",
    "long text": b"\xdb\xff\xff\xff\xff",
    "long bytes": b"\xc6\xff\xff\xff\xffabc",
    "long extension": b"\xc9\xff\xff\xff\xff\x01",
    "deep": b"\x91" * 5000 + ONE,
    "deep and open": b"\x91" * 5000,
    "deep tree": b"\xc1" + b"\x91" * 201 + ONE,
    "deeper tree": b"\xc1" + b"\x91" * 1000 + ONE,
    "list as key": b"\x81\x91\x01\x01",
    "int as key": b"\x81\x01\x01",
    "no utf-8": b"\xa1\xff",
    "unknown extension": extension(99),
    "mark without tree": extension(16),
    "mark in a plain list": b"\x92" + extension(16) + ONE,
    "mark alone": b"\xc1" + extension(16),
    "mark in second place": marked(ONE, extension(16)),
    "mark after mark": marked(extension(16), extension(16)),
    "mark in a dict": b"\xc1\x81\xa1a" + extension(17),
    "mark with data": marked(extension(16, b"x"), ONE),
    "set of lists": marked(extension(17), b"\x90"),
    "list as odd key": marked(extension(19), b"\x90", ONE),
    "odd dict with half a pair": marked(extension(19), ONE),
    "object without value": marked(extension(20), b"\xa1x"),
    "object of unknown name": marked(extension(20), b"\xa1x", ONE),
    "object with no name": marked(extension(20), b"\x90", ONE),
    "surrogates": extension(2, b"\xff"),
    "uuid": extension(3, b"\x00" * 15),
    "datetime of month 13": extension(5, b"\x07\xea\x0d\x01\x00\x00\x00\x00\x00\x00\x00\x00"),
    "datetime cut": extension(5, b"\x07\xea"),
    "naive datetime with a zone": extension(5, NAIVE + b"x"),
    "date cut": extension(6, b"\x07"),
    "time with long offset": extension(7, bytes(7) + b"\x02" + b"\x7f" * 8),
    "time with cut offset": extension(7, bytes(7) + b"\x02" + b"\x00"),
    "time with unknown kind": extension(7, bytes(7) + b"\xfe" + bytes(8)),
    "zone that is a path": extension(7, bytes(7) + b"\x06/etc/passwd"),
    "zone that goes up": extension(7, bytes(7) + b"\x06../../etc/passwd"),
    "zone that is a folder": extension(7, bytes(7) + b"\x06Europe"),
    "zone that is nowhere": extension(7, bytes(7) + b"\x06No/Where"),
    "timedelta too long": extension(8, b"\x7f" * 12),
    "no decimal": extension(9, b"1.2.3"),
    "no ascii decimal": extension(9, b"\xff"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused(case):
    assert not value_or_decode_error(HOSTILE[case])


@pytest.mark.parametrize("data", [None, "text", 5, [1], memoryview(b"\x01\x01")[::2]])
def test_what_is_no_bytes_is_refused(data):
    assert not value_or_decode_error(data)


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_other_buffers_are_read(make):
    for data in SAMPLES:
        assert same(loads(make(data)), loads(data))


# -- the rest of the module


def test_codec_is_one():
    """The class fits the protocol; its number is part of every record."""
    pluggable: Codec = codec

    assert pluggable.id == 1


@pytest.mark.parametrize("obj", [[], [1, [b"x", None, "é"], -5, 2**64 - 1], b"", None, {"a": [1]}])
def test_pack_and_unpack(obj):
    assert unpack(pack(obj)) == obj


@pytest.mark.parametrize("obj", [["\ud800"], [2**64], [(1,)], [{1}], [object()]])
def test_pack_refuses_what_it_would_change(obj):
    with pytest.raises(TypeError):
        pack(obj)


@pytest.mark.parametrize(
    "data", [b"", b"\x92\x01", b"\x01\x01", b"\xc1", b"\xd4\x01\x00", None, "x"]
)
def test_unpack_takes_exactly_one_value(data):
    with pytest.raises(DecodeError):
        unpack(data)
