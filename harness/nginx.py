"""An nginx in front of servers."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Self

from flask_msm.testing.memcached import wait_until

from .client import Client
from .processes import bound, end, port_of, start


if TYPE_CHECKING:
    from pathlib import Path


_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
#: What is written to the machine's own folders unless the configuration names others.
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx() -> str | None:
    """Return the path of nginx, ``None`` without one."""
    return shutil.which("nginx", path=_PATH)


class Nginx:
    """One nginx; a context manager.

    Args:
        folder: Where its files are kept.
        config: Its configuration, which has ``listen 8080`` once, in the section ``http``.

    Attributes:
        port: Where browsers find it.
    """

    def __init__(self, folder: Path, config: str) -> None:
        binary = nginx()
        if binary is None:
            raise AssertionError("nginx is not installed")
        path, log = folder / "nginx.conf", folder / "nginx.log"
        paths = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _FOLDERS)
        with bound() as listener:
            listener.listen(128)
            self.port = port_of(listener)
            text = config.replace("listen 8080", f"listen 127.0.0.1:{self.port}")
            path.write_text(text.replace("http {\n", f"http {{\n    access_log off;\n{paths}", 1))
            self._process = start(
                [
                    binary,
                    *("-p", str(folder), "-c", str(path), "-e", str(log)),
                    *("-g", f"daemon off; pid {folder}/nginx.pid;"),
                ],
                log=log,
                # It takes over the sockets that this variable names.
                environ={"NGINX": f"{listener.fileno()};"},
                keep_open=[listener.fileno()],
            )
        wait_until(lambda: _listens(self.port), "nginx to start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        end(self._process)


def _listens(port: int) -> bool:
    try:
        Client().send(port, "/")
    except OSError:
        return False
    return True
