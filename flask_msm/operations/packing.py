"""Plain data of the snapshot as JSON without names, and back, for workers of the same version."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints


if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Digits of a fraction that are kept: times need microseconds.
_DIGITS = 6


def packed(value: Any) -> bytes:
    """Return an instance of a dataclass as bytes that ``unpacked`` takes."""
    return json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":")).encode()


def unpacked(kind: type[T], data: bytes) -> T:
    """Return the instance of *kind* in *data*.

    Raises:
        ValueError: It is none.
    """
    try:
        found: T = _reader(cast("Any", kind))(json.loads(data))
    except (TypeError, KeyError, RecursionError, AttributeError) as error:
        raise ValueError("not packed by this version") from error
    return found


def shape_of(kind: type) -> str:
    """Return a short name of what *kind* consists of: another one when a field is another one."""
    return blake2b(repr(_shape(kind, ())).encode(), digest_size=4).hexdigest()


def _shape(hint: Any, above: tuple[Any, ...]) -> Any:
    names = _names(hint) or _columns(hint) if isinstance(hint, type) and hint not in above else ()
    if names:
        hints, inside = get_type_hints(hint), (*above, hint)
        return hint.__name__, [(name, _shape(hints[name], inside)) for name in names]
    arguments = get_args(hint)
    if not arguments:
        return str(hint)
    return str(get_origin(hint)), [_shape(one, above) for one in arguments]


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if kind is float:
        return round(value, _DIGITS)
    if kind is tuple:
        return [_plain(part) for part in value]
    names = _names(kind)
    if names:
        return [_plain(getattr(value, name)) for name in names]
    return dict(value) if isinstance(value, Mapping) else value


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


@cache
def _columns(kind: Hashable) -> tuple[str, ...]:
    """Return the names in a ``NamedTuple``, which is packed as the plain tuple it is."""
    found: tuple[str, ...] = getattr(kind, "_fields", ())
    return found


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return what makes a value of a type from plain data."""
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return _instances(hint, [(name, _reader(hints[name])) for name in _names(hint)])
    if _columns(hint):
        make: Callable[[Any], Any] = cast("Any", hint)._make
        return make
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (inner,) = [one for one in arguments if one is not NoneType]
        read = _reader(inner)
        return read if read is _same else lambda data: None if data is None else read(data)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            read = _reader(arguments[0])
            return tuple if read is _same else lambda data: tuple([read(part) for part in data])
        return tuple
    return _same


def _instances(kind: Any, readers: list[tuple[str, Callable[[Any], Any]]]) -> Callable[[Any], Any]:
    names = [name for name, _ in readers]
    places = enumerate(readers)
    special = [(name, place, read) for place, (name, read) in places if read is not _same]

    def read(data: Any) -> Any:
        if len(data) != len(names):
            raise ValueError("fields of another version")
        values = dict(zip(names, data, strict=True))
        for name, place, convert in special:
            values[name] = convert(data[place])
        return kind(**values)

    return read


def _same(data: Any) -> Any:
    return data
