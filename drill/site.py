"""A site: one host with a gunicorn of two workers and local storage of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from flask_msm.testing.memcached import PATIENCE, wait_until
from harness.gunicorn import Gunicorn
from harness.processes import ROOT

from .app import CONFIG, NOTES, SITE


#: Seconds a request may take before it counts as one that hangs.
HANGS = 20.0
#: Seconds that each of many workers may take to begin.
EACH = 10.0
_SETTINGS = ("--config", str(ROOT / "drill" / "gunicorn_settings.py"))


class Site(Gunicorn):
    """One host.

    Args:
        name: Its name, which is also the route in its cookies.
        config: Configuration of its workers; those of the host itself are added.
        folder: Where it keeps things.
        workers: Number of its worker processes.
        environ: More environment variables of its processes.

    Attributes:
        name: Its name.
        local: Folder of its local storage.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, object],
        folder: Path,
        *,
        workers: int = 2,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.local = folder / f"local-{name}"
        self._notes = folder / f"notes-{name}"
        self._config = {**config, "MSM_LOCAL_DIR": str(self.local), "MSM_ROUTE": name}
        log = folder / f"site-{name}.log"
        environ = {**(environ or {}), SITE: name, NOTES: str(self._notes)}
        super().__init__(
            "drill.app:create_app()", log, *_SETTINGS, workers=workers, environ=environ
        )
        self.local.mkdir(mode=0o700)
        self._notes.mkdir()

    def start(self) -> None:
        """Start it; see ``wait_used``."""
        self.environ[CONFIG] = json.dumps(self._config)
        super().start()

    def wait_used(self) -> None:
        """Wait until each worker has met a session, which begins its upkeep."""

        def all_began() -> bool:
            modes = self.modes()
            return len(modes) == self.workers and None not in modes.values()

        patience = PATIENCE + EACH * self.workers
        wait_until(all_began, f"the workers of {self.name} to begin", patience)

    def modes(self) -> dict[int, str | None]:
        """Return by process id in which mode each worker is, ``None`` for one that has to begin."""
        return {pid: self._mode(pid) for pid in self.pids()}

    def is_in(self, mode: str) -> bool:
        """Return whether all workers are in *mode*."""
        modes = self.modes()
        return len(modes) == self.workers and set(modes.values()) == {mode}

    def kill_worker(self) -> None:
        """Kill one worker; gunicorn starts another one."""
        os.kill(min(self.pids()), signal.SIGKILL)

    def deploy(
        self, config: Mapping[str, object], meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Start it again with other settings, and wait until its workers have begun."""
        self.kill()
        if meanwhile:
            meanwhile()
        self._config |= config
        self.start()
        self.wait_used()

    def _mode(self, pid: int) -> str | None:
        with suppress(OSError):
            return (self._notes / f"{pid}").read_text()
        return None
