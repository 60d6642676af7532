"""The reply to ``lru_crawler metadump``: which keys a node holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .wire import LimitReachedError, ProtocolError, ServerError, UnsupportedError


if TYPE_CHECKING:
    from collections.abc import Collection


#: A line holds a key of up to 250 bytes, each as ``%xx``, and some numbers.
LINE_LIMIT = 4096
#: More keys than this are not listed at once; memory has to stay bounded.
KEY_LIMIT = 5_000_000
_EXPIRES = re.compile(rb" exp=(-?[0-9]{1,19}) ")


class Listing:
    """Collects the keys that begin with *prefix*; *limit* of them end it, the rest is not read.

    Attributes:
        listing: The node has begun to list its keys.
    """

    __slots__ = ("_found", "_limit", "_prefix", "_received", "listing")

    def __init__(self, prefix: str, limit: int | None = None) -> None:
        self.listing = False
        self._prefix = prefix
        self._limit = limit
        self._received = b""
        self._found: list[str] = []

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        lines = (self._received + data).split(b"\n")
        self._received = lines.pop()
        if len(self._received) > LINE_LIMIT:
            raise ProtocolError("a line without an end")
        for position, line in enumerate(lines):
            if line.startswith(b"key="):
                self.listing = True
                self._add(line)
                continue
            text = line.rstrip(b"\r")
            if text == b"END":
                if position != len(lines) - 1 or self._received:
                    raise ProtocolError("more than was asked for")
                return True
            raise _refusal(text)
        return False

    def outcome(self, horizon: int) -> list[str]:  # noqa: ARG002  (part of the protocol)
        """Return the keys."""
        return self._found

    def reset(self) -> None:
        """Forget what came in."""
        self._received = b""
        self._found = []

    def _add(self, line: bytes) -> None:
        key = _key(line)
        if key.startswith(self._prefix):
            self._found.append(key)
            if len(self._found) == self._limit:
                raise LimitReachedError
            if len(self._found) > KEY_LIMIT:
                raise ProtocolError("more keys than can be listed")


class Expiries(Listing):
    """Collects when the keys *wanted* expire, by the clock of the node; all begin with *prefix*."""

    __slots__ = ("_expiries", "_wanted")

    def __init__(self, prefix: str, wanted: Collection[str]) -> None:
        super().__init__(prefix)
        self._wanted = frozenset(wanted)
        self._expiries: dict[str, int] = {}

    def expiries(self) -> dict[str, int]:
        """Return seconds since the epoch by key; -1 for a key that does not expire."""
        return self._expiries

    def reset(self) -> None:
        """Forget what came in."""
        super().reset()
        self._expiries = {}

    def _add(self, line: bytes) -> None:
        key = _key(line)
        expires = _EXPIRES.search(line)
        if key in self._wanted and expires:
            self._expiries[key] = int(expires[1])


def _key(line: bytes) -> str:
    # "key=app%3A1 exp=... la=... cas=...": the key is URL-encoded.
    return unquote(line[4:].partition(b" ")[0].decode("ascii", "replace"))


def _refusal(text: bytes) -> Exception:
    if text.startswith(b"BUSY"):
        # Another crawl is running: it is worth another try.
        return ServerError("SERVER_ERROR", "busy")
    if text.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
        # Proxies and guarded servers answer so; sessions can live there all the same.
        return UnsupportedError()
    return ProtocolError("not an answer to this command")
