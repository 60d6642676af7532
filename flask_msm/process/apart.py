"""Calls what is no part of the request that happens to be answered meanwhile.

A filter of the log, or a receiver of a signal, may look at the session of the request. Nothing is
logged or told in such a way while a session is read: it would be asked for again from within.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import ParamSpec, TypeVar


P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return what *function* returns, called as in a thread of its own: without a request."""
    return Context().run(function, *args, **options)
