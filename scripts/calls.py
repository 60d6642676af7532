"""Counts calls of Python functions and waits for replies: costs that no busy machine changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

#: Types that bytes leave through: a socket, with TLS and without, and the connection inside of one.
CONNECTIONS = {"socket", "SSLSocket", "_SSLSocket"}


def files_called(act: Callable[[], object]) -> list[str]:
    """Return the file of each Python function that *act* calls in this thread."""
    files: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            files.append(frame.f_code.co_filename)

    _watched(act, note)
    return files


def count_waits(act: Callable[[], object]) -> int:
    """Return how often *act* waits for replies in this thread: how often it receives after sending.

    What is sent to two nodes before either is read is one wait.
    """
    waits, sent = 0, False

    def note(_: FrameType, event: str, called: object) -> None:
        nonlocal waits, sent
        of = type(getattr(called, "__self__", None)).__name__
        if event != "c_call" or of not in CONNECTIONS:
            return
        name = getattr(called, "__name__", "")
        if name in {"send", "sendall", "write"}:
            sent = True
        elif name in {"recv", "recv_into", "read"}:
            waits += sent
            sent = False

    _watched(act, note)
    return waits


def _watched(act: Callable[[], object], note: Callable[[FrameType, str, Any], object]) -> None:
    """Do *act*; *note* is called at each call in this thread."""
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
