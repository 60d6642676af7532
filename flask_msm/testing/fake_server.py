"""A TCP server with a behaviour given by the test, where a memcached is expected."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self


# Seconds after which a thread that should have ended is a bug of the test.
PATIENCE = 60.0


class Client:
    """One connection that a client opened; *closing* is set when the server is to end."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.socket = sock
        self.closing = closing

    def send(self, data: bytes) -> None:
        """Send *data*."""
        self.socket.sendall(data)

    def recv(self) -> bytes:
        """Wait for the next bytes; none when the other side has closed."""
        return self.socket.recv(65536)

    def end(self) -> None:
        """Send and receive nothing more."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def recv_all(self) -> None:
        """Wait until the other side closes."""
        while self.recv():
            pass


Behaviour = Callable[[Client], None]


class FakeServer:
    """Listens on a loopback port and gives every connection to *behaviour*; a context manager.

    When it is closed, all its connections are, and every behaviour that waits for one of them ends.

    Each connection has a thread of its own, and is closed after *behaviour*.

    Attributes:
        port: Port it listens on, the same until it is left; 0 before it is entered.
        calls: How many connections were opened to it.
    """

    def __init__(self, behaviour: Behaviour, *, host: str = "127.0.0.1") -> None:
        self.behaviour = behaviour
        self.host = host
        self.calls: int = 0
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._place: socket.socket | None = None
        self.port: int = 0

    def __enter__(self) -> Self:
        # Keeps the port while the peer does not listen, so that no other process gets it.
        self._place = self._bound(0)
        self.port = int(self._place.getsockname()[1])
        self.listen()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        if self._place is not None:
            self._place.close()

    def listen(self) -> None:
        """Take connections, if it does not."""
        if self._listener is None:
            self._closing = threading.Event()
            self._listener = self._bound(self.port)
            self._listener.listen(128)
            self._run(self._accept, self._listener, self._closing)

    def refuse(self) -> None:
        """Close all connections and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            # Wakes accept(), which closing alone does not.
            listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        while threads := self._others():
            threads[0].join(PATIENCE)
            if threads[0].is_alive():
                raise AssertionError("a thread of the peer did not end")
        listener.close()

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _others(self) -> list[threading.Thread]:
        with self._lock:
            return [thread for thread in self._threads if thread is not threading.current_thread()]

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((self.host, port))
        return sock

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            # Under the lock: a wait for the threads finds none that has not started.
            self._threads.add(thread)
            thread.start()

    def _accept(self, listener: socket.socket, closing: threading.Event) -> None:
        while not closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.calls += 1
                self._open.add(sock)
            if closing.is_set():
                self._close(sock)
                return
            self._run(self._serve, sock, closing)

    def _serve(self, sock: socket.socket, closing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            self.behaviour(Client(sock, closing))
        self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)
        sock.close()
