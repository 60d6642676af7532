"""Whether what an application keeps in its session can be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_msm.changes import encode
from flask_msm.errors import SerializationError
from flask_msm.record.codec import MsgpackCodec


if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_msm.record.codec import Codec


def assert_serializable(contents: Mapping[str, object], *, codec: Codec | None = None) -> None:
    """Assert that every attribute of a session can be stored.

    Args:
        contents: The session, or a dictionary of what is put into it.
        codec: What the application gives ``MemcachedSessionManager``; the built-in one if not.

    Raises:
        AssertionError: Some cannot. It names path and type of each, never a value.
    """
    codec = codec or MsgpackCodec()
    problems = []
    for name, value in contents.items():
        if type(name) is not str:
            problems.append(f"a name is a {type(name).__qualname__}: names are str")
            continue
        try:
            encode(name, value, codec, None)
        except SerializationError as error:
            problems.append(f"{error.path} ({error.type_name}): {error.reason}")
    if problems:
        message = "these cannot be stored in a session:\n  " + "\n  ".join(problems)
        raise AssertionError(message)
