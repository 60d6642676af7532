"""Whether what an application keeps in its session can be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app, has_app_context

from flask_msm.errors import SerializationError
from flask_msm.extension import EXTENSION
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.codec.names import by_text, why_refused
from flask_msm.sessions.encoding import encode


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.record.codec.msgpack import Codec


def assert_serializable(contents: Mapping[str, object], *, codec: Codec | None = None) -> None:
    """Assert that every attribute of a session can be stored.

    Args:
        contents: The session, or a dictionary of what is put into it.
        codec: What the application gives ``MemcachedSessionManager``. If not given, the one of the
            current application, with its JSON provider; without one, the built-in one.

    Raises:
        AssertionError: Some cannot. It names path and type of each, never a value.
    """
    codec, strict = (codec, False) if codec else _of_application()
    named = dict(contents.items())
    named = named if strict else by_text(named)
    problems = []
    for name, value in named.items():
        if type(name) is not str:
            problems.append(f"a name is a {type(name).__qualname__}: {why_refused(name, named)}")
            continue
        try:
            encode(name, value, codec, None)
        except SerializationError as error:
            problems.append(f"{error.path} ({error.type_name}): {error.reason}")
    if problems:
        message = "these cannot be stored in a session:\n  " + "\n  ".join(problems)
        raise AssertionError(message)


def _of_application() -> tuple[Codec, bool]:
    """Return the codec of the current application, and whether it takes exact types only."""
    if has_app_context():
        state = current_app.extensions.get(EXTENSION)
        if state is not None:
            return state.repository.codec, state.settings.strict_types
    return MsgpackCodec(), False
