"""What would come back changed is refused, by place and type, and without telling the value."""

import collections
import datetime as dt
import enum
import math
import sys
import threading
import traceback
import types
from dataclasses import dataclass
from uuid import UUID

import ormsgpack
import pytest
from markupsafe import Markup
from support.codec_values import (
    SECRET,
    OtherZone,
    Plain,
    assert_silent,
    dumps,
    loads,
    nested,
    numbered,
    refusal,
    strict,
)


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


@dataclass
class Unregistered:
    x: int = 1


class BrokenZone(dt.tzinfo):
    def utcoffset(self, when):
        raise LookupError(SECRET)


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
    "enum": (Colour.RED, f"{__name__}.Colour", "not a type"),
    "markup subclass": (Bold("a"), f"{__name__}.Bold", "plain Markup"),
    "named tuple": (Point(1, 2), f"{__name__}.Point", "plain tuple"),
    "ordered dict": (collections.OrderedDict(a=1), "collections.OrderedDict", "plain dict"),
    "default dict": (collections.defaultdict(int), "collections.defaultdict", "plain dict"),
    "datetime subclass": (
        type("When", (dt.datetime,), {"__module__": "some"})(2026, 1, 1),
        "some.When",
        "plain datetime",
    ),
    "bytearray": (bytearray(b"a"), "builtins.bytearray", "bytes"),
    "__html__": (Lazy(), f"{__name__}.Lazy", "Markup"),
    "dataclass": (Unregistered(), f"{__name__}.Unregistered", "not registered"),
    "lock": (threading.Lock(), "_thread.lock", "not a type"),
    "object": (Plain(), "support.codec_values.Plain", "not a type"),
    "class": (Plain, "builtins.type", "not a type"),
    "complex": (1j, "builtins.complex", "not a type"),
    "mapping proxy": (types.MappingProxyType({}), "builtins.mappingproxy", "not a type"),
    "extension": (ormsgpack.Ext(16, b""), f"{ormsgpack.Ext.__module__}.Ext", "not a type"),
    "unhashable type": (Unhashable(), f"{__name__}.Unhashable", "not a type"),
    "nameless": (Nameless(), "?.Nameless", "not a type"),
    "control characters": (Cut(), "some.Cut\\n\\x1b[31m", "not a type"),
    "no offset": (dt.time(1, tzinfo=OtherZone()), "datetime.time", "no offset"),
    "zone raises": (dt.datetime(1, 1, 1, tzinfo=BrokenZone()), "datetime.datetime", "LookupError"),
}

if hasattr(ormsgpack, "Fragment"):
    # Written as it is, unchecked; not in the oldest versions.
    fragment = ormsgpack.Fragment(b"\x01")
    REFUSED["fragment"] = (fragment, f"{type(fragment).__module__}.Fragment", "not a type")

PLACES = {
    "": lambda value: value,
    "[0]": lambda value: [value],
    "[3].lock": lambda value: [1, "a", None, {"lock": value}],
    ".a[1]": lambda value: {"a": (1, value), "b": 2},
    ".a.b.c": lambda value: {"a": {"b": {"c": value}}},
    "['two words']": lambda value: {"two words": value},
    "[5][b'x'][None][True][1.5]": lambda value: {5: {b"x": {None: {True: {1.5: value}}}}},
}


#: Each value in one place, and one value in each place.
CASES = [
    *((case, "[3].lock") for case in REFUSED),
    *(("lock", place) for place in PLACES if place != "[3].lock"),
]


@pytest.mark.parametrize(("case", "place"), CASES)
def test_a_value_that_would_change_is_refused_with_its_place(case, place):
    value, type_name, reason = REFUSED[case]
    # What Flask takes as a plain value is refused by a codec of strict types alone.
    codecs = [strict] if "plain" in reason or case == "__html__" else [strict, None]

    for codec in codecs:
        error = refusal(PLACES[place](value), *filter(None, [codec]))
        assert error.path == place
        assert error.type_name == type_name
        assert reason in error.reason
        assert_silent(error)


@pytest.mark.parametrize("make", [set, frozenset])
def test_refused_member_of_a_set(make):
    """A set has no places, so the path names only the set."""
    error = refusal({"s": [make([1, Level.LOW + 1, Colour.RED])]})

    assert error.path == ".s[0]{…}"
    assert error.type_name == f"{__name__}.Colour"


OTHER_KEYS = [
    (UUID(int=1), "[<uuid.UUID>]"),
    (Markup("a"), "[<markupsafe.Markup>]"),
    ((1, SECRET), "[<builtins.tuple>]"),
    (Text("a"), f"[<{__name__}.Text>]"),
    (Level.LOW, f"[<{__name__}.Level>]"),
    (frozenset(), "[<builtins.frozenset>]"),
    (memoryview(b"a"), "[<builtins.memoryview>]"),
    (Plain(), "[<support.codec_values.Plain>]"),
    (Unhashable(), f"[<{__name__}.Unhashable>]"),
]


@pytest.mark.parametrize(("key", "segment"), OTHER_KEYS, ids=numbered(OTHER_KEYS))
def test_other_keys_are_refused(key, segment):
    """They would come back as str, or not at all."""
    for value in ({key: 1}, {"other": 1, key: 1}):
        error = refusal([value], strict)

        assert error.path == f"[0]{segment}"
        assert error.type_name == segment[2:-2]
        assert "dict key" in error.reason
        assert_silent(error)


@pytest.mark.parametrize(
    "key",
    [(1, SECRET), UUID(int=1), frozenset(), Plain(), Unhashable()],
    ids=lambda key: type.__repr__(type(key)),
)
def test_keys_that_are_no_kind_of_text_or_number_are_refused(key):
    error = refusal([{key: 1}])

    assert error.path == f"[0][<{error.type_name}>]"
    assert error.reason.endswith("use a text")
    assert_silent(error)


KEY_PATHS = [
    ("name", ".name"),
    ("näme", ".näme"),
    ("1a", "['1a']"),
    ("it's", '["it\'s"]'),
    ("a\n\x1b[31m\u202e", "['a\\n\\x1b[31m\\u202e']"),
    ("x" * 40, f".{'x' * 40}"),
    ("x" * 41, f"['{'x' * 38}…]"),
    ("x y" * 1000, f"[{repr('x y' * 1000)[:39]}…]"),
    (b"ab" * 1000, f"[{repr(b'ab' * 1000)[:39]}…]"),
    (2**127, f"[{2**127}]"),
    (-(10**5000), "[<builtins.int>]"),
    (True, "[True]"),
    (math.inf, "[inf]"),
]


@pytest.mark.parametrize(("key", "segment"), KEY_PATHS, ids=numbered(KEY_PATHS))
def test_path_of_keys(key, segment):
    assert refusal({key: Plain()}).path == segment


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
    """A caller deep in the stack gets an answer, not a ``RecursionError``."""

    def call_from(depth):
        return call_from(depth - 1) if depth else refusal(nested(150, lambda value: (value,)))

    used = len(traceback.extract_stack())
    error = call_from(sys.getrecursionlimit() - used - 200)

    assert error.path == ""
    assert "call stack" in error.reason


class LyingType(type):
    """Makes classes that claim to be ``int`` when they are looked up."""

    def __eq__(cls, other):
        return other is int or other is cls

    def __hash__(cls):
        return hash(int)


class Liar(metaclass=LyingType):
    pass


def test_class_that_passes_for_another_is_refused_all_the_same():
    """The net below every check: it knows no place, but nothing falls through."""
    error = refusal([Liar()])

    assert error.type_name == "builtins.list"
    assert "TypeError" in error.reason
    assert_silent(error)
