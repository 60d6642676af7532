"""A TCP peer that does what a test tells it to, where a memcached is expected.

What it does with each connection is a function that takes a :class:`Caller`; the functions below
are the usual misbehaviours. When the peer is closed, all its connections are, and every function
that waits for one of them ends.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self


if TYPE_CHECKING:
    import ssl

# Seconds after which a thread that should have ended is a bug of the test.
PATIENCE = 10.0


class Caller:
    """One connection somebody opened to the peer.

    Attributes:
        socket: Its socket.
        closing: Set when the peer is to end.
    """

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.socket = sock
        self.closing = closing

    def say(self, data: bytes) -> None:
        """Send *data*."""
        self.socket.sendall(data)

    def hear(self) -> bytes:
        """Wait for the next bytes; none when the other side has closed."""
        return self.socket.recv(65536)

    def hear_all(self) -> None:
        """Wait until the other side closes."""
        while self.hear():
            pass


Behaviour = Callable[[Caller], None]


class Peer:
    """Listens on a loopback port and gives every connection to *behaviour*; a context manager.

    Args:
        behaviour: What to do with a connection, in a thread of its own; it is closed after that.
        host: Address to listen on.
        tls: Speak TLS.

    Attributes:
        host: Address it listens on.
        port: Port it listens on.
        calls: How many connections were opened to it.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.host = host
        self.calls = 0
        self._tls = tls
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            # Wakes accept(), which closing alone does not.
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread of the peer did not end"
        self._listener.close()

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.calls += 1
                self._open.add(sock)
            if self._closing.is_set():
                self._close(sock)
                return
            self._run(lambda sock=sock: self._serve(sock))

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is None:
                self.behaviour(Caller(sock, self._closing))
            else:
                with self._tls.wrap_socket(sock.dup(), server_side=True) as wrapped:
                    self.behaviour(Caller(wrapped, self._closing))
        self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)
        sock.close()


def closes(caller: Caller) -> None:
    """Accept and close."""


def resets(caller: Caller) -> None:
    """Close with unread bytes left, so that the system sends a reset."""
    caller.socket.recv(1)


def is_silent(caller: Caller) -> None:
    """Take everything, answer nothing."""
    caller.hear_all()


def hears_nothing(caller: Caller) -> None:
    """Do not even read what is sent."""
    caller.closing.wait()


def answers(*replies: bytes) -> Behaviour:
    """Answer each command with the next of *replies*, then nothing more."""

    def behave(caller: Caller) -> None:
        for reply in replies:
            if not caller.hear():
                return
            caller.say(reply)
        caller.hear_all()

    return behave


def answers_and_closes(*replies: bytes) -> Behaviour:
    """Answer each command with the next of *replies*, then close."""

    def behave(caller: Caller) -> None:
        for reply in replies:
            if not caller.hear():
                return
            caller.say(reply)

    return behave


def greets_and_closes(greeting: bytes) -> Behaviour:
    """Say *greeting* without being asked, and close: a memcached out of connections does."""

    def behave(caller: Caller) -> None:
        caller.say(greeting)

    return behave


def drips(reply: bytes, pause: float = 0.05) -> Behaviour:
    """Answer with *reply*, one byte each *pause* seconds."""

    def behave(caller: Caller) -> None:
        caller.hear()
        for index in range(len(reply)):
            if caller.closing.wait(pause):
                return
            caller.say(reply[index : index + 1])
        caller.hear_all()

    return behave


def forwards(port: int, *, limit: int | None = None) -> Behaviour:
    """Be in between: hand on everything from and to *port*, close after *limit* bytes back."""

    def behave(caller: Caller) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as node:
            node.settimeout(None)
            thread = threading.Thread(target=_pump, args=(caller.socket, node), daemon=True)
            thread.start()
            try:
                _pump(node, caller.socket, limit)
            finally:
                with contextlib.suppress(OSError):
                    caller.socket.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Treat the first connection by the first of *behaviours* and so on; the last one stays."""
    lock = threading.Lock()
    left = list(behaviours)

    def behave(caller: Caller) -> None:
        with lock:
            behaviour = left.pop(0) if len(left) > 1 else left[0]
        behaviour(caller)

    return behave


def _pump(source: socket.socket, target: socket.socket, limit: int | None = None) -> None:
    """Copy bytes until one side ends, or *limit* of them are copied; then end the other."""
    with contextlib.suppress(OSError):
        while limit is None or limit > 0:
            data = source.recv(65536)
            if not data:
                break
            if limit is not None:
                data = data[:limit]
                limit -= len(data)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
