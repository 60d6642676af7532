"""What a view calls: ``regenerate()``, ``destroy()``, ``@read_only``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import session

from flask_msm.sessions.session import Session

from .interface import READ_ONLY


View = TypeVar("View", bound=Callable[..., object])


def regenerate() -> None:
    """Give the current session another id; call it at a sign-in, against session fixation.

    ``session.sid`` and ``session.ref`` name the new session from now on, and it is stored when the
    session is saved. When another request has moved the session already (a double click), this one
    gets a session of its own: with what it set, and with what it had read if that was before.
    Does nothing where sessions are not kept by this extension (``MSM_ENABLED = False``).
    """
    current = session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    if isinstance(current, Session):
        current.regenerate()


def destroy() -> None:
    """End the current session for good; what is set afterwards starts a new one.

    Where sessions are not kept by this extension it is ``session.clear()``.
    """
    current = session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    if isinstance(current, Session):
        current.destroy()
    else:
        current.clear()


def read_only(view: View) -> View:
    """Mark *view*: its requests save nothing.

    A change of the session raises ``ReadOnlyError`` in debug mode and is logged otherwise; either
    names each attribute that was changed. The session stays alive as with any other view.
    """
    setattr(view, READ_ONLY, True)
    return view
