"""Real memcached processes that may be killed, stopped, flushed and asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from flask_msm.testing.memcached import PATIENCE, MemcachedProcess

from .processes import HOST, bound, has_ended, port_of, start


#: Path of a unix socket, or host and port.
Address = str | tuple[str, int]


class Memcached(MemcachedProcess):
    """One memcached on a loopback port or a unix socket; a context manager.

    Args:
        arguments: More of its command line, for example ``"-c", "16"``.
        host: Address to listen on.
        path: Path of a unix socket, instead of an address.
        auth_file: File with a line ``user:password`` it asks for.
        certificate: File with the key and the certificate of the TLS that it speaks at ``address``;
            ``port`` is without TLS.
    """

    def __init__(
        self,
        *arguments: str,
        host: str = HOST,
        path: Path | None = None,
        auth_file: Path | None = None,
        certificate: Path | None = None,
    ) -> None:
        more = [] if auth_file is None else ["-Y", str(auth_file)]
        super().__init__(*more, *arguments)
        self._auth_file = auth_file
        self._certificate = certificate
        # Held as long as this lives, so that memcached finds its port again.
        self._secured = bound() if certificate else None
        self.host = host
        self.path = path

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        if self._secured is not None:
            self._secured.close()

    def has_ended(self) -> bool:
        """Return whether its process has ended."""
        return self._process is None or has_ended(self._process)

    @property
    def address(self) -> Address:
        """Where clients find it."""
        if self.path is not None:
            return str(self.path)
        return self.host, self.port if self._secured is None else port_of(self._secured)

    def restart(self) -> None:
        """End it at once and start it again, empty, where it was."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it: its kernel goes on accepting connections, it answers none."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on, with the data of before."""
        os.kill(self.pid, signal.SIGCONT)

    def flush(self) -> None:
        """Have it forget everything."""
        self.ask("flush_all")

    def stats(self, *arguments: str) -> dict[str, str]:
        """Return its statistics, asked for on a connection of its own."""
        reply = self.ask(" ".join(("stats", *arguments)))
        return dict(_pair(line) for line in reply.splitlines())

    def all_keys(self) -> list[str]:
        """Return the keys it holds."""
        # By class where nothing is listed by hash: memcached before 1.6.9 cannot.
        listed = self.ask("lru_crawler metadump hash") or self.ask("lru_crawler metadump all")
        names = (line.split()[0] for line in listed.splitlines() if line.startswith("key="))
        return [unquote(name.removeprefix("key=")) for name in names]

    def dump(self) -> bytes:
        """Return keys and values of all it holds."""
        keys = self.all_keys()
        with self.connect() as connection, connection.makefile("rwb") as stream:
            stream.write(b"".join(b"get %b\r\n" % key.encode() for key in keys))
            stream.flush()
            found = [b""]
            while keys:
                found.append(stream.readline())
                if found[-1] in (b"END\r\n", b""):
                    keys.pop()
        return b"".join(found)

    def connect(self) -> socket.socket:
        """Return a new connection to it, signed in if it asks for a password."""
        if self.path is None:
            connection = super().connect()
        else:
            connection = socket_to(str(self.path))
            connection.settimeout(PATIENCE)
        try:
            if self.path is not None:
                connection.connect(str(self.path))
            if self._auth_file is not None:
                credentials = self._auth_file.read_bytes().strip().replace(b":", b" ")
                connection.sendall(b"set auth 0 0 %d\r\n%b\r\n" % (len(credentials), credentials))
                connection.recv(100)
        except BaseException:
            connection.close()
            raise
        return connection

    def _listens(self, port: int) -> list[str]:
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            return ["-s", str(self.path)]
        if self._secured is None:
            return super()._listens(port)
        file = self._certificate
        return [
            *("-l", f"notls:{self.host}:{port},{self.host}:{port_of(self._secured)}"),
            *("--enable-ssl", "-o", f"ssl_chain_cert={file},ssl_key={file}"),
        ]

    def _launched(self, command: list[str]) -> subprocess.Popen[bytes]:
        return start(command)


def addresses(nodes: Iterable[Memcached]) -> str:
    """Return ``MSM_NODES`` for *nodes*, named ``n1``, ``n2`` and so on."""
    return " ".join(f"n{number}:{HOST}:{node.port}" for number, node in enumerate(nodes, 1))


def socket_to(address: Address) -> socket.socket:
    """Return a socket that can be connected to *address*."""
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)


def _pair(line: str) -> tuple[str, str]:
    _, name, value = line.split(" ", 2)
    return name, value
