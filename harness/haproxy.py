"""An HAProxy in front of servers."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path
from typing import Self

from flask_msm.testing.memcached import wait_until

from .processes import bound, end, port_of, start


#: Debian's folder for it is not in every PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
_CONFIG = """\
global
    stats socket {folder}/haproxy.sock mode 600
    nbthread 1
defaults
    mode http
{defaults}
frontend browsers
    bind fd@{descriptor}
    default_backend {name}
{backend}
"""
#: Columns of ``show stat``: name of the row, retries, requests sent to another server.
_ROW, _RETRIES, _REDISPATCHES = 1, 15, 16


def haproxy() -> str | None:
    """Return the path of HAProxy, ``None`` without one."""
    return shutil.which("haproxy", path=_PATH)


class HAProxy:
    """One HAProxy with one backend; a context manager.

    Args:
        folder: Where its configuration is kept.
        defaults: Lines of the section ``defaults``.
        backend: The section ``backend``.

    Attributes:
        port: Where browsers find it.
    """

    def __init__(self, folder: Path, *, defaults: str, backend: str) -> None:
        binary, name = haproxy(), re.search(r"^backend (\S+)", backend, re.MULTILINE)
        if binary is None or name is None:
            raise AssertionError("HAProxy is not installed, or its backend has no name")
        self._control = folder / "haproxy.sock"
        with bound() as listener:
            listener.listen(128)
            self.port = port_of(listener)
            config = folder / "haproxy.cfg"
            config.write_text(
                _CONFIG.format(
                    folder=folder,
                    defaults=defaults,
                    descriptor=listener.fileno(),
                    name=name[1],
                    backend=backend,
                )
            )
            self._process = start(
                [binary, "-db", "-f", str(config)],
                log=folder / "haproxy.log",
                keep_open=[listener.fileno()],
            )
        self._log = folder / "haproxy.log"
        wait_until(self._answers, "HAProxy to start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def sent_again(self) -> int:
        """Return how many requests were sent once more because a connection broke."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._control))
            connection.sendall(b"show stat\n")
            with connection.makefile() as stream:
                rows = [line.split(",") for line in stream]
        totals = [row for row in rows if len(row) > _REDISPATCHES and row[_ROW] == "BACKEND"]
        return sum(int(row[_RETRIES]) + int(row[_REDISPATCHES]) for row in totals)

    def close(self) -> None:
        """End it."""
        end(self._process)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"HAProxy ended: {self._log.read_text()}")
        # Its socket is there before it listens.
        try:
            return self.sent_again() == 0
        except OSError:
            return False
