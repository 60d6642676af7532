"""Values that people put into sessions, and what comes back of them: here and from Flask."""

from __future__ import annotations

import collections
import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from flask import Flask
from flask.json.tag import TaggedJSONSerializer
from markupsafe import Markup
from werkzeug.datastructures import CombinedMultiDict, ImmutableMultiDict, MultiDict
from werkzeug.local import LocalProxy


class Text(str):
    """As ``quoted_name`` of SQLAlchemy and ``str_`` of NumPy."""

    __slots__ = ()


class Loud(str):
    """Equal to no other text."""

    __slots__ = ()

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)


class Number(int):
    pass


class Measure(float):
    """As ``float64`` of NumPy; its ``repr`` differs from that of ``float``."""

    def __repr__(self):
        return f"Measure({float(self)})"


class Raw(bytes):
    pass


class Rows(list):
    pass


class Token(dict):
    """As ``OAuth2Token`` of oauthlib and of Authlib."""


class Names(set):
    pass


class Bold(Markup):
    __slots__ = ()


class Lazy:
    """As the texts of Flask-Babel's ``lazy_gettext``."""

    def __html__(self):
        return "Bitte <b>anmelden</b>"


class LazyText(str):
    __slots__ = ()

    def __html__(self):
        return f"<i>{self}</i>"


class Id(UUID):
    pass


class Moment(dt.datetime):
    pass


class Day(dt.date):
    pass


class Price(Decimal):
    pass


class Role(enum.StrEnum):
    ADMIN = "admin"


class Theme(str, enum.Enum):  # noqa: UP042 - as older code has it
    DARK = "dark"


class Level(enum.IntEnum):
    HIGH = 3


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Corner(tuple, enum.Enum):  # noqa: SLOT001 - an enum
    TOP = (0, 1)


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


Size = collections.namedtuple("Size", "width height")


@dataclass
class Item:
    sku: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cart:
    items: tuple[Item, ...]
    since: dt.date


class Case(NamedTuple):
    """One kind of value.

    Attributes:
        label: What it is, in the table of the documentation.
        value: An example.
        out: What comes back of it; ``REFUSED`` for nothing.
    """

    label: str
    value: object
    out: object


REFUSED = object()
_UTC = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
_FINE = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)
_NAIVE = _FINE.replace(tzinfo=None)
_PAIRS = [("q", "first"), ("q", "second"), ("page", "2")]


def _kept(label, value):
    return Case(label, value, value)


CASES = [
    _kept("`None`", None),
    _kept("`bool`", True),
    _kept("`int`", 2**80),
    _kept("`float`", 1.5),
    _kept("`str`", "é"),
    _kept("`bytes`", b"\xff"),
    _kept("`list`", [1, [2]]),
    _kept("`tuple`", (1, (2,))),
    _kept("`dict` with names", {"a": {"b": ()}}),
    _kept("`dict` with numbers as keys", {1: "one", 2: "two"}),
    _kept("`dict` with bytes as keys", {b"k": 1}),
    _kept("`set`", {1, 2}),
    _kept("`frozenset`", frozenset({1, 2})),
    _kept("`Markup`", Markup("<b>")),
    _kept("`UUID`", UUID(int=5)),
    _kept("`datetime` of whole seconds in UTC", _UTC),
    _kept("`datetime` with microseconds", _FINE),
    _kept("`datetime` without a time zone", _NAIVE),
    _kept("`date`", dt.date(2026, 1, 2)),
    _kept("`time`", dt.time(3, 4)),
    _kept("`timedelta`", dt.timedelta(1, 2, 3)),
    _kept("`Decimal`", Decimal("1.10")),
    Case("subclass of `str` (`quoted_name`, `numpy.str_`)", Text("a"), "a"),
    Case("`StrEnum`", Role.ADMIN, "admin"),
    Case("enum that is a `str`", Theme.DARK, "dark"),
    Case("subclass of `int`", Number(7), 7),
    Case("`IntEnum`", Level.HIGH, 3),
    Case("`IntFlag`", Rights.READ | Rights.WRITE, 3),
    Case("subclass of `float` (`numpy.float64`)", Measure(-0.0), -0.0),
    Case("subclass of `bytes`", Raw(b"\xff"), b"\xff"),
    Case("subclass of `list`", Rows([Rows([1]), Role.ADMIN]), [[1], "admin"]),
    Case("`NamedTuple`", Point(1, 2), (1, 2)),
    Case("`namedtuple`", Size(1, Size(2, 3)), (1, (2, 3))),
    Case("enum that is a `tuple`", Corner.TOP, (0, 1)),
    Case(
        "subclass of `dict` (`OAuth2Token`, `UserInfo`)",
        Token(scope=["a"], more=Token(expires_at=Measure(1.5))),
        {"scope": ["a"], "more": {"expires_at": 1.5}},
    ),
    Case("`OrderedDict`", collections.OrderedDict(b=1, a=(2,)), {"b": 1, "a": (2,)}),
    Case("`defaultdict`", collections.defaultdict(list, a=[1]), {"a": [1]}),
    Case("`Counter`", collections.Counter("aab"), {"a": 2, "b": 1}),
    Case("first values of a `MultiDict`", MultiDict(_PAIRS), {"q": "first", "page": "2"}),
    Case("of `request.args`", ImmutableMultiDict(_PAIRS), {"q": "first", "page": "2"}),
    Case(
        "of `request.values`",
        CombinedMultiDict([MultiDict(_PAIRS), MultiDict({"more": "3"})]),
        {"q": "first", "page": "2", "more": "3"},
    ),
    Case("`dict` with enums as keys", {Role.ADMIN: 1, Theme.DARK: 2}, {"admin": 1, "dark": 2}),
    Case("proxy of a `dict`", LocalProxy(lambda: {"a": 1}), {"a": 1}),
    Case("subclass of `Markup`", Bold("<b>"), Markup("<b>")),
    Case("`__html__` (`lazy_gettext`)", Lazy(), Markup("Bitte <b>anmelden</b>")),
    Case("`str` with `__html__`", LazyText("a"), Markup("<i>a</i>")),
    Case("subclass of `UUID`", Id(int=5), UUID(int=5)),
    Case("subclass of `datetime`", Moment(2026, 1, 2, 3, 4, 5, 678, dt.UTC), _FINE),
    Case("subclass of `date`", Day(2026, 1, 2), dt.date(2026, 1, 2)),
    Case("subclass of `Decimal`", Price("1.10"), Decimal("1.10")),
    Case("subclass of `set`", Names({1, 2}), {1, 2}),
    Case("`set` of enums", {Role.ADMIN, Level.HIGH}, {"admin", 3}),
    Case("dataclass", Item("a", ["b"]), {"sku": "a", "tags": ["b"]}),
    Case(
        "frozen dataclass with others in it",
        Cart((Item("a"),), dt.date(2026, 1, 2)),
        {"items": ({"sku": "a", "tags": []},), "since": dt.date(2026, 1, 2)},
    ),
    Case("`Enum` of another kind", Colour.RED, REFUSED),
    Case("proxy of a `str`", LocalProxy(lambda: "a"), REFUSED),
    Case("`deque`, generator, object, class", collections.deque(), REFUSED),
]


def from_flask(app: Flask, value: object, *, alone: bool = False) -> object:
    """Return what Flask's own session makes of *value*; ``REFUSED`` if it fails.

    With *alone* it is the whole session, otherwise one attribute of it.
    """
    tagged = TaggedJSONSerializer()
    with app.app_context():
        try:
            back = tagged.loads(tagged.dumps(value if alone else {"name": value}))
        except (TypeError, ValueError):
            return REFUSED
    return back if alone else back["name"]


def alike(one: object, other: object) -> bool:
    """Return whether two values are equal and of the same types; dicts in any order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        keys = [{(type(key), key) for key in each} for each in (one, other)]
        return keys[0] == keys[1] and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return {(type(item), item) for item in one} == {(type(item), item) for item in other}
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def table(found: list[tuple[Case, object, object]]) -> list[str]:
    """Return the rows of the table in the documentation: values of one fate share a row.

    Args:
        found: Each case, with what comes back of it here and from Flask.
    """
    rows: dict[str, list[str]] = {}
    for case, ours, theirs in found:
        beside = _named(theirs, case.value)
        if type(theirs) is type(ours) and not alike(theirs, ours):
            beside += ", changed"
        rows.setdefault(f"{_named(ours, case.value)} | {beside}", []).append(case.label)
    return [f"| {', '.join(labels)} | {fate} |" for fate, labels in rows.items()]


def _named(value: object, given: object) -> str:
    if value is REFUSED:
        return "an error"
    return "itself" if alike(value, given) else f"`{type(value).__name__}`"
