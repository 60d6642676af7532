"""A door in front of a memcached: what goes through it can be changed while it is in use."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum

from .processes import bound, port_of, refuse
from .waiting import PATIENCE


class Way(Enum):
    """What a door does, with connections that are open as with new ones."""

    OPEN = "open"
    REFUSES = "refuses"
    CLOSES = "accepts and closes"
    SWALLOWS = "swallows everything"
    GARBAGE = "answers with garbage"
    DRIPS = "drips"
    TOO_MANY = "has too many connections"


#: No protocol at all, with what could be taken for a length and for the end of a line.
_GARBAGE = bytes(range(256)) + b"\r\nVA 4294967296\r\n\xff\r\nEND\r\n"
#: What a memcached answers that takes no more connections.
_TOO_MANY = b"ERROR Too many open connections\r\n"
#: Seconds between two bytes of an answer that drips.
_DRIP = 0.05
_CUTS = (Way.REFUSES, Way.CLOSES, Way.GARBAGE, Way.TOO_MANY)


#: Path of a unix socket, or host and port.
Address = str | tuple[str, int]


def socket_to(address: Address) -> socket.socket:
    """Return a socket that can be connected to *address*."""
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)


class Door:
    """Stands in front of the memcached at *address*.

    Attributes:
        port: Port of this machine that leads to the node.
        way: What happens to what comes in; see ``turn``.
    """

    def __init__(self, address: Address) -> None:
        self.way = Way.OPEN
        self._address = address
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._turned = threading.Condition()
        self._closed = threading.Event()
        self._listener = bound()
        self.port = port_of(self._listener)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close it for good."""
        self._closed.set()
        self.turn(Way.REFUSES)
        self._listener.close()

    def turn(self, way: Way) -> None:
        """Apply *way* to all traffic from now on; connections that do not fit are cut."""
        before, self.way = self.way, way
        if way is Way.REFUSES:
            refuse(self._listener)
        elif before is Way.REFUSES:
            self._listener.listen()
        # What was swallowed is missing in the middle of a conversation: it cannot go on.
        if way in _CUTS or before is Way.SWALLOWS:
            self._cut()
        with self._turned:
            self._turned.notify_all()

    def lead(self, address: Address) -> None:
        """Lead to another memcached from now on; connections that are open are cut."""
        self._address = address
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                caller, _ = self._listener.accept()
            except OSError:
                with self._turned:
                    self._turned.wait_for(
                        lambda: self.way is not Way.REFUSES or self._closed.is_set(), PATIENCE
                    )
                continue
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        address = self._address
        with caller, socket_to(address) as node, suppress(OSError):
            with self._lock:
                self._open |= {caller, node}
            try:
                if self.way is Way.TOO_MANY:
                    caller.sendall(_TOO_MANY)
                if self.way in (Way.REFUSES, Way.CLOSES, Way.TOO_MANY):
                    return
                node.connect(address)
                threading.Thread(target=self._ask, args=(caller, node), daemon=True).start()
                self._answer(node, caller)
            finally:
                with self._lock:
                    self._open -= {caller, node}
                for each in (caller, node):
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def _ask(self, caller: socket.socket, node: socket.socket) -> None:
        with suppress(OSError):
            while data := caller.recv(65536):
                if self.way is Way.GARBAGE:
                    caller.sendall(_GARBAGE)
                elif self.way is not Way.SWALLOWS:
                    node.sendall(data)
        with suppress(OSError):
            node.shutdown(socket.SHUT_RDWR)

    def _answer(self, node: socket.socket, caller: socket.socket) -> None:
        while data := node.recv(65536):
            while self.way is Way.DRIPS and data:
                caller.sendall(data[:1])
                data = data[1:]
                if self._closed.wait(_DRIP):
                    return
            if self.way is not Way.SWALLOWS:
                caller.sendall(data)
