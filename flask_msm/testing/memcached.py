"""Real memcached processes that a test may start, kill and start again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Self


# Seconds in which a process starts, ends or takes a signal, on a machine that is busy as well.
PATIENCE = 90.0
# After a look that took some time it is waited so many times that before the next one, at the
# longest so many seconds.
DEAR, LONGEST = 3.0, 0.25
# Another process may be faster with a port that was free.
START_ATTEMPTS = 5
# memcached before 1.6.9 takes the "hash" of "lru_crawler metadump hash" for a class.
NO_CLASS = b"BADCLASS invalid class id\r\n"
# The lines that end an answer.
ENDS = (b"END\r\n", b"OK\r\n", b"STORED\r\n", b"NOT_STORED\r\n", b"ERROR\r\n", NO_CLASS)

HOW_TO_INSTALL = (
    "these tests need the memcached binary: install the package 'memcached' (Debian, Ubuntu:"
    " apt-get install memcached; Fedora: dnf install memcached; macOS: brew install memcached)"
)


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until *condition* holds; fail with *what* if it does not in *patience* seconds."""
    began = time.monotonic()
    end, pause = began + patience, 0.002
    while not condition():
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"waited {patience} s for: {what}")
        # Waiting long is for what takes long. A condition may be dear: looking must not keep what
        # is waited for from the processor.
        time.sleep(max(pause, min(DEAR * (now - began), LONGEST)))
        pause, began = min(2 * pause, 0.02), time.monotonic()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of *host* that is free at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class MemcachedProcess:
    """One memcached on a loopback port, the same after every restart; a context manager.

    Args:
        arguments: More of its command line, for example ``"-c", "16"``.
    """

    host = "127.0.0.1"

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words = ""
        self.port: int = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Id of the running process."""
        if self._process is None:
            raise AssertionError("memcached is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        for _ in range(START_ATTEMPTS):
            port = self.port or free_port(self.host)
            if self._started(port):
                self.port = port
                return
        raise AssertionError(f"memcached did not start: {self._last_words}")

    def kill(self) -> None:
        """End it at once, also while it is paused."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate(timeout=PATIENCE)

    def connect(self) -> socket.socket:
        """Return a new connection to it."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def ask(self, command: str) -> str:
        """Return what it answers to *command*, up to the line that ends the answer.

        Raises:
            ConnectionResetError: The connection ended before the answer did.
        """
        lines: list[str] = []
        with self.connect() as connection, connection.makefile("rwb") as stream:
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            for line in stream:
                # Such a listing only begins with OK, from memcached 1.6.43 on.
                if line in ENDS and not (line == b"OK\r\n" and "metadump" in command):
                    return "".join(lines)
                lines.append(line.decode())
        raise ConnectionResetError(f"memcached closed the connection to {command!r}: {lines}")

    def _listens(self, port: int) -> list[str]:
        """Return the arguments that say where it listens."""
        return ["-l", self.host, "-p", str(port), "-U", "0"]

    def _launched(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Return the process of *command*, whose errors can be read."""
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    def _started(self, port: int) -> bool:
        binary = shutil.which("memcached")
        if binary is None:
            raise AssertionError(HOW_TO_INSTALL)
        # memcached runs as root only with this option.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        process = self._launched([binary, "-t", "1", *self._listens(port), *user, *self._arguments])
        self._process = process
        before, self.port = self.port, port
        wait_until(lambda: process.poll() is not None or self._answers(), "memcached to start")
        if process.poll() is None:
            return True
        self._last_words = process.communicate()[1].decode().strip()
        self._process, self.port = None, before
        return False

    def _answers(self) -> bool:
        try:
            # Not another server on the same port.
            return f"STAT pid {self.pid}\r\n" in self.ask("stats")
        except OSError:
            return False
