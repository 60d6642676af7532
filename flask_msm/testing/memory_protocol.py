"""What a node in memory holds, and what it replies: the text protocol of memcached. No I/O."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import NamedTuple
from urllib.parse import quote_from_bytes


#: Largest value, bytes: what a memcached takes by default, less what it needs beside it.
LARGEST = 1024 * 1024 - 512
#: A command without an end is none, bytes.
LONGEST_LINE = 64 * 1024
VERSION = "in-memory"
#: Longer times to live are points in time, seconds.
MONTH = 30 * 24 * 3600

# How many words the line of a command has that a value follows.
_STORING = {b"set": 5, b"add": 5, b"replace": 5, b"cas": 6}
_ERROR = b"ERROR\r\n"


class Item(NamedTuple):
    """One stored value; *expires_at*: seconds since the epoch, *unique*: what ``cas`` compares."""

    flags: int
    value: bytes
    expires_at: float | None
    unique: int


class ItemStore:
    """What one node holds; safe to use from any number of threads."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._items: dict[bytes, Item] = {}
        self._unique = count(1)
        self._counts: Counter[str] = Counter()
        self._began = now()

    def forget(self) -> None:
        """Lose everything, as a memcached that is restarted does."""
        with self._lock:
            self._items.clear()
            self._unique = count(1)
            self._counts.clear()
            self._began = self._now()

    def answer(self, words: list[bytes], value: bytes = b"") -> bytes:
        """Do a command and return the reply."""
        command = _COMMANDS.get(words[0]) if words else None
        if command is None:
            return _ERROR
        with self._lock:
            try:
                return command(self, words, value)
            except (ValueError, IndexError):
                return _ERROR

    def get(self, words: list[bytes], _: bytes) -> bytes:
        """``get`` and ``gets``: read some keys."""
        if len(words) < 2:
            return _ERROR
        reply = []
        for key in words[1:]:
            item = self._found(key)
            self._counts["cmd_get"] += 1
            self._counts["get_hits" if item else "get_misses"] += 1
            if item:
                unique = b" %d" % item.unique if words[0] == b"gets" else b""
                head = b"VALUE %b %d %d%b\r\n" % (key, item.flags, len(item.value), unique)
                reply.append(head + item.value + b"\r\n")
        return b"".join(reply) + b"END\r\n"

    def store(self, words: list[bytes], value: bytes) -> bytes:
        """``set``, ``add``, ``replace`` and ``cas``: store a value, each on its own condition."""
        name, key = words[0], words[1]
        item = Item(int(words[2]), value, self._end(words[3]), 0)
        self._counts["cmd_set"] += 1
        there = self._found(key)
        if len(value) > LARGEST:
            if name == b"set":
                self._items.pop(key, None)
            return b"SERVER_ERROR object too large for cache\r\n"
        refusal = None
        if name == b"cas" and (there is None or there.unique != int(words[5])):
            refusal = b"EXISTS\r\n" if there else b"NOT_FOUND\r\n"
        elif (name == b"add" and there) or (name == b"replace" and not there):
            refusal = b"NOT_STORED\r\n"
        if refusal is None:
            self._items[key] = item._replace(unique=next(self._unique))
        return refusal or b"STORED\r\n"

    def touch(self, words: list[bytes], _: bytes) -> bytes:
        """``touch``: give an item another time to live."""
        key, end = words[1], self._end(words[2])
        self._counts["cmd_touch"] += 1
        item = self._found(key)
        if item is None:
            return b"NOT_FOUND\r\n"
        self._items[key] = item._replace(expires_at=end)
        return b"TOUCHED\r\n"

    def delete(self, words: list[bytes], _: bytes) -> bytes:
        """``delete``: remove an item."""
        there = self._found(words[1])
        self._items.pop(words[1], None)
        return b"DELETED\r\n" if there else b"NOT_FOUND\r\n"

    def flush(self, _words: list[bytes], _: bytes) -> bytes:
        """``flush_all``: remove everything."""
        self._counts["cmd_flush"] += 1
        self._items.clear()
        return b"OK\r\n"

    def crawl(self, words: list[bytes], _: bytes) -> bytes:
        """``lru_crawler metadump``: list all keys."""
        if words[1] != b"metadump":
            return _ERROR
        lines = []
        for key in list(self._items):
            if item := self._found(key):
                name = quote_from_bytes(key, safe="")
                end = -1 if item.expires_at is None else int(item.expires_at)
                lines.append(f"key={name} exp={end} la=0 cas={item.unique}\n")
        return "".join(lines).encode() + b"END\r\n"

    def stats(self, words: list[bytes], _: bytes) -> bytes:
        """``stats`` and ``stats settings``: numbers about this node."""
        facts: dict[str, object] = {}
        if words[1:] == [b"settings"]:
            facts = {"item_size_max": 1024 * 1024, "maxconns": 1024}
        elif not words[1:]:
            counted = ("cmd_get", "cmd_set", "cmd_touch", "cmd_flush", "get_hits", "get_misses")
            facts = {
                "pid": os.getpid(),
                "uptime": int(self._now() - self._began),
                "time": int(self._now()),
                "version": VERSION,
                "max_connections": 1024,
                "limit_maxbytes": 64 * 1024 * 1024,
                "curr_items": len(self._items),
                "bytes": sum(len(item.value) for item in self._items.values()),
                "evictions": 0,
                **{name: self._counts[name] for name in counted},
            }
        lines = [f"STAT {name} {fact}\r\n" for name, fact in facts.items()]
        return "".join(lines).encode() + b"END\r\n"

    def version(self, _words: list[bytes], _: bytes) -> bytes:
        """``version``: reply which memcached this is: none."""
        return f"VERSION {VERSION}\r\n".encode()

    def _found(self, key: bytes) -> Item | None:
        item = self._items.get(key)
        if item and item.expires_at is not None and item.expires_at <= self._now():
            del self._items[key]
            return None
        return item

    def _end(self, ttl: bytes) -> float | None:
        seconds = int(ttl)
        if seconds == 0:
            return None
        return float(seconds) if seconds > MONTH else self._now() + seconds


_COMMANDS: dict[bytes, Callable[[ItemStore, list[bytes], bytes], bytes]] = {
    b"get": ItemStore.get,
    b"gets": ItemStore.get,
    b"set": ItemStore.store,
    b"add": ItemStore.store,
    b"replace": ItemStore.store,
    b"cas": ItemStore.store,
    b"touch": ItemStore.touch,
    b"delete": ItemStore.delete,
    b"flush_all": ItemStore.flush,
    b"lru_crawler": ItemStore.crawl,
    b"stats": ItemStore.stats,
    b"version": ItemStore.version,
}


class ProtocolHandler:
    """One connection to a node in memory: bytes in, bytes out."""

    def __init__(self, items: ItemStore) -> None:
        self._items = items
        self._received = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what is to be answered to commands that are complete."""
        self._received += data
        replies = []
        while (reply := self._next()) is not None:
            replies.append(reply)
        return b"".join(replies)

    def _next(self) -> bytes | None:
        line, end, rest = self._received.partition(b"\n")
        if not end and len(line) <= LONGEST_LINE:
            return None
        words = line.split()
        wanted = _STORING.get(words[0]) if words and end else None
        if wanted is None or len(words) < wanted:
            self._received = rest
            return self._items.answer(words) if end and not wanted else _ERROR
        return self._store(words, rest)

    def _store(self, words: list[bytes], rest: bytes) -> bytes | None:
        """Wait for the value that follows the line, then store it."""
        size = int(words[4]) if len(words) > 4 and words[4].isdigit() else None
        if size is not None and len(rest) < size + 2:
            return None
        if size is None or rest[size : size + 2] != b"\r\n":
            # Where the next command begins is not known.
            self._received = b""
            return b"CLIENT_ERROR bad data chunk\r\n"
        self._received = rest[size + 2 :]
        reply = self._items.answer(words, rest[:size])
        return b"" if words[-1] == b"noreply" else reply
