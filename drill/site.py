"""A site: one host with a gunicorn of two workers and local storage of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from .app import CONFIG, NOTES, SITE
from .processes import HOST, bound, end, port_of, refuse, start
from .waiting import wait_until


ROOT = Path(__file__).absolute().parents[1]
#: Seconds a request may take before it counts as one that hangs.
HANGS = 20.0


class Site:
    """One host.

    Args:
        name: Its name, which is also the route in its cookies.
        config: Configuration of its workers; those of the host itself are added.
        folder: Where it keeps things.
        workers: Number of its worker processes.
        environ: More environment variables of its processes.
        root: Folder of the version of the project that it runs.

    Attributes:
        name: Its name.
        port: Port on which it answers, the same after every restart.
        local: Folder of its local storage.
        log: File with the output of its workers.
        root: Folder of the version that it runs from its next start on.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, object],
        folder: Path,
        *,
        workers: int = 2,
        environ: Mapping[str, str] | None = None,
        root: Path = ROOT,
    ) -> None:
        self.root = root
        self._environ = dict(environ or {})
        self.name = name
        self.local = folder / f"local-{name}"
        self.log = folder / f"site-{name}.log"
        self._notes = folder / f"notes-{name}"
        self._workers = workers
        self._config = {**config, "MSM_LOCAL_DIR": str(self.local), "MSM_ROUTE": name}
        self._process: subprocess.Popen[bytes] | None = None
        self._listener = bound()
        self.port = port_of(self._listener)
        self.local.mkdir(mode=0o700)
        self._notes.mkdir()

    def start(self) -> None:
        """Start it; see ``wait_ready``."""
        command = [sys.executable, "-m", "gunicorn", "--workers", str(self._workers)]
        command += ["--config", str(ROOT / "drill" / "gunicorn_settings.py")]
        # The socket is inherited: its port was never free for another process. gunicorn listens.
        command += ["--bind", f"fd://{self._listener.fileno()}", "drill.app:create_app()"]
        environ = {**self._environ, CONFIG: json.dumps(self._config)}
        paths = f"{self.root}{os.pathsep}{self.root / 'dashboard'}"
        environ |= {SITE: self.name, NOTES: str(self._notes), "PYTHONPATH": paths}
        kept = [self._listener.fileno()]
        self._process = start(command, self.log, environ=environ, folder=self.root, keep_open=kept)

    def wait_ready(self) -> None:
        """Wait until each worker has answered, which begins its upkeep."""

        def all_answered() -> bool:
            self._visit()
            return len(self.modes()) == self._workers and None not in self.modes().values()

        wait_until(all_answered, f"the workers of {self.name} to answer")

    def modes(self) -> dict[int, str | None]:
        """Return by process id in which mode each worker is, ``None`` for one that was not used."""
        return {pid: self._mode(pid) for pid in self.pids()}

    def is_in(self, mode: str) -> bool:
        """Return whether all workers are in *mode*; has those that were not used yet used."""
        modes = self.modes()
        if None in modes.values():
            self._visit()
        return len(modes) == self._workers and set(modes.values()) == {mode}

    def kill_worker(self) -> None:
        """Kill one worker; gunicorn starts another one."""
        os.kill(min(self.pids()), signal.SIGKILL)

    def kill(self) -> None:
        """Kill all of it at once; connections are refused from then on."""
        if self._process is not None:
            # The master first, for it would start other workers.
            end(self._process, signal.SIGKILL)
        refuse(self._listener)

    def deploy(
        self, config: Mapping[str, object], meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Start it again with other settings, and wait until its workers answer."""
        self.kill()
        if meanwhile:
            meanwhile()
        self._config |= config
        self.start()
        self.wait_ready()

    def close(self) -> None:
        """End it for good."""
        if self._process is not None:
            end(self._process)
        self._listener.close()

    def _visit(self) -> None:
        """Send a request to whichever worker is free."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=HANGS)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/worker")
            connection.getresponse().read()
        connection.close()

    def pids(self) -> list[int]:
        """Return the process ids of its workers."""
        if self._process is None:
            return []
        pid = self._process.pid
        with suppress(OSError):
            return [
                int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            ]
        return []

    def _mode(self, pid: int) -> str | None:
        with suppress(OSError):
            return (self._notes / f"{pid}").read_text()
        return None
