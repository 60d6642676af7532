"""One attribute of a session as bytes, or why it cannot be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_msm.errors import EncodeError, SerializationError
from flask_msm.record.codec.names import why_refused
from flask_msm.record.codec.unsupported import type_name


if TYPE_CHECKING:
    from collections.abc import Collection

    from flask_msm.record.codec.msgpack import Codec


def encode(
    name: Any,
    value: object,
    codec: Codec,
    endpoint: str | None,
    names: Collection[object] = (),
) -> bytes:
    """Return *value* encoded.

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
