"""How a codec reports which part of a value it does not take: path, type and reason, never data."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from markupsafe import Markup


if TYPE_CHECKING:
    from collections.abc import Iterable


#: The types of the codec itself: a value of exactly one of them comes back as it is.
TAKEN_TYPES: frozenset[type] = frozenset(
    {type(None), bool, int, float, str, bytes, list, dict, tuple, set, frozenset}
    | {UUID, Markup, Decimal, dt.datetime, dt.date, dt.time, dt.timedelta}
)

#: Called with a value of a subclass these make the plain value of it, and ``str`` does not.
_MAKERS = (dict, list, tuple, set, frozenset, int, float, bytes)

_KEY_LENGTH = 40
_KEY_TYPES = (str, int, bool, type(None), float, bytes)


class Refused(Exception):  # noqa: N818 - a message between levels of a walk, never seen outside
    """A part of a value cannot be encoded; each level it passes adds where the part is.

    Attributes:
        type_name: Qualified name of the refused type.
        reason: Why, in words; never a value or its ``repr``.
    """

    def __init__(self, value: object, reason: str | None = None) -> None:
        super().__init__()
        # Names only: an exception that is kept must not keep session data alive.
        self.type_name = type_name(type(value))
        self.reason = reason or _why(type(value))
        self._segments: list[str] = []

    def within(self, segment: str) -> None:
        """Note that the refused part is at *segment* of the level around it."""
        self._segments.append(segment)

    @property
    def path(self) -> str:
        """Where the refused part is, seen from the whole value."""
        return "".join(reversed(self._segments))


def type_name(kind: type) -> str:
    """Return ``module.qualname`` of *kind*, control characters escaped."""
    module, qualname = _ask("__module__", kind), _ask("__qualname__", kind)
    name = f"{module if type(module) is str else '?'}.{qualname}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def key_segment(key: object) -> str:
    """Return the part of a path that stands for the dict key *key*."""
    kind = type(key)
    if not _is_one_of(kind, _KEY_TYPES) or (isinstance(key, int) and key.bit_length() > 128):
        # The repr of a foreign type is foreign code, that of a huge int may raise.
        return f"[<{type_name(kind)}>]"
    if isinstance(key, str) and len(key) <= _KEY_LENGTH and key.isidentifier():
        return f".{key}"
    text = repr(key[: _KEY_LENGTH + 1] if isinstance(key, str | bytes) else key)
    return f"[{text if len(text) <= _KEY_LENGTH else text[: _KEY_LENGTH - 1] + '…'}]"


def _why(kind: type) -> str:
    bases = _ask("__mro__", kind)
    if any(_is_one_of(base, (bytearray, memoryview)) for base in bases):
        return "it would come back as bytes; store bytes"
    for base in bases[1:]:
        if _is_one_of(base, TAKEN_TYPES):
            name = base.__name__
            plain = f"{name}(value)" if _is_one_of(base, _MAKERS) else f"a plain {name}"
            return f"a subclass of {name}, which would come back as plain {name}; store {plain}"
    if any("__dataclass_fields__" in _ask("__dict__", base) for base in bases):
        return "a dataclass that is not registered with the codec"
    if any("__html__" in _ask("__dict__", base) for base in bases):
        return "it has __html__ and is not Markup, so it would come back as Markup"
    return "not a type the codec takes"


def _ask(name: str, kind: type) -> Any:
    # Of ``type`` itself, because a metaclass may answer anything, or raise.
    return type.__dict__[name].__get__(kind)


def _is_one_of(kind: type, types: Iterable[type]) -> bool:
    # Not ``in``: a metaclass may make classes that cannot be compared or hashed.
    return any(kind is one for one in types)
