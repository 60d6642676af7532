"""Real memcached processes that a test may stop, flush and ask, on a socket or with a password."""

from __future__ import annotations

import os
import signal
import socket

from flask_msm.testing.memcached import PATIENCE, MemcachedProcess


class Memcached(MemcachedProcess):
    """One memcached on a loopback port or a unix socket; a context manager.

    Args:
        arguments: More of its command line, for example ``"-c", "16"``.
        host: Address to listen on.
        path: Path of a unix socket, instead of an address.
        auth_file: File with a line ``user:password`` it asks for.
    """

    def __init__(self, *arguments, host="127.0.0.1", path=None, auth_file=None) -> None:
        more = [] if auth_file is None else ["-Y", str(auth_file)]
        super().__init__(*more, *arguments)
        self._auth_file = auth_file
        self.host = host
        self.path = path

    def terminate(self) -> None:
        """Let it shut down."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate(timeout=PATIENCE)

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
            assert stream.readline() == b"OK\r\n"

    def stats(self, *arguments: str) -> dict[str, str]:
        """Return its statistics, asked for on a connection of its own."""
        reply = self.ask(" ".join(("stats", *arguments)))
        return dict(line.split(" ", 2)[1:] for line in reply.splitlines())

    def connect(self) -> socket.socket:
        """Return a new connection to it, signed in if it asks for a password."""
        if self.path is None:
            connection = super().connect()
        else:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(PATIENCE)
        try:
            if self.path is not None:
                connection.connect(str(self.path))
            if self._auth_file is not None:
                self._sign_in(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sign_in(self, connection) -> None:
        credentials = self._auth_file.read_bytes().strip().replace(b":", b" ")
        connection.sendall(b"set auth 0 0 %d\r\n%b\r\n" % (len(credentials), credentials))
        connection.recv(100)

    def _listens(self, port: int) -> list[str]:
        return super()._listens(port) if self.path is None else ["-s", str(self.path)]
