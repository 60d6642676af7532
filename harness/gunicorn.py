"""A gunicorn on a port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flask_msm.testing.memcached import wait_until

from .client import Client
from .processes import HOST, ROOT, bound, end, port_of, refuse, start


class Gunicorn:
    """One gunicorn, whose port stays the same and its own.

    Args:
        application: ``module:factory()``.
        log: File that takes what it prints.
        options: More of its command line.
        workers: Number of its worker processes.
        environ: More environment variables.

    Attributes:
        port: Where it answers.
        log: File with what it printed.
        root: Folder of the version of the project that it runs from its next start on.
        environ: More environment variables of its next start.
    """

    def __init__(
        self,
        application: str,
        log: Path,
        *options: str,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self.root = ROOT
        self.environ = dict(environ or {})
        self.workers = workers
        self._application = application
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._listener = bound()
        self.port = port_of(self._listener)
        self.url = f"http://{HOST}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its master."""
        if self._process is None:
            raise AssertionError("gunicorn was not started")
        return self._process

    def start(self) -> None:
        """Start it; see ``wait_ready``."""
        # The socket is inherited: its port was never free for another process. gunicorn listens.
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{self._listener.fileno()}"]
        command += ["--workers", str(self.workers), *self._options, self._application]
        self._process = start(
            command,
            log=self.log,
            environ={"PYTHONPATH": python_path(self.root), **self.environ},
            folder=self.root,
            keep_open=[self._listener.fileno()],
        )

    def wait_ready(self, path: str) -> None:
        """Wait until a worker answers to *path*."""

        def answers() -> bool:
            assert self.process.poll() is None, self.printed()  # noqa: S101
            with suppress(OSError):
                Client().send(self.port, path)
                return True
            return False

        wait_until(answers, "gunicorn to answer")

    def printed(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def pids(self) -> list[int]:
        """Return the process ids of its workers; empty where the kernel does not list them."""
        if self._process is None:
            return []
        pid = self._process.pid
        with suppress(OSError):
            return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        return []

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End all of it; connections are refused from then on."""
        if self._process is not None:
            # The master first, for it would start other workers.
            end(self._process, how)
        refuse(self._listener)

    def kill(self) -> None:
        """End all of it at once, also in the middle of a request."""
        self.stop(signal.SIGKILL)

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self._listener.close()


def python_path(root: Path = ROOT) -> str:
    """Return ``PYTHONPATH`` of processes that import the project and its tests."""
    before = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(map(str, (root, root / "dashboard", root / "tests", before)))
