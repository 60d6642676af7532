"""A door in front of a memcached: what goes through it can be changed while it is in use."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum

from flask_msm.testing.fake_server import PATIENCE, Client, FakeServer


class Mode(Enum):
    """What a door does, with connections that are open as with new ones."""

    OPEN = "open"
    DRIPS = "drips"
    BLACK_HOLE = "black hole"
    CLOSES = "accepts and closes"
    TOO_MANY = "too many connections"

    @classmethod
    def faults(cls) -> list[Mode]:
        """Return all but ``OPEN``."""
        return [mode for mode in cls if mode is not cls.OPEN]


TOO_MANY = b"ERROR Too many open connections\r\n"
DRIP = 0.05


class Door(FakeServer):
    """Listens in front of the memcached on *port*; a context manager.

    Attributes:
        mode: What happens to what comes in; see ``turn``.
    """

    def __init__(self, port: int) -> None:
        super().__init__(self._handle)
        self.mode = Mode.OPEN
        #: Told of every piece of what goes to the memcached.
        self.on_data = lambda data: None
        self._node_port = port

    def turn(self, mode: Mode) -> None:
        """Apply *mode* to all traffic from now on; connections that do not fit it are cut."""
        self.mode = mode
        if mode in (Mode.CLOSES, Mode.TOO_MANY):
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _handle(self, client: Client) -> None:
        if self.mode is Mode.TOO_MANY:
            client.send(TOO_MANY)
        if self.mode in (Mode.CLOSES, Mode.TOO_MANY):
            return
        with socket.create_connection(("127.0.0.1", self._node_port), timeout=PATIENCE) as node:
            node.settimeout(None)
            thread = threading.Thread(target=self._hand_on, args=(client.socket, node), daemon=True)
            thread.start()
            try:
                self._hand_back(node, client)
            finally:
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)

    def _hand_on(self, source: socket.socket, node: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mode is not Mode.BLACK_HOLE:
                    self.on_data(data)
                    node.sendall(data)
        with contextlib.suppress(OSError):
            node.shutdown(socket.SHUT_RDWR)

    def _hand_back(self, node: socket.socket, client: Client) -> None:
        with contextlib.suppress(OSError):
            while data := node.recv(65536):
                position = 0
                while self.mode is Mode.DRIPS and position < len(data):
                    client.send(data[position : position + 1])
                    position += 1
                    if client.closing.wait(DRIP):
                        return
                if self.mode is not Mode.BLACK_HOLE:
                    client.send(data[position:])
