"""What an application changed, found by comparing what would be stored with what is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from flask_msm.errors import DecodeError, EncodeError, SerializationError, quoted
from flask_msm.record.codec.names import why_refused
from flask_msm.record.codec.unsupported import type_name


if TYPE_CHECKING:
    from flask_msm.record.codec.msgpack import Codec


logger = logging.getLogger("flask_msm")

#: Values of these types cannot change: the same object is the same value, without encoding it.
IMMUTABLE = frozenset({str, int, bool, float, bytes, type(None)})

#: Called with name, value and what was raised when a value cannot be encoded. Returns what is
#: stored in its place, ``None`` to leave what is stored as it is, or raises.
Refused = Callable[[Any, Any, SerializationError], "bytes | None"]


def refuse(name: Any, value: Any, error: SerializationError) -> NoReturn:  # noqa: ARG001
    """Raise *error*: such a value cannot be stored."""
    raise error


class ChangeTracker:
    """The attributes as they are stored, and the objects the application got for them.

    Attributes:
        encoded: What is stored, by name.
        undecodable: Names whose bytes this process cannot decode: kept, and not shown.
    """

    __slots__ = ("_originals", "encoded", "undecodable")

    def __init__(self) -> None:
        self.encoded: dict[str, bytes] = {}
        self.undecodable: tuple[str, ...] = ()
        self._originals: dict[str, Any] = {}

    def decode(self, stored: Mapping[str, bytes], codec: Codec) -> dict[str, Any]:
        """Take *stored* as what is stored, and return it decoded."""
        values: dict[str, Any] = {}
        undecodable = []
        for name, encoded in stored.items():
            try:
                values[name] = codec.loads(encoded)
            except DecodeError as error:
                undecodable.append(name)
                logger.warning("session attribute %s cannot be decoded: %s", quoted(name), error)
            except Exception as error:  # noqa: BLE001  (a codec of the application may raise anything)
                undecodable.append(name)
                reason = raised_by(codec, error)
                logger.warning("session attribute %s cannot be decoded: %s", quoted(name), reason)
        self.undecodable = tuple(undecodable)
        self.encoded = {name: stored[name] for name in values} if undecodable else dict(stored)
        self._originals = dict(values)
        return values

    def changes(
        self,
        values: Mapping[str, Any],
        codec: Codec,
        endpoint: str | None,
        refused: Refused = refuse,
    ) -> dict[str, bytes | None]:
        """Return what differs: encoded values by name, ``None`` for what was removed.

        Raises:
            SerializationError: A value cannot be stored, and *refused* raises it.
        """
        changed: dict[str, bytes | None] = {}
        encoded, originals = self.encoded, self._originals
        for name, value in values.items():
            # None never stands in for "was not there": then the encoded value is missing too.
            if name in encoded and originals.get(name) is value and type(value) in IMMUTABLE:
                continue
            try:
                raw = encode(name, value, codec, endpoint, values)
            except SerializationError as error:
                instead = refused(name, value, error)
                if instead is None:
                    continue
                raw = instead
            if encoded.get(name) == raw:
                continue
            if originals.get(name) is value and self._is_form_only(name, raw, codec):
                continue
            changed[name] = raw
        for name in encoded:
            if name not in values:
                changed[name] = None
        return changed

    def differs(self, name: Any, value: Any, codec: Codec) -> bool:
        """Return whether *value* is another one than what is stored under *name*."""
        stored, same = self.encoded.get(name), self._originals.get(name) is value
        if stored is not None and same and type(value) in IMMUTABLE:
            return False
        try:
            raw = codec.dumps(value)
        except Exception:  # noqa: BLE001 - a codec of the application may raise anything
            return True
        return raw != stored and not (same and self._is_form_only(name, raw, codec))

    def _is_form_only(self, name: str, raw: bytes, codec: Codec) -> bool:
        """Return whether what is stored under *name* would be *raw* if it were written today.

        Before a deploy another codec, or another version of a registered type, wrote it in its own
        form. A request that only reads it must not write it: that would undo others' changes.
        """
        stored = self.encoded.get(name)
        if stored is None:
            return False
        try:
            return codec.dumps(codec.loads(stored)) == raw
        except Exception:  # noqa: BLE001 - as above
            return False

    def accept(self, changed: Mapping[str, bytes | None], values: Mapping[str, Any]) -> None:
        """Take *changed* as stored, of *values* or of what others stored beside them."""
        for name, raw in changed.items():
            if raw is None:
                self.encoded.pop(name, None)
                self._originals.pop(name, None)
            elif name in values:
                self.encoded[name] = raw
                self._originals[name] = values[name]

    def rebase(self, values: Mapping[str, Any], codec: Codec) -> None:
        """Take *values* as stored although they are not; what cannot be encoded is passed over."""
        originals = dict(values)
        encoded = {}
        for name, value in originals.items():
            try:
                encoded[name] = encode(name, value, codec, None)
            except SerializationError:
                continue
        self.encoded, self._originals = encoded, originals


def encode(
    name: Any,
    value: object,
    codec: Codec,
    endpoint: str | None,
    names: Collection[object] = (),
) -> bytes:
    """Return *value* encoded.

    Args:
        name: Its name.
        value: The value of an attribute.
        codec: Encodes it.
        endpoint: Endpoint of the request.
        names: All names of the session.

    Raises:
        SerializationError: It cannot be, or its *name* is not a string.
    """
    if type(name) is not str:
        kind = type(name).__qualname__
        raise SerializationError(
            None,
            path=f"[{kind}]",
            type_name=kind,
            endpoint=endpoint,
            reason=why_refused(name, names),
        )
    kind = ""
    try:
        encoded: object = codec.dumps(value)
        if type(encoded) is bytes or isinstance(encoded, bytes):
            return encoded
        reason = f"the codec {type(codec).__name__} returned {type_name(type(encoded))}, not bytes"
    except EncodeError as error:
        raise SerializationError(
            name,
            path=name + error.path,
            type_name=error.type_name,
            endpoint=endpoint,
            reason=error.reason,
            raised=type(error).__qualname__,
        ) from error
    except Exception as error:  # noqa: BLE001  (a codec of the application may raise anything)
        kind, reason = type(error).__qualname__, raised_by(codec, error)
    # Outside of the handler, so that no cause with data in its text is attached.
    raise SerializationError(
        name,
        path=name,
        type_name=type_name(type(value)),
        endpoint=endpoint,
        reason=reason,
        raised=kind,
    )


def raised_by(codec: Codec, error: Exception) -> str:
    """Return that *codec* raised *error*, without the error's text: it may hold data."""
    return f"the codec {type(codec).__name__} raised {type(error).__qualname__}"
