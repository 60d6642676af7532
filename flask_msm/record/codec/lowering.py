"""What Flask's own session takes beside the codec's exact types, and the form it is stored in.

Flask asks its tags in this order: dict, tuple, list, bytes, ``__html__``, UUID, datetime. JSON
takes str, int and float of what is left, and the application's JSON provider is asked about the
rest. The order is the same here, so that a class that is several of these comes back as it does
from Flask. Subclasses of the codec's further types (date, Decimal, set, ...) come back as these:
that is more exact than what a JSON provider makes of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from markupsafe import Markup

from .unsupported import Refused


#: Makes something plainer of a value that has no place in JSON, or raises ``TypeError``.
Default = Callable[[Any], object]

_Step = tuple[type, Callable[[Any], object]]


# The classes are looked up here, once: tools that stop the clock of a test replace them later.
def _plain_date(value: dt.date, make: type[dt.date] = dt.date) -> dt.date:
    return make(value.year, value.month, value.day)


def _plain_datetime(value: dt.datetime, make: type[dt.datetime] = dt.datetime) -> dt.datetime:
    return make.combine(_plain_date(value), _plain_time(value))


def _plain_time(value: dt.datetime | dt.time) -> dt.time:
    time = value.hour, value.minute, value.second, value.microsecond
    return dt.time(*time, tzinfo=value.tzinfo, fold=value.fold)


def _plain_bytes(value: bytes) -> bytes:
    return bytes(memoryview(value))


# Asked with isinstance(), as Flask's tags do: a proxy of a dict is taken for a dict.
_BEFORE_HTML: tuple[_Step, ...] = (
    (dict, lambda value: dict(value.items())),
    (tuple, tuple),
    (list, list),
    (bytes, _plain_bytes),
)
_AFTER_HTML: tuple[_Step, ...] = (
    (UUID, lambda value: UUID(bytes=value.bytes)),
    (dt.datetime, _plain_datetime),
)
# Asked of the real class, as JSON does. The methods are those of the base, for an enum has others.
_SCALARS: tuple[_Step, ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)
_FURTHER: tuple[_Step, ...] = (
    (dt.date, _plain_date),
    (dt.time, _plain_time),
    (dt.timedelta, lambda value: dt.timedelta(value.days, value.seconds, value.microseconds)),
    (Decimal, Decimal),
    (set, set),
    (frozenset, frozenset),
)
_KEYS = (*_SCALARS, (bytes, _plain_bytes))
# What a set can hold when it comes back.
_ITEMS: tuple[_Step, ...] = (
    (Markup, Markup),
    *(
        step
        for step in (*_BEFORE_HTML, *_AFTER_HTML, *_SCALARS, *_FURTHER)
        if step[0] not in (dict, list, set)
    ),
)
_COMPARES = ("__eq__", "__hash__")
BAD_KEY = "a dict key may be a str, int, bool, None, float or bytes; use a text"


def lowered(value: Any, default: Default | None) -> tuple[object, bool]:
    """Return what is stored in place of *value*, and whether *default* made it.

    Its parts are left as they are. The codec does not take its type; *default* is asked about what
    Flask has no tag for.

    Raises:
        Refused: Nothing can be stored in its place.
    """
    kind = type(value)
    try:
        for base, plain in _BEFORE_HTML:
            if isinstance(value, base):
                return plain(value), False
        if callable(getattr(value, "__html__", None)):
            return Markup(str(value.__html__())), False  # noqa: S704 - as Flask does
        for base, plain in _AFTER_HTML:
            if isinstance(value, base):
                return plain(value), False
        for base, plain in (*_SCALARS, *_FURTHER):
            if issubclass(kind, base):
                return plain(value), False
    except Exception as error:  # noqa: BLE001 - methods of any class
        raise _failed(value, error) from None
    return _by_default(value, default), True


def lowered_item(value: Any) -> object:
    """Return what is stored in place of *value*, an item of a set.

    Two items must not become one: so only what compares as its base does is taken.

    Raises:
        Refused: It is something else.
    """
    kind = type(value)
    try:
        for base, plain in _ITEMS:
            if issubclass(kind, base):
                if all(getattr(kind, name) is getattr(base, name) for name in _COMPARES):
                    return plain(value)
                break
    except Exception as error:  # noqa: BLE001 - methods of any class
        raise _failed(value, error) from None
    raise Refused(value)


def lowered_key(value: Any) -> object:
    """Return what is stored in place of *value*, a key of a dict.

    Raises:
        Refused: It is no subclass of str, int, float or bytes.
    """
    kind = type(value)
    for base, plain in _KEYS:
        if issubclass(kind, base):
            return plain(value)
    raise Refused(value, BAD_KEY)


def _by_default(value: object, default: Default | None) -> object:
    if default is None:
        raise Refused(value)
    try:
        return default(value)
    except TypeError:
        # A JSON provider raises it for a value that it does not know.
        pass
    except Exception as error:  # noqa: BLE001 - code of the application
        reason = f"the application's JSON provider raised {type(error).__name__}"
        raise Refused(value, reason) from None
    raise Refused(value)


def _failed(value: object, error: Exception) -> Refused:
    return Refused(value, f"making it plain raised {type(error).__name__}")
