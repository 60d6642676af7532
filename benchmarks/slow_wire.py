"""``python -m benchmarks.slow_wire``: a proxy that holds each reply back, as a network would.

It takes the port of a node and the time in seconds between a command and its reply, and prints the
port it listens on.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from harness.processes import HOST, end


if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20


@contextmanager
def slow_wire(node_port: int, delay: float) -> Iterator[int]:
    """Return the port of a proxy in front of *node_port*, which ends with the context.

    Args:
        node_port: Where the node listens.
        delay: Time in seconds between a command and its reply, at least.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.slow_wire", str(node_port), str(delay)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    try:
        yield int(process.stdout.readline())
    finally:
        end(process)
        process.stdout.close()


@dataclass(eq=False)
class Wire:
    """A connection of a client, and the one to the node that belongs to it.

    Attributes:
        asked_at: When the newest command came, monotonic seconds.
    """

    client: socket.socket
    node: socket.socket
    asked_at: float = 0.0


class Proxy:
    """Passes commands on at once, and replies when they are due."""

    def __init__(self, listener: socket.socket, node_port: int, delay: float) -> None:
        self._listener = listener
        self._node_port = node_port
        self._delay = delay
        # ``select`` waits for microseconds where ``epoll`` waits for milliseconds.
        self._waiting = selectors.SelectSelector()
        self._waiting.register(listener, selectors.EVENT_READ)
        self._held: list[tuple[float, int, Wire, bytes]] = []
        self._numbers = count()

    def serve(self) -> None:
        """Serve until the process is ended."""
        while True:
            pause = max(self._held[0][0] - monotonic(), 0.0) if self._held else None
            for key, _ in self._waiting.select(pause):
                if key.data is None:
                    self._accept()
                else:
                    self._pass_on(key.data, key.fileobj)
            while self._held and self._held[0][0] <= monotonic():
                _, _, wire, data = heappop(self._held)
                wire.client.sendall(data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        wire = Wire(client, socket.create_connection((HOST, self._node_port)))
        for one in (wire.client, wire.node):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waiting.register(one, selectors.EVENT_READ, wire)

    def _pass_on(self, wire: Wire, source: object) -> None:
        from_client = source is wire.client
        try:
            data = (wire.client if from_client else wire.node).recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._held = [one for one in self._held if one[2] is not wire]
            for one in (wire.client, wire.node):
                if one.fileno() >= 0:
                    self._waiting.unregister(one)
                    one.close()
        elif from_client:
            wire.asked_at = monotonic()
            wire.node.sendall(data)
        else:
            due = wire.asked_at + self._delay
            heappush(self._held, (due, next(self._numbers), wire, data))


def main() -> None:
    """Print the port, and serve."""
    listener = socket.create_server((HOST, 0))
    print(listener.getsockname()[1], flush=True)
    Proxy(listener, int(sys.argv[1]), float(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
