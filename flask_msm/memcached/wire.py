"""The memcached text protocol: commands as bytes, and what can be wrong on the wire. No I/O.

No message here repeats a key, a value or what the peer sent.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_KEY = re.compile("[!-~]{1,250}")
_KEYS = re.compile("[!-~]{1,250}(?: [!-~]{1,250})*")
TTL_LIMIT = 2**31


#: Longest time to live memcached takes as "seconds from now"; above, it means a date.
RELATIVE_TTL_LIMIT = 30 * 24 * 3600
#: In the error line of a node that has no connection left.
NO_CONNECTION = "Too many open connections"


def ttl_for(expires_at: float, now: float) -> int:
    """Return the time to live by which an item ends at *expires_at*.

    The only place that makes a time to live: never 0 (which means "for ever"), never negative
    ("at once"), relative up to 30 days, a date beyond, below 2**31 where memcached wraps around.
    Source: memcached ``doc/protocol.txt``, "Expiration times".
    """
    seconds = int(expires_at - now) + 1
    if seconds <= 1:
        return 1
    if seconds <= RELATIVE_TTL_LIMIT:
        return seconds
    if now > TTL_LIMIT - 1 - RELATIVE_TTL_LIMIT:
        return RELATIVE_TTL_LIMIT  # from 2038 on every date that can be written is past
    return min(int(now) + seconds, TTL_LIMIT - 1)


class WireError(Exception):
    """The exchange of bytes did not work out; the connection is of no use any more."""


class ProtocolError(WireError):
    """The peer does not speak memcached, or not as an answer to this command."""


class PeerClosedError(WireError):
    """The peer closed the connection before the first byte of the reply."""


class IllegalKeyError(WireError):
    """The key cannot be sent."""


class ValueTooLargeError(WireError):
    """The value is larger than what the server stores."""


class ServerError(WireError):
    """The peer answered with an error line.

    Attributes:
        kind: ``ERROR``, ``CLIENT_ERROR`` or ``SERVER_ERROR``.
        text: What came behind that; from the network, so not fit to be shown.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        super().__init__(kind)


class LimitReachedError(WireError):
    """The rest of the reply is of no interest."""


class UnsupportedError(WireError):
    """The peer speaks memcached and does not give these statistics."""


def key_bytes(key: str) -> bytes:
    """Return *key* as it is sent.

    Raises:
        IllegalKeyError: It is empty, too long, or not printable ASCII without blanks.
    """
    if _KEY.fullmatch(key) is None:
        raise IllegalKeyError
    return key.encode("ascii")


def checked_ttl(ttl: int | None, ahead: float = 0.0) -> int:
    """Return *ttl* if memcached takes it for a time to live.

    Args:
        ttl: What ``ttl_for`` returned; ``None`` for an item that does not end, for memcached 0.
        ahead: By how many seconds the clock of the node is ahead of the one that *ttl* was counted
            with: a time to live that is a date is a date of that node.

    Raises:
        ValueError: It is not an ``int`` of 1 .. 2^31 - 1: a bug of the caller.
    """
    if ttl is None:
        return 0
    if type(ttl) is not int or not 1 <= ttl < TTL_LIMIT:
        raise ValueError("a TTL is a whole number of seconds from 1 to 2^31 - 1")
    if not ahead or ttl <= RELATIVE_TTL_LIMIT:
        return ttl
    return min(max(ttl + round(ahead), RELATIVE_TTL_LIMIT + 1), TTL_LIMIT - 1)


def gets(keys: Iterable[bytes]) -> bytes:
    """Return the command that reads *keys* with their cas ids."""
    return b"gets %b\r\n" % b" ".join(keys)


def get(keys: Collection[str]) -> bytes:
    """Return the command that reads *keys*.

    Raises:
        IllegalKeyError: One of them cannot be sent, or there is none.
    """
    line = " ".join(keys)
    if _KEYS.fullmatch(line) is None or line.count(" ") != len(keys) - 1:
        raise IllegalKeyError
    return b"get %b\r\n" % line.encode("ascii")


def add(key: bytes, value: bytes, ttl: int) -> bytes:
    """Return the command that stores what is not there."""
    return b"add %b 0 %d %d\r\n%b\r\n" % (key, ttl, len(value), value)


#: The command that replaces an item: its key, its time to live, how long the new value is, the cas
#: id of what is replaced, the value.
CAS = b"cas %b 0 %d %d %b\r\n%b\r\n"


def cas(key: bytes, value: bytes, ttl: int, unique: bytes) -> bytes:
    """Return the command that replaces what *unique* was read with."""
    return CAS % (key, ttl, len(value), unique, value)


#: Puts a value behind what is there; it refuses and never deletes. Key, length and value.
APPEND = b"append %b 0 0 %d\r\n%b\r\n"
#: The same, if it still is what a cas id was read with. Key, length, cas id and value. A server
#: without memory for the value deletes what was there: for those only that evict.
APPEND_IF = b"ms %b %d MA C%b c\r\n%b\r\n"


def look(key: bytes) -> bytes:
    """Return the command that asks for the cas id of an item, without its value."""
    return b"mg %b c\r\n" % key


@lru_cache(4096)
def look_at(key: str, *, whole: bool) -> bytes:
    """Return the command that asks for the cas id of an item, and for the *whole* of it.

    Raises:
        IllegalKeyError: See ``key_bytes``.
    """
    return b"mg %b c v\r\n" % key_bytes(key) if whole else look(key_bytes(key))


def beat(key: bytes, ttl: int) -> bytes:
    """Return the command that stores next to nothing, to be gone after *ttl* seconds."""
    return b"ms %b 1 T%d\r\n-\r\n" % (key, ttl)


def delete(key: bytes) -> bytes:
    """Return the command that removes an item."""
    return b"delete %b\r\n" % key


def stats(arguments: Iterable[bytes]) -> bytes:
    """Return the command that asks for statistics."""
    return b" ".join((b"stats", *arguments)) + b"\r\n"


#: The command that lists keys, by walking the hash table: it sees every item once.
METADUMP = b"lru_crawler metadump hash\r\n"
#: The same for memcached before 1.6.9, by walking lists in which items move meanwhile.
METADUMP_BY_CLASS = b"lru_crawler metadump all\r\n"


def authenticate(user: str, password: str) -> bytes:
    """Return the command that signs a connection in.

    The server takes only the form of a ``set`` from it. One that does not ask for passwords
    would store it, hence the negative TTL: expired at once, so that it cannot be read there.
    """
    credentials = f"{user} {password}".encode()
    return b"set auth 0 -1 %d\r\n%b\r\n" % (len(credentials), credentials)
