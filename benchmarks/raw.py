"""The lower bound of all measurements: round trips on blocking sockets, system calls on files."""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

from harness.processes import HOST

from .nodes import memory


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from harness.memcached import Memcached


KEY = b"msm:bench-raw:0123456789abcdef0123456789abcdef01234567"
# About what a session takes in memcached.
VALUE = b"x" * 420
#: What an application does between two sessions, seconds: meanwhile the node falls asleep, and its
#: processor with it, so that the next command has to wake both.
WORK = 0.0002
STORED = b"STORED\r\n"
END = b"END\r\n"


@dataclass(frozen=True, slots=True)
class Limit:
    """One pattern of round trips or system calls.

    Attributes:
        name: In JSON.
        label: In tables.
        request: Does it once; returns the time it took, seconds.
    """

    name: str
    label: str
    request: Callable[[int], float]


class Link:
    """One connection."""

    def __init__(self, node: Memcached, closing: ExitStack) -> None:
        self._socket = closing.enter_context(socket.create_connection((HOST, node.port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(b"set %b 0 0 %d\r\n%b\r\n" % (KEY, len(VALUE), VALUE))
        self.receive(STORED)

    def send(self, command: bytes) -> None:
        """Send *command*."""
        self._socket.sendall(command)

    def receive(self, end: bytes) -> bytes:
        """Return the reply, which ends with *end*."""
        reply = self._socket.recv(65536)
        while not reply.endswith(end):
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError
            reply += more
        return reply

    def send_gets(self) -> None:
        """Ask for the value and its cas id."""
        self.send(b"gets %b\r\n" % KEY)

    def receive_unique(self) -> bytes:
        """Return the cas id that was asked for."""
        return self.receive(END).partition(b"\r\n")[0].rpartition(b" ")[2]

    def send_cas(self, unique: bytes) -> None:
        """Replace the value."""
        self.send(b"cas %b 0 0 %d %b\r\n%b\r\n" % (KEY, len(VALUE), unique, VALUE))


class Shelf:
    """A folder with one file, which is read and replaced as a whole, under a lock."""

    def __init__(self, closing: ExitStack) -> None:
        folder = closing.enter_context(TemporaryDirectory(prefix="flask_msm-bench-", dir=memory()))
        self._path, self._unfinished = f"{folder}/session", f"{folder}/unfinished"
        self._lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT, 0o600)
        closing.callback(os.close, self._lock)
        self.replace()

    def read(self) -> None:
        """Read the file."""
        descriptor = os.open(self._path, os.O_RDONLY)
        os.read(descriptor, 65536)
        os.close(descriptor)

    def replace(self) -> None:
        """Write another file and put it in the place of this one."""
        descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, VALUE)
        os.close(descriptor)
        os.replace(self._unfinished, self._path)  # noqa: PTH105  (nothing but the system call)

    def change(self) -> None:
        """Read and replace it under a lock."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.read()
        self.replace()
        fcntl.flock(self._lock, fcntl.LOCK_UN)


def limits(nodes: Sequence[Memcached], closing: ExitStack) -> list[Limit]:
    """Return the patterns; what they open is closed by *closing*."""
    primary, backup = (Link(node, closing) for node in nodes[:2])

    def read(_: int) -> float:
        began = perf_counter()
        primary.send_gets()
        primary.receive_unique()
        return perf_counter() - began

    def read_after_work(number: int) -> float:
        end = perf_counter() + WORK
        while perf_counter() < end:
            pass
        return read(number)

    def read_and_store(_: int) -> float:
        began = perf_counter()
        primary.send_gets()
        primary.receive_unique()
        primary.send(b"set %b 0 0 %d\r\n%b\r\n" % (KEY, len(VALUE), VALUE))
        primary.receive(STORED)
        return perf_counter() - began

    def read_and_store_twice(_: int) -> float:
        began = perf_counter()
        primary.send_gets()
        unique = primary.receive_unique()
        primary.send_cas(unique)
        backup.send_gets()
        primary.receive(STORED)
        backup.send_cas(backup.receive_unique())
        backup.receive(STORED)
        return perf_counter() - began

    shelf = Shelf(closing)

    def change_here(_: int) -> float:
        began = perf_counter()
        shelf.change()
        return perf_counter() - began

    return [
        Limit("get", "get", read),
        Limit("get-after-work", "get, after 0.2 ms without one", read_after_work),
        Limit("get-set", "get, then set", read_and_store),
        Limit("two-copies", "get, cas beside get of the other, cas", read_and_store_twice),
        Limit("file", "lock, read, write, rename a file", change_here),
    ]
