"""One connection: bytes out and bytes in, each by a point in time."""

from __future__ import annotations

import atexit
import os
import ssl
import weakref
from typing import TYPE_CHECKING, Any

from .wire import PeerClosedError, ProtocolError


if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .protocol import Reply

RECEIVE_SIZE = 65536
# Seconds by which a socket may wait too long: to set its time-out is a system call.
TOLERANCE = 0.005

CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Connection:
    """A socket that is closed when the last reference to it is gone.

    Attributes:
        socket: Set by the code that makes it, so that it is closed even if connecting fails.
        number: Connections of a node are counted as they are opened; 0 before that.
        process: Id of the process that opened it.
        armed: The time-out of the socket, seconds.
    """

    __slots__ = ("__weakref__", "_monotonic", "armed", "number", "process", "socket")

    socket: socket.socket

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.number = 0
        self.process = os.getpid()
        self._monotonic = monotonic
        self.armed = 0.0
        _connections.add(self)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; send nothing, for the peer may go on with another process."""
        sock = getattr(self, "socket", None)
        if sock is not None:
            sock.close()

    def send(self, data: bytes, until: float, now: float) -> None:
        """Send *data*.

        That the peer has closed the connection is not an error here: receiving reports it as
        well, and returns first what the peer sent last, for example why it closed.

        Raises:
            TimeoutError: It did not take all of it in time.
            OSError: Anything else the system reports.
        """
        rest: bytes | memoryview = data
        while True:
            self.arm(until - now)
            try:
                sent = self.socket.send(rest)
            except TimeoutError:
                sent = 0
            except CLOSED:
                return
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
            now = self._monotonic()

    def receive(self, reply: Reply[Any], until: float, now: float) -> None:
        """Receive until *reply* is complete.

        Raises:
            TimeoutError: It was not in time.
            PeerClosedError: The peer had closed the connection before it sent anything.
            WireError: What came is not an answer.
            OSError: Anything else the system reports.
        """
        silent = True
        while True:
            self.arm(until - now)
            try:
                data = self.socket.recv(RECEIVE_SIZE)
            except TimeoutError:
                now = self._monotonic()
                continue
            except CLOSED as exc:
                if silent:
                    raise PeerClosedError from exc
                raise
            if not data:
                if silent:
                    raise PeerClosedError
                raise ProtocolError("closed in the middle of an answer")
            if reply.feed(data):
                return
            silent = False
            now = self._monotonic()

    def arm(self, remaining: float) -> None:
        """Let the socket wait no longer than *remaining* seconds, or somewhat shorter.

        After a wait without an answer the caller looks at the clock and arms it again.

        Raises:
            TimeoutError: There are none left.
        """
        if remaining <= 0:
            raise TimeoutError
        if not remaining * 0.5 <= self.armed <= remaining + TOLERANCE:
            self.socket.settimeout(remaining)
            self.armed = remaining


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def close_inherited() -> None:
    """Close the descriptors of connections that another process opened; send nothing on them."""
    process = os.getpid()
    for connection in list(_connections):
        if connection.process != process:
            connection.close()


def _close_all() -> None:
    for connection in list(_connections):
        connection.close()


# At the very end connections go with all other garbage in any order, and a socket that goes before
# its connection complains. What is registered first runs last: code that still sends runs before.
atexit.register(_close_all)
