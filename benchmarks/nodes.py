"""Memcached processes of this benchmark's own, on free ports, ended by their process ids."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
# Seconds.
START_LIMIT = 10.0
STOP_LIMIT = 3.0
ATTEMPTS = 3

#: Statistics that count operations; ``cmd_set`` counts ``add`` and ``cas`` as well.
COUNTED = {"cmd_get": "get", "cmd_set": "store", "cmd_touch": "touch"}


class MemcachedError(Exception):
    """There is no memcached, or it does not start; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Node:
    """One memcached that was started here."""

    id: str
    port: int
    process: subprocess.Popen[bytes]

    def stats(self) -> dict[str, str]:
        """Return its statistics, read on a connection of its own."""
        with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
            connection.sendall(b"stats\r\n")
            with connection.makefile("rb") as reply:
                lines = iter(reply.readline, b"END\r\n")
                parts = (line.decode().split(maxsplit=2) for line in lines if line)
                return {name: value.strip() for _, name, value in parts}

    def stop(self) -> None:
        """End it, after a while by force."""
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(count: int) -> Iterator[list[Node]]:
    """Start *count* nodes, and end them in any case.

    Raises:
        MemcachedError: There is no memcached, or it does not start.
    """
    binary = shutil.which("memcached")
    if binary is None:
        message = (
            "memcached is not installed, and without it there is nothing to measure.\n"
            "On Debian and Ubuntu: apt-get install memcached"
        )
        raise MemcachedError(message)
    with ExitStack() as started:
        yield [_started(f"n{number}", binary, started) for number in range(1, count + 1)]


def operations(nodes: Sequence[Node]) -> dict[str, int]:
    """Return how many operations of each kind *nodes* have seen in all."""
    seen = [node.stats() for node in nodes]
    return {kind: sum(int(stats[name]) for stats in seen) for name, kind in COUNTED.items()}


def _started(node_id: str, binary: str, started: ExitStack) -> Node:
    for _ in range(ATTEMPTS):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        command = [binary, "-l", HOST, "-p", str(port), "-U", "0", "-m", "64"]
        if os.geteuid() == 0:
            # As root memcached needs an explicit user.
            command += ["-u", "root"]
        # Out of the terminal's group: on Ctrl-C it ends after the processes that use it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        node = Node(node_id, port, process)
        started.callback(node.stop)
        if _answers(node):
            return node
        # Most likely another process took the port before memcached did.
    message = f"memcached does not start: {ATTEMPTS} attempts were in vain."
    raise MemcachedError(message)


def _answers(node: Node) -> bool:
    """Wait until *node* itself answers; another memcached on its port would as well."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and node.process.poll() is None:
        try:
            return node.stats()["pid"] == str(node.process.pid)
        except OSError:
            time.sleep(0.02)
    return False


def memory() -> str | None:
    """Return a folder in memory, where local storage is kept by default as well."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
