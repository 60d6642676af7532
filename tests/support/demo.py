"""The demo as ``make demo`` starts it: a process of its own, with free ports and real nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask_msm.testing.memcached import wait_until
from harness.processes import ROOT


STOP_LIMIT = 60.0


@dataclass(frozen=True)
class Launched:
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        return re.search(r"http://\S+", self.text)[0]

    @property
    def node_pids(self) -> dict[str, int]:
        found = re.findall(r"^ +(n\d+) +[\d.]+:\d+ +pid (\d+)$", self.text, re.MULTILINE)
        return {node_id: int(pid) for node_id, pid in found}

    @property
    def gunicorn_pid(self) -> int:
        return int(re.search(r"gunicorn, pid (\d+)", self.text)[1])

    @property
    def password(self) -> str:
        """The password of ``ops``."""
        return re.search(r"password (\S+)", self.text)[1]


@contextmanager
def launched(
    folder: Path,
    *options: str,
    environ: dict[str, str] | None = None,
    port: int | None = 0,
    module: str = "example_app",
    opens: bool = True,
) -> Iterator[Launched]:
    """Start the launcher and yield it when it prints that the shop is open, or has ended."""
    output = folder / f"output-{time.monotonic_ns()}.txt"
    command = [sys.executable, "-m", module, *options]
    command += [] if port is None else ["--port", str(port)]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        started = Launched(process, output)
        wait_until(
            lambda: "Ctrl-C" in started.text or process.poll() is not None, "the shop to open"
        )
        assert ("Ctrl-C" in started.text) == opens, started.text
        yield started
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_LIMIT)
