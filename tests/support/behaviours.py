"""What a peer may do where a memcached is expected: the usual misbehaviours."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from flask_msm.testing.fake_server import PATIENCE, Behaviour, Client


def closes(client: Client) -> None:
    """Accept and close."""


def resets(client: Client) -> None:
    """Close with unread bytes left, so that the system sends a reset."""
    client.socket.recv(1)


def is_silent(client: Client) -> None:
    """Take everything, answer nothing."""
    client.recv_all()


def reads_nothing(client: Client) -> None:
    """Do not even read what is sent."""
    client.closing.wait()


def answers(*replies: bytes) -> Behaviour:
    """Answer each command with the next of *replies*, then nothing more."""

    def behave(client: Client) -> None:
        for reply in replies:
            if not client.recv():
                return
            client.send(reply)
        client.recv_all()

    return behave


def answers_and_closes(*replies: bytes) -> Behaviour:
    """Answer each command with the next of *replies*, then close."""

    def behave(client: Client) -> None:
        for reply in replies:
            if not client.recv():
                return
            client.send(reply)

    return behave


def greets_and_closes(greeting: bytes) -> Behaviour:
    """Say *greeting* without being asked, and close: a memcached out of connections does."""

    def behave(client: Client) -> None:
        client.send(greeting)

    return behave


def drips(reply: bytes, pause: float = 0.05) -> Behaviour:
    """Answer with *reply*, one byte each *pause* seconds."""

    def behave(client: Client) -> None:
        client.recv()
        for index in range(len(reply)):
            if client.closing.wait(pause):
                return
            client.send(reply[index : index + 1])
        client.recv_all()

    return behave


def forwards(
    port: int, *, limit: int | None = None, on_data: Callable[[bytes], None] = lambda data: None
) -> Behaviour:
    """Be in between: hand on everything from and to *port*, close after *limit* bytes back.

    *on_data* is called with every piece of what goes to *port*.
    """

    def behave(client: Client) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as node:
            node.settimeout(None)
            ways = (client.socket, node, None, on_data)
            thread = threading.Thread(target=_pump, args=ways, daemon=True)
            thread.start()
            try:
                _pump(node, client.socket, limit)
            finally:
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)

    return behave


def over_tls(context: ssl.SSLContext, behaviour: Behaviour) -> Behaviour:
    """Speak TLS, and treat what comes through it by *behaviour*."""

    def behave(client: Client) -> None:
        with context.wrap_socket(client.socket.dup(), server_side=True) as wrapped:
            behaviour(Client(wrapped, client.closing))

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Treat the first connection by the first of *behaviours* and so on; the last one stays."""
    lock = threading.Lock()
    left = list(behaviours)

    def behave(client: Client) -> None:
        with lock:
            behaviour = left.pop(0) if len(left) > 1 else left[0]
        behaviour(client)

    return behave


def _pump(
    source: socket.socket,
    target: socket.socket,
    limit: int | None = None,
    on_data: Callable[[bytes], None] = lambda data: None,
) -> None:
    """Copy bytes until one side ends, or *limit* of them are copied; then end the other."""
    with contextlib.suppress(OSError):
        while limit is None or limit > 0:
            data = source.recv(65536)
            if not data:
                break
            if limit is not None:
                data = data[:limit]
                limit -= len(data)
            on_data(data)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
