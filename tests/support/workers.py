"""Real worker processes: gunicorn with one worker each, so that a test chooses who answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests


ROOT = Path(__file__).parents[2]


class Worker:
    """One gunicorn on a free port.

    Args:
        config: The application's configuration.
        arguments: More arguments for gunicorn.
    """

    def __init__(self, config: dict[str, object], *arguments: str, **environ: str) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        os.set_inheritable(self._listener.fileno(), True)
        paths = [
            str(ROOT),
            str(ROOT / "dashboard"),
            str(ROOT / "tests"),
            os.environ.get("PYTHONPATH", ""),
        ]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--bind",
                f"fd://{self._listener.fileno()}",
                "--workers",
                "1",
                "--error-logfile",
                "-",
                "--log-level",
                "warning",
                *arguments,
                "support.worker_app:create_app()",
            ],
            pass_fds=[self._listener.fileno()],
            env={
                **os.environ,
                "WORKER_CONFIG": json.dumps(config),
                "PYTHONPATH": os.pathsep.join(paths),
                **environ,
            },
            stderr=subprocess.PIPE,
        )
        self.log = b""

    def wait_ready(self, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                # The socket listens already, so this waits for the worker and not for a port.
                requests.get(self.url + "/pid", timeout=timeout)
            except requests.RequestException:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.stop()
                    raise AssertionError(f"no worker came up: {self.log.decode()}") from None
            else:
                return

    def stop(self, signum: int = signal.SIGTERM, timeout: float = 60.0) -> float:
        """End the process; return how many seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signum)
        _, log = self.process.communicate(timeout=timeout)
        self.log += log or b""
        self._listener.close()
        return time.monotonic() - began


class Browser(requests.Session):
    """A browser that talks to whichever worker a test names."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def ask(self, worker: Worker, path: str, body: object = None, **options: object):
        method = "GET" if body is None else "POST"
        options.setdefault("timeout", 60)
        response = self.request(method, worker.url + path, json=body, **options)
        assert response.status_code < 500, response.text
        return response

    def read(self, worker: Worker) -> dict[str, object]:
        return self.ask(worker, "/get").json()

    def cookie(self) -> dict[str, str]:
        return dict(self.cookies)
