"""The types an application adds to the codec."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_msm.errors import ConfigError, DecodeError

from .unsupported import TAKEN_TYPES, Refused, key_segment


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# What a ``ConfigError`` calls the arguments of the codec's ``register`` methods.
TYPE = "class registered with the codec"
NAME = "name of a class registered with the codec"
MAX_NAME = 200


class Registered(NamedTuple):
    """One type of an application.

    Attributes:
        name: What stands for the type in stored bytes.
        segment: Stands in a path for the step from the object to its encoded value.
    """

    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    segment: str


class Registry:
    """Registered types, found by exact type when encoding and by name when decoding.

    A name is only ever looked up here, so stored bytes cannot choose what is imported or called.
    """

    def __init__(self) -> None:
        self.by_type: dict[type, Registered] = {}
        self.by_name: dict[str, Registered] = {}

    def add(self, type_: type, entry: Registered) -> None:
        """Add *entry* for exactly *type_*."""
        name = entry.name
        if not isinstance(type_, type) or type_ in TAKEN_TYPES or type_ in self.by_type:
            raise ConfigError(TYPE, type_, "a class that the codec does not take yet")
        if type(name) is not str or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise ConfigError(NAME, name, f"1 to {MAX_NAME} printable characters")
        if name in self.by_name:
            raise ConfigError(NAME, name, "a name that is not taken yet")
        self.by_type[type_] = self.by_name[name] = entry

    def decode(self, name: object, encoded: object) -> object:
        """Return the object that the type called *name* wrote as *encoded*."""
        if type(name) is not str or name not in self.by_name:
            raise DecodeError("it holds an object of a type that is not registered here")
        return self.by_name[name].decode(encoded)


def describe_dataclass(cls: type, name: str | None) -> Registered:
    """Return how objects of the dataclass *cls* are stored: as a dict of their fields."""
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
        raise ConfigError(TYPE, cls, "a dataclass")
    try:
        object.__new__(cls)
    except TypeError:
        # A dataclass that is also a dict, an exception, ...: its fields are not all it holds.
        allowed = "a dataclass that is not abstract and not derived from a built-in type"
        raise ConfigError(TYPE, cls, allowed) from None
    fields = _Fields(cls)
    name = name if name is not None else f"{cls.__module__}.{cls.__qualname__}"
    return Registered(name, fields.read, fields.restore, "")


class _Fields:
    """Reads and restores the fields of one dataclass.

    ``__init__`` and ``__post_init__`` do not run again: what they made of their arguments is
    what was stored.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._fields = {field.name: field for field in dataclasses.fields(cls)}
        # A cached property is computed again where it is missing, so it need not be stored.
        cached = (
            name
            for base in cls.__mro__
            for name, value in vars(base).items()
            if isinstance(value, cached_property)
        )
        self._allowed = self._fields.keys() | set(cached)

    def read(self, value: Any) -> dict[str, object]:
        self._refuse(value, getattr(value, "__dict__", {}).keys() - self._allowed, "not a field")
        fields = {name: getattr(value, name, dataclasses.MISSING) for name in self._fields}
        unset = (name for name, item in fields.items() if item is dataclasses.MISSING)
        self._refuse(value, unset, "a field without a value")
        return fields

    @staticmethod
    def _refuse(value: object, names: Iterable[str], reason: str) -> None:
        for name in sorted(names):
            refused = Refused(value, f"this attribute of the dataclass is {reason}")
            refused.within(key_segment(name))
            raise refused

    def restore(self, stored: Any) -> object:
        if type(stored) is not dict or stored.keys() - self._fields.keys():
            raise DecodeError("it holds a dataclass with a field that is not known here")
        value: object = object.__new__(self._cls)
        for name, field in self._fields.items():
            # Not setattr, which a frozen dataclass refuses.
            object.__setattr__(value, name, stored[name] if name in stored else _default(field))
        return value


def _default(field: dataclasses.Field[Any]) -> object:
    """Return what a record from before *field* was added gets."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        raise DecodeError("it holds a dataclass without a field that has no default")
    return field.default
