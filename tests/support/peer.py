"""What a peer may do where a memcached is expected: the usual misbehaviours."""

from __future__ import annotations

import contextlib
import socket
import threading

from flask_msm.testing.peer import PATIENCE, Behaviour, Caller


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
