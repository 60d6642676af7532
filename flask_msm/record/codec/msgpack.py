"""Values of a session as bytes and back, at least as exact as from Flask, or refused by name.

What MessagePack or an extension holds comes back equal and of the same type. What only Flask's own
session takes besides, a subclass most often, is written as the plain value it stands for
(``lowering.py``): the stored form knows no more types than before.

The only module that imports ormsgpack. The built-in codec writes one of two forms:

* MessagePack, with extensions for what it has no type for (``extensions.py``);
* if the value holds containers that MessagePack does not have, a byte that never begins
  MessagePack, and a tree with marks (``tree.py``).

Which form, and every byte of it, follows from the value alone: an unchanged value is found by
comparing bytes. What is shared inside of a value (one list in two places) comes back as copies.
"""

from __future__ import annotations

import copy
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import ormsgpack

from flask_msm.errors import DecodeError, EncodeError

from .containers import SCALARS, ContainerEncoder, is_plain
from .extensions import decode
from .registry import Registered, Registry, describe_dataclass
from .tree import Tag, resolve
from .unsupported import Refused, type_name


if TYPE_CHECKING:
    from collections.abc import Callable

    from .lowering import Default


T = TypeVar("T")

# Everything that ormsgpack would write as something else goes to ``default``, which is not given,
# so that it is refused: no code of the application runs while ormsgpack holds its containers.
_PASS_ALL = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

#: MessagePack reserves this byte: "never used".
_TREE = 0xC1

# ormsgpack ignores bytes after the first value. Decoding ``[value, end]`` instead finds them: the
# end is in its place only if the value took exactly its bytes. Random, so that bytes cannot bring
# an end of their own.
_PAIR = b"\x92"
_END = b"\xcf" + os.urandom(8)
_END_VALUE = int.from_bytes(_END[1:], "big")
_LEFT_OVER = "bytes are left over after the value"

_MARKS = {mark.value: mark for mark in Tag}


class Codec(Protocol):
    """What turns the value of one attribute into bytes and back.

    The object that an application has set is never replaced within the request that has set it;
    later requests get what ``loads`` returns.
    """

    @property
    def id(self) -> int:
        """Number from 1 to 255 that every record names; 1 is the built-in codec."""
        ...

    def dumps(self, value: object) -> bytes:
        """Return *value* as bytes, the same for equal values.

        A change inside of a value is found by comparing these bytes with those of before.

        Raises:
            EncodeError: It cannot be stored, or would come back as something that the codec does
                not want to pass off as it.
        """
        ...

    def loads(self, data: bytes) -> object:
        """Return the value that became *data*, or the plain value that stands for it.

        Raises:
            DecodeError: There is none, or it cannot be made here.
        """
        ...


class MsgpackCodec:
    """The built-in codec: MessagePack, what Flask's own session takes, and registered types.

    Exact types come back as they are. A subclass of one comes back as that one (a namedtuple as
    tuple, a MultiDict as dict of its first values), and what has ``__html__`` as Markup.

    Register types before the first request, in every process that shares the sessions. A type
    is registered for itself alone, not for its subclasses, and not as a key of dicts. Objects of
    registered types that are equal must encode alike, or they look changed.
    """

    id = 1

    def __init__(self) -> None:
        self._registry = Registry()
        self._strict = False
        self._default: Default | None = None

    def bound(self, *, strict: bool, default: Default | None) -> MsgpackCodec:
        """Return this codec as one application uses it; registered types are those of both.

        Args:
            strict: Whether what would come back as another type is refused.
            default: Makes something plainer of a value that is of no type this codec takes, or
                raises ``TypeError``, as the ``default`` of a JSON provider.
        """
        bound = copy.copy(self)
        bound._strict, bound._default = strict, default  # noqa: SLF001 - its own class
        return bound

    def register(
        self, type_: type[T], name: str, encode: Callable[[T], object], decode: Callable[[Any], T]
    ) -> None:
        """Take objects of exactly *type_*.

        Args:
            type_: A class this codec does not take yet.
            name: Stands for the class in stored bytes. It must stay the same as long as such
                sessions live, also when the class moves.
            encode: Returns a value this codec takes.
            decode: Returns the object again, given a value equal to that one.

        Raises:
            ConfigError: The class or the name is taken already, or is not one.
        """
        self._registry.add(type_, Registered(name, encode, decode, "(…)"))

    def register_dataclass(self, cls: type[T], name: str | None = None) -> type[T]:
        """Take objects of exactly the dataclass *cls*, which is returned (usable as decorator).

        Its fields are stored by name and restored without calling ``__init__``. A field added
        later takes its default in older sessions.

        Args:
            cls: The dataclass.
            name: Stands for the class in stored bytes, by default its module and qualified name.

        Raises:
            ConfigError: It is not a dataclass, holds more than its fields, or is taken already.
        """
        self._registry.add(cls, describe_dataclass(cls, name))
        return cls

    def dumps(self, value: object) -> bytes:
        """Return *value* as bytes, the same for equal values in equal order.

        Raises:
            EncodeError: A part of it cannot be stored.
        """
        try:
            if type(value) in SCALARS or is_plain(value):
                return ormsgpack.packb(value, None, _PASS_ALL)
        except Exception:  # noqa: BLE001, S110 - the slow way names the cause
            pass
        try:
            return self._dumps_tree(value)
        except Refused as refused:
            error = EncodeError(refused.path, refused.type_name, refused.reason)
        except RecursionError:
            reason = "the call stack has no room left to walk through it"
            error = EncodeError("", type_name(type(value)), reason)
        except Exception as unexpected:  # noqa: BLE001 - a class that misleads every check
            reason = f"encoding it raised {type(unexpected).__name__}"
            error = EncodeError("", type_name(type(value)), reason)
        # Outside of the handlers, so that no cause with data in its text is attached.
        raise error

    def loads(self, data: bytes) -> object:
        """Return the value that became *data*.

        Safe with any bytes: no code but that of registered types runs. Lists and dicts deeper
        than ``dumps`` writes them are read, as far as ormsgpack goes (about 1,000 levels).

        Raises:
            DecodeError: There is none, or it holds a type or time zone that is not known here.
        """
        try:
            if data[0] != _TREE:
                # As in ``_unpack``, which is a call more for each attribute of each read.
                value, end = ormsgpack.unpackb(_PAIR + data + _END, ext_hook=decode)
                if end == _END_VALUE:
                    return value
                error = DecodeError(_LEFT_OVER)
            else:
                return resolve(_unpack(data[1:], _decode_or_mark), self._registry)
        except DecodeError as known:
            error = known
        except Exception as unexpected:  # noqa: BLE001 - any error means the same here
            reason = f"malformed, or made of something not known here ({type(unexpected).__name__})"
            error = DecodeError(reason)
        raise error

    def _dumps_tree(self, value: object) -> bytes:
        flattener = ContainerEncoder(
            ormsgpack.Ext, pack, self._registry, strict=self._strict, default=self._default
        )
        packed = pack(flattener.flatten(value))
        return bytes([_TREE]) + packed if flattener.marked else packed


#: Returns what it is given, made of lists, bytes, ints, None and str, as MessagePack. Raises
#: ``TypeError`` if that holds something else, a str with lone surrogates, or an int beyond 64 bits.
#: No function of its own, for each change of a session is packed.
pack: Callable[[object], bytes] = partial(ormsgpack.packb, option=_PASS_ALL)


def unpack(data: bytes) -> object:
    """Return what :func:`pack` was given.

    Raises:
        DecodeError: It is not exactly one MessagePack value, or has extensions.
    """
    try:
        return _unpack(data, None)
    except (ValueError, TypeError, MemoryError):
        error = DecodeError("it is not MessagePack")
    raise error


def _unpack(data: bytes, ext_hook: Callable[[int, bytes], object] | None) -> object:
    value, end = ormsgpack.unpackb(_PAIR + data + _END, ext_hook=ext_hook)
    if end != _END_VALUE:
        raise DecodeError(_LEFT_OVER)
    return value


def _decode_or_mark(number: int, data: bytes) -> object:
    mark = _MARKS.get(number)
    return mark if mark is not None and not data else decode(number, data)
