"""Real memcached processes that a test may start, stop, kill and restart."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self


# Seconds in which a process starts, ends or takes a signal, on a machine that is busy as well.
PATIENCE = 60.0
# Another process may be faster with a port that was free.
START_ATTEMPTS = 5

HOW_TO_INSTALL = (
    "these tests need the memcached binary: install the package 'memcached' (Debian, Ubuntu:"
    " apt-get install memcached; Fedora: dnf install memcached; macOS: brew install memcached)"
)


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until *condition* holds; fail with *what* if it does not in *patience* seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for: {what}")
        time.sleep(0.002)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of *host* that is free at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class MemcachedProcess:
    """One memcached on a loopback port or a unix socket; a context manager.

    Args:
        arguments: More of its command line, for example ``"-c", "16"``.
        host: Address to listen on.
        path: Path of a unix socket, instead of an address.
        auth_file: File with a line ``user:password`` it asks for.

    Attributes:
        host: Address it listens on.
        port: Port it listens on, the same after every restart; 0 with a unix socket.
        path: Path of its unix socket.
    """

    def __init__(
        self,
        *arguments: str,
        host: str = "127.0.0.1",
        path: Path | None = None,
        auth_file: Path | None = None,
    ) -> None:
        self._arguments = arguments
        self._auth_file = auth_file
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words = ""
        self.host = host
        self.path = path
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
            port = self.port or (free_port(self.host) if self.path is None else 0)
            if self._started(port):
                self.port = port
                return
        raise AssertionError(f"memcached did not start: {self._last_words}")

    def kill(self) -> None:
        """End it at once, also while it is paused."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Let it shut down."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it at once and start it again, empty, where it was."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it: its kernel goes on accepting connections, it answers none."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def flush(self) -> None:
        """Have it forget everything."""
        with self.connect() as connection, connection.makefile("rwb") as stream:
            stream.write(b"flush_all\r\n")
            stream.flush()
            if stream.readline() != b"OK\r\n":
                raise AssertionError("memcached did not flush")

    def stats(self, *arguments: str) -> dict[str, str]:
        """Return its statistics, asked for on a connection of its own."""
        reply = self.ask(" ".join(("stats", *arguments)))
        return dict(line.split(" ", 2)[1:] for line in reply.splitlines())

    def ask(self, command: str) -> str:
        """Return what it answers to *command*, up to the line ``END``."""
        with self.connect() as connection, connection.makefile("rwb") as stream:
            if self._auth_file is not None:
                credentials = self._auth_file.read_bytes().strip().replace(b":", b" ")
                stream.write(b"set auth 0 0 %d\r\n%b\r\n" % (len(credentials), credentials))
                stream.flush()
                stream.readline()
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            return b"".join(iter(stream.readline, b"END\r\n")).decode()

    def connect(self) -> socket.socket:
        """Return a new connection to it."""
        if self.path is None:
            return socket.create_connection((self.host, self.port), timeout=PATIENCE)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(self.path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _started(self, port: int) -> bool:
        binary = shutil.which("memcached")
        if binary is None:
            raise AssertionError(HOW_TO_INSTALL)
        where = ["-l", self.host, "-p", str(port), "-U", "0"]
        if self.path is not None:
            where = ["-s", str(self.path)]
        # memcached runs as root only with this option.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        auth = [] if self._auth_file is None else ["-Y", str(self._auth_file)]
        process = subprocess.Popen(
            [binary, "-t", "1", *where, *user, *auth, *self._arguments], stderr=subprocess.PIPE
        )
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
            return self.stats()["pid"] == str(self.pid)
        except (OSError, KeyError):
            return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.communicate(timeout=PATIENCE)
