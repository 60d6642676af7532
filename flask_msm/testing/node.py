"""One node of a test, and what can go wrong with it."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from .fake_server import PATIENCE, FakeServer
from .memcached import MemcachedProcess
from .memory_protocol import ItemStore, ProtocolHandler


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .fake_server import Client


GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Node(FakeServer, ABC):
    """Listens on a port of its own, and hands on to what keeps the items; a context manager.

    The port stays the same in all that happens to the node.

    Args:
        node_id: Its id in ``MSM_NODES``.
    """

    def __init__(self, node_id: str) -> None:
        super().__init__(self._handle)
        self.id = node_id
        self._garbles = False
        self._flows = threading.Event()
        self._flows.set()

    @property
    def address(self) -> str:
        """What stands for it in ``MSM_NODES``."""
        return f"{self.id}:{self.host}:{self.port}"

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        super().__exit__(*exc_info)

    def refuse(self) -> None:
        """Refuse connections and close those that are open; what it holds stays."""
        # A thread that waits because the node hangs finds out by `closing`.
        self._closing.set()
        self._flows.set()
        super().refuse()

    def kill(self) -> None:
        """End it: connections are refused, and what it held is gone."""
        self.refuse()
        self._forget()

    def hang(self) -> None:
        """Take everything and answer nothing; what was sent is done after ``heal``."""
        self._come_up()
        self._flows.clear()

    def answer_garbage(self) -> None:
        """Answer every command with something that is no answer to it."""
        self._come_up()
        self._garbles = True
        self._flows.set()

    def heal(self) -> None:
        """Let it work again; a node that was killed comes back empty."""
        self._garbles = False
        self._come_up()
        self._flows.set()

    def restart(self) -> None:
        """End it and let it come back, empty."""
        self.kill()
        self.heal()

    def _come_up(self) -> None:
        self._begin()
        self.listen()

    def _handle(self, client: Client) -> None:
        with self._connected(client) as hand_on:
            while data := client.recv():
                if not self._let_through(client):
                    return
                if self._garbles:
                    client.send(GARBAGE)
                else:
                    hand_on(data)

    def _let_through(self, client: Client) -> bool:
        """Wait while it hangs; return whether the client is still connected."""
        self._flows.wait()
        return not client.closing.is_set()

    def _begin(self) -> None:
        """Let what keeps the items run, if it does not."""

    @abstractmethod
    def _forget(self) -> None:
        """Lose what it holds."""

    @abstractmethod
    def _connected(
        self, client: Client
    ) -> contextlib.AbstractContextManager[Callable[[bytes], None]]:
        """Return what takes the bytes of *client* and answers them."""


class MemoryNode(Node):
    """A node in the memory of the test: speaks memcached, needs no memcached."""

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id)
        self.items: ItemStore = ItemStore()

    def _forget(self) -> None:
        self.items.forget()

    @contextmanager
    def _connected(self, client: Client) -> Iterator[Callable[[bytes], None]]:
        handler = ProtocolHandler(self.items)
        yield lambda data: client.send(handler.feed(data))


class ProcessNode(Node):
    """A memcached process behind a port of the test.

    Args:
        node_id: Its id in ``MSM_NODES``.
        arguments: More of the command line of memcached.
    """

    def __init__(self, node_id: str, *arguments: str) -> None:
        super().__init__(node_id)
        self.process: MemcachedProcess = MemcachedProcess(*arguments)
        self._running = False

    def __enter__(self) -> Self:
        self._begin()
        return super().__enter__()

    def _begin(self) -> None:
        if not self._running:
            self.process.start()
            self._running = True

    def _forget(self) -> None:
        self.process.kill()
        self._running = False

    @contextmanager
    def _connected(self, client: Client) -> Iterator[Callable[[bytes], None]]:
        with self.process.connect() as memcached:
            memcached.settimeout(None)
            answers = threading.Thread(target=self._answer, args=(memcached, client), daemon=True)
            answers.start()
            try:
                yield memcached.sendall
            finally:
                with contextlib.suppress(OSError):
                    memcached.shutdown(socket.SHUT_WR)
                answers.join(PATIENCE)

    def _answer(self, memcached: socket.socket, client: Client) -> None:
        with contextlib.suppress(OSError):
            while (data := memcached.recv(65536)) and self._let_through(client):
                client.send(data)
        client.end()
