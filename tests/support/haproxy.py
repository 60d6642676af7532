"""HAProxy in front of workers, with the lines of the documentation."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

from flask_msm.testing.memcached import free_port, wait_until

from .workers import ROOT


#: Debian's folder for it is not in every PATH.
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
BINARY = shutil.which("haproxy", path=PATH)

#: What the documentation leaves to the operator.
AROUND = """\
defaults
    mode http
    timeout connect 2s
    timeout client 20s
    timeout server 20s
    timeout check 2s
    default-server inter 100ms fall 1 rise 1
    option redispatch 1
    retry-on conn-failure empty-response
frontend browsers
    bind 127.0.0.1:{port}
    default_backend shop
"""


def documented(language: str) -> str:
    """Return the block of docs/operating.md in *language*."""
    text = (ROOT / "docs" / "operating.md").read_text()
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return block


class HAProxy:
    """HAProxy as the documentation has it, with the addresses of real workers.

    Args:
        folder: Where its configuration is kept.
        addresses: Port by address in the documentation.
    """

    def __init__(self, folder: Path, addresses: dict[str, int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        lines = documented("haproxy")
        for address, port in addresses.items():
            assert address in lines
            lines = lines.replace(address, f"127.0.0.1:{port}")
        self._config = folder / "haproxy.cfg"
        self._config.write_text(AROUND.format(port=self.port) + lines)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert BINARY is not None
        self._process = subprocess.Popen(
            [BINARY, "-db", "-f", str(self._config)], stderr=subprocess.PIPE
        )
        wait_until(self._is_open, "HAProxy to listen")
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=60)

    def _is_open(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._process.communicate()[1].decode()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
