"""A proxy in front of a memcached, whose faults are switched while it is in use."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum

from flask_msm.testing.memcached import PATIENCE

from .memcached import Address, socket_to
from .processes import bound, port_of, refuse


class Fault(Enum):
    """What a proxy does, with connections that are open as with new ones."""

    NONE = "hands everything on"
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
_CUTS = (Fault.REFUSES, Fault.CLOSES, Fault.GARBAGE, Fault.TOO_MANY)


class Proxy:
    """Stands in front of the memcached at *address*.

    Attributes:
        port: Port of this machine that leads to the node.
        fault: What happens to what comes in; see ``set_fault``.
    """

    def __init__(self, address: Address) -> None:
        self.fault = Fault.NONE
        self._address = address
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._switched = threading.Condition()
        self._closed = threading.Event()
        self._listener = bound()
        self.port = port_of(self._listener)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close it for good."""
        self._closed.set()
        self.set_fault(Fault.REFUSES)
        self._listener.close()

    def set_fault(self, fault: Fault) -> None:
        """Apply *fault* to all traffic from now on; connections that do not fit are cut."""
        before, self.fault = self.fault, fault
        if fault is Fault.REFUSES:
            refuse(self._listener)
        elif before is Fault.REFUSES:
            self._listener.listen()
        # What was swallowed is missing in the middle of a conversation: it cannot go on.
        if fault in _CUTS or before is Fault.SWALLOWS:
            self._cut()
        with self._switched:
            self._switched.notify_all()

    def point_to(self, address: Address) -> None:
        """Point to another memcached from now on; connections that are open are cut."""
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
                with self._switched:
                    self._switched.wait_for(
                        lambda: self.fault is not Fault.REFUSES or self._closed.is_set(), PATIENCE
                    )
                continue
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        address = self._address
        with caller, socket_to(address) as node, suppress(OSError):
            with self._lock:
                self._open |= {caller, node}
            try:
                if self.fault is Fault.TOO_MANY:
                    caller.sendall(_TOO_MANY)
                if self.fault in (Fault.REFUSES, Fault.CLOSES, Fault.TOO_MANY):
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
                if self.fault is Fault.GARBAGE:
                    caller.sendall(_GARBAGE)
                elif self.fault is not Fault.SWALLOWS:
                    node.sendall(data)
        with suppress(OSError):
            node.shutdown(socket.SHUT_RDWR)

    def _answer(self, node: socket.socket, caller: socket.socket) -> None:
        while data := node.recv(65536):
            while self.fault is Fault.DRIPS and data:
                caller.sendall(data[:1])
                data = data[1:]
                if self._closed.wait(_DRIP):
                    return
            if self.fault is not Fault.SWALLOWS:
                caller.sendall(data)
