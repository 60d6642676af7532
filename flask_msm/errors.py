"""Every error this package raises on purpose.

::

    MsmError
    ├── ConfigError                 a setting is wrong; raised by ``init_app``
    ├── EncodeError                 a value cannot be serialized (raised by codecs)
    ├── DecodeError                 stored bytes cannot be turned back into a value
    ├── SerializationError          an attribute cannot be stored; the request fails
    │   └── SessionTooLargeError    the whole session cannot be stored
    ├── ReadOnlyError               a ``read_only`` view changed the session
    ├── RecordError                 bytes that are not a record of ours
    │   ├── CorruptRecordError      flipped, cut, forged, or of another session
    │   │   └── IncompleteRecordError   a part of it can be read
    │   └── UnknownRecordError      signed with an unknown key, or of a newer format
    ├── SessionUnavailableError     the store does not know and ``MSM_ON_UNKNOWN`` is ``error``
    ├── CommandError                what an operator asked for cannot be done
    │   ├── UnreachedError          no node and no folder took the change
    │   └── ConflictError           another operator changed it since they looked
    └── NodeError                   one memcached node failed one operation
        ├── NodeUnreachableError    hard: refused, reset, closed, not memcached
        ├── NodeBusyError           soft: timed out, out of connections
        └── NodeValueError          the node is fine, it refused this key or value
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from typing import Any


class MsmError(Exception):
    """Root of all errors of this package; they go from one process to another as they are."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made of its text again, which most constructors here do not take.
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[MsmError], args: tuple[object, ...]) -> MsmError:
    return kind.__new__(kind, *args)


class ConfigError(MsmError, ValueError):
    """A setting is wrong.

    Attributes:
        key: Name of the setting, for example ``MSM_REPLICAS``.
        value: What it was set to; ``***`` for a secret and what may hold one.
        allowed: What it may be, in words.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self.value = value
        self.allowed = allowed
        super().__init__(f"{key} is {value!r}; allowed: {allowed}")


class EncodeError(MsmError):
    """A codec cannot serialize a value.

    Attributes:
        path: Where in the value, for example ``[3].lock``; empty for the value itself.
        type_name: Qualified name of the type that was found there.
        reason: Why, in words; never a value or its ``repr``.
    """

    def __init__(self, path: str, type_name: str, reason: str) -> None:
        self.path = path
        self.type_name = type_name
        self.reason = reason
        super().__init__(f"{type_name} at {path or 'the value itself'}: {reason}")


class DecodeError(MsmError):
    """A codec cannot turn bytes back into a value."""


class SerializationError(MsmError, TypeError):
    """An attribute of the session cannot be stored; what was stored before stays.

    Attributes:
        attribute: Name of the attribute, ``None`` when the session as a whole is meant.
        path: Where in the session, for example ``cart[3].lock``.
        type_name: Qualified name of the type that was found there.
        endpoint: Endpoint of the request, if it had one.
        reason: Why, in words; never a value or its ``repr``.
        raised: Name of the class of what the codec raised, empty if it was not asked.
    """

    _advice = "Store plain data (an id, not the object), or register the type with the codec."

    def __init__(
        self,
        attribute: str | None,
        *,
        path: str,
        type_name: str,
        endpoint: str | None,
        reason: str,
        raised: str = "",
    ) -> None:
        self.attribute = attribute
        self.path = path
        self.type_name = type_name
        self.endpoint = endpoint
        self.reason = reason
        self.raised = raised
        # Without an attribute it is a name that cannot be stored: no value is to blame.
        advice = "" if attribute is None else f"{self._advice} "
        super().__init__(
            f"session attribute {quoted(path)} ({type_name}) set in endpoint"
            f" {endpoint or 'unknown'!r} cannot be stored: {reason}. {advice}The session keeps what"
            " was stored before this request."
        )


class SessionTooLargeError(SerializationError):
    """The session as a whole is too large for the cluster.

    Attributes:
        size: Size of the record in bytes.
        limit: The largest size allowed, in bytes (``MSM_MAX_RECORD_SIZE``, or less if a node
            allows less).
    """

    _advice = "Keep large data elsewhere, and its id in the session."

    def __init__(self, *, size: int, limit: int, largest: str, endpoint: str | None) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            largest,
            path=largest,
            type_name="largest attribute",
            endpoint=endpoint,
            reason=f"the session takes {size} bytes, allowed are {limit} (MSM_MAX_RECORD_SIZE)",
        )


class ReadOnlyError(MsmError, RuntimeError):
    """A view marked ``read_only`` changed the session (raised in debug mode)."""


class RecordError(MsmError):
    """Bytes read from a store are not a record that can be used."""


class CorruptRecordError(RecordError):
    """Flipped, cut, forged, or another session's record: like a copy that is not there."""


class IncompleteRecordError(CorruptRecordError):
    """A part of a record can be read: joined with others it counts, alone it does not.

    Attributes:
        part: What could be read, a ``Record``.
        damaged: The rest is damaged. Otherwise a change is missing, which is usual for a moment
            where several requests change one session.
    """

    def __init__(self, message: str, part: Any, *, damaged: bool = True) -> None:
        super().__init__(message)
        self.part = part
        self.damaged = damaged


class UnknownRecordError(RecordError):
    """Signed with a key, or in a format, that this process does not know: never overwritten."""


class SessionUnavailableError(MsmError):
    """No store knows whether the session exists (``MSM_ON_UNKNOWN = "error"``)."""


class CommandError(MsmError):
    """What an operator asked for cannot be done; nothing was changed."""


class UnreachedError(CommandError):
    """No node took the change, nor a folder of this host, and this process is no worker."""


class ConflictError(CommandError):
    """It was changed since the operator looked at it; nothing was changed again."""


class NodeError(MsmError):
    """One memcached node failed one operation.

    Attributes:
        node: Id of the node.
        reason: What happened, in words.
    """

    def __init__(self, node: str, reason: str) -> None:
        self.node = node
        self.reason = reason
        super().__init__(f"node {node}: {reason}")


class NodeUnreachableError(NodeError):
    """Hard: refused, reset, closed by the peer, name not resolved, or not memcached at all."""


class NodeBusyError(NodeError):
    """Soft: timed out or out of connections; one of these alone is no proof of a fault."""


class NodeValueError(NodeError):
    """The node is fine, it refused this key or value (too large, out of memory)."""


def quoted(name: str, limit: int = 120) -> str:
    """Return *name* quoted, control characters escaped, cut to *limit* characters."""
    text = name if len(name) <= limit else name[: limit - 1] + "…"
    if text.isprintable():
        return f"'{text}'"
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) + "'"


#: Longer names of attributes are cut; a hash distinguishes those with the same start.
MAX_NAME = 120


def short_name(name: str) -> str:
    """Return *name*, cut to ``MAX_NAME`` characters if it is longer, different for each name."""
    if len(name) <= MAX_NAME:
        return name
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{name[: MAX_NAME - 10]}…#{digest}"


def one_line(text: str, limit: int) -> str:
    """Return *text* in one line of at most *limit* characters, control characters escaped."""
    escaped = quoted(text, limit)[1:-1]
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
