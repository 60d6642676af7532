"""The reply to ``lru_crawler metadump``: which keys a node holds.

Lines are looked at by the block, as they come, and nothing of them is kept but what is asked for:
a node may hold millions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from .wire import (
    NO_CONNECTION,
    LimitReachedError,
    ProtocolError,
    ServerError,
    UnsupportedError,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Collection


#: A line holds a key of up to 250 bytes, each as ``%xx``, and some numbers.
LINE_LIMIT = 4096
#: More keys than this are not collected at once; memory has to stay bounded.
KEY_LIMIT = 5_000_000
#: Complete lines about keys: "key=app%3A1 exp=... la=... cas=...", the key is URL-encoded.
_LINES = re.compile(rb"(?:key=[^\n]*\n)*")
#: In front of them from memcached 1.6.43 on.
_OK = b"OK\r\n"
_KEY, _EXPIRES = rb"([^ \n]*)", rb" exp=(-?[0-9]{1,19}) "


class Listing:
    """Collects the keys that begin with *prefix*; *limit* of them end it, the rest is not read.

    Attributes:
        listing: The node has begun to list its keys.
        by_class: It lists them by their size only: memcached before 1.6.9.
    """

    __slots__ = ("_found", "_limit", "_pattern", "_prefix", "_received", "by_class", "listing")

    def __init__(self, prefix: str, limit: int | None = None, *, rest: bytes = _KEY) -> None:
        self.listing = self.by_class = False
        self._prefix = prefix
        self._pattern = re.compile(b"key=" + re.escape(quote(prefix, safe="").encode()) + rest)
        self._limit = limit
        self._received = b""
        self._found: list[str] = []

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the reply is complete."""
        data = self._received + data
        end = data.rfind(b"\n") + 1
        self._received = data[end:]
        if len(self._received) > LINE_LIMIT:
            raise ProtocolError("a line without an end")
        start = 0 if self.listing or not data.startswith(_OK) else len(_OK)
        lines = _LINES.match(data, start, end)
        keys = lines.end() if lines else start
        if keys:
            self.listing = True
        if keys > start:
            self._take(self._pattern.findall(data, start, keys))
        if keys == end:
            return False
        behind = data.index(b"\n", keys) + 1
        text = data[keys:behind].rstrip(b"\r\n")
        if text != b"END":
            self.by_class = text.startswith(b"BADCLASS")
            raise _refusal(text)
        if behind != len(data):
            raise ProtocolError("more than was asked for")
        return True

    def outcome(self, horizon: int) -> list[str]:  # noqa: ARG002  (part of the protocol)
        """Return the keys."""
        return self._found

    def reset(self) -> None:
        """Forget what came in."""
        self.listing = False
        self._received = b""
        self._found = []

    def _take(self, found: list[Any]) -> None:
        """Take what the pattern found behind the prefix in some lines."""
        names = [self._prefix + _unquoted(name) for name in found]
        if self._limit is not None:
            self._found += names[: self._limit - len(self._found)]
            if len(self._found) == self._limit:
                raise LimitReachedError
            return
        self._found += names
        if len(self._found) > KEY_LIMIT:
            raise ProtocolError("more keys than can be listed")


class Digests(Listing):
    """Hands on the digests of sessions as they come, and keeps none.

    Args:
        digits: What a digest may begin with.
        take: Is called with some digests, hexadecimal digits; if the reply began anew, some come
            twice.
    """

    __slots__ = ("_hand_on",)

    def __init__(
        self, prefix: str, digits: str, length: int, take: Callable[[list[bytes]], object]
    ) -> None:
        rest = rb"([%b][0-9a-f]{%d}) " % (digits.encode(), length - 1)
        super().__init__(prefix, rest=rest)
        self._hand_on = take

    def _take(self, found: list[Any]) -> None:
        self._hand_on(found)


class Expiries(Listing):
    """Collects when the keys *wanted* expire, by the clock of the node; all begin with *prefix*."""

    __slots__ = ("_expiries", "_wanted")

    def __init__(self, prefix: str, wanted: Collection[str]) -> None:
        super().__init__(prefix, rest=_KEY + _EXPIRES)
        self._wanted = frozenset(wanted)
        self._expiries: dict[str, int] = {}

    def expiries(self) -> dict[str, int]:
        """Return seconds since the epoch by key; -1 for a key that does not expire."""
        return self._expiries

    def reset(self) -> None:
        """Forget what came in."""
        super().reset()
        self._expiries = {}

    def _take(self, found: list[Any]) -> None:
        for name, expires in found:
            key = self._prefix + _unquoted(name)
            if key in self._wanted:
                self._expiries[key] = int(expires)


def _unquoted(name: bytes) -> str:
    return unquote_to_bytes(name).decode("utf-8", "replace")


def _refusal(text: bytes) -> Exception:
    if text.startswith((b"BUSY", b"ERROR locked")):
        # Another crawl is running, or the hash table grows: it is worth another try.
        return ServerError("SERVER_ERROR", "busy")
    kind, _, reason = text.decode("ascii", "replace").partition(" ")
    if NO_CONNECTION in reason:
        # The command was not looked at.
        return ServerError(kind, reason)
    if text.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"BADCLASS")):
        # Proxies and guarded servers answer so; sessions can live there all the same.
        return UnsupportedError()
    return ProtocolError("not an answer to this command")
