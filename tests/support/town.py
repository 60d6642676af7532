"""Two sites of several real workers each over the same nodes, and an operator at either."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from click.testing import Result
from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import PATIENCE, wait_until
from harness.memcached import Memcached

from .fleet import APP, SETTINGS
from .patience import PATIENT
from .workers import ROOT, Worker


INTERVAL = 0.4
WORKERS = 2
COOKIE = "session"


class Site:
    """The workers of one host behind one port, and what its operator types.

    Args:
        folder: Its local storage and its log.
        config: Configuration of its workers.
    """

    def __init__(self, folder: Path, config: dict[str, object]) -> None:
        folder.mkdir(mode=0o700)
        self.log = folder / "workers.log"
        self.storage = folder / "storage"
        self.config = {**config, "MSM_LOCAL_DIR": str(self.storage)}
        self._gunicorn: Worker | None = None

    def start(self) -> None:
        self.open()
        # The first session that is read begins the upkeep of a worker.
        self.answers("/shown", self.store({"first": "visit"}))

    def open(self) -> None:
        """Start workers that have not met a session yet."""
        arguments = (*SETTINGS, "--workers", str(WORKERS))
        self._gunicorn = Worker(self.config, *arguments, EVENT_LOG=str(self.log))
        self._gunicorn.wait_ready()

    def kill(self) -> None:
        """End all workers at once, also in the middle of a request."""
        pids = list(self.answers())
        os.kill(self._gunicorn.process.pid, signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> str:
        """End all workers; return what they printed."""
        if self._gunicorn is None:
            return ""
        self._gunicorn.stop()
        printed = self._gunicorn.log.decode()
        sys.stdout.write(printed)  # seen when a test fails
        self._gunicorn = None
        return printed

    def ask(self, path, body=None, *, cookie=None):
        """Ask whichever worker comes first, each time on a new connection."""
        method = "GET" if body is None else "POST"
        headers = {"Connection": "close"}
        if cookie:
            headers["Cookie"] = f"{COOKIE}={cookie}"
        url = self._gunicorn.url + path
        return requests.request(method, url, json=body, headers=headers, timeout=60)

    def store(self, values, *, cookie=None) -> str:
        """Store *values* in a session; return its cookie."""
        response = self.ask("/set", values, cookie=cookie)
        assert response.status_code == 200, response.text
        return response.cookies.get(COOKIE) or cookie

    def answers(self, path="/obeys", cookie=None) -> dict[int, dict[str, object]]:
        """Return the answer of each worker, by process; all are asked until all answered."""
        found: dict[int, dict[str, object]] = {}
        with ThreadPoolExecutor(4) as pool:

            def all_answered() -> bool:
                asked = pool.map(lambda _: self.ask(f"{path}?slow=0.02", cookie=cookie), range(4))
                for response in asked:
                    found[response.json()["pid"]] = response.json()
                return len(found) == WORKERS

            wait_until(all_answered, "every worker answers")
        return found

    def wait(self, holds, what, *, path="/obeys", cookie=None, patience=PATIENCE) -> None:
        """Wait until *holds* is true of the answers of all workers."""
        wait_until(lambda: holds(list(self.answers(path, cookie).values())), what, patience)

    def obeys(self, **expected) -> bool:
        """Return whether every worker reports *expected*."""
        return all(expected.items() <= answer.items() for answer in self.answers().values())

    def type(self, *arguments, folder=None) -> subprocess.CompletedProcess:
        """Run ``flask msm ...`` as a process of its own."""
        paths = [str(ROOT), str(ROOT / "dashboard"), str(ROOT / "tests")]
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "flask", "--app", APP, "msm", *arguments],
            env={
                **os.environ,
                "WORKER_CONFIG": json.dumps(self.config),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def invoke(self, *arguments) -> Result:
        """Run ``flask msm ...`` in this process, as a process of its own would."""
        app = Flask("worker")
        app.config.update(self.config)
        MemcachedSessionManager(app)
        return app.test_cli_runner().invoke(args=["msm", *arguments])

    def command(self, *arguments) -> str:
        """Run ``flask msm ...``, which must work, and return what it printed."""
        done = self.type(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def said(self, word) -> list[str]:
        """Return the lines of the log of all workers with *word* in them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split("\t", 2)[-1] for line in lines if word in line]


class Town:
    """Nodes and their sites."""

    def __init__(
        self, nodes: list[Memcached], folder: Path, *, sites: int = 2, **config: object
    ) -> None:
        self.nodes = nodes
        spec = " ".join(f"n{number}:127.0.0.1:{n.port}" for number, n in enumerate(nodes, 1))
        shared = {
            "SECRET_KEY": "control " * 4,
            "MSM_ADMIN": False,
            "MSM_NODES": spec,
            "MSM_PROBE_INTERVAL": INTERVAL,
            "MSM_PROBE_MAX_BACKOFF": INTERVAL,
            "MSM_RECOVERY_THRESHOLD": 1,
            **PATIENT,
            **config,
        }
        self.sites = [Site(folder / name, shared) for name in ("north", "south")[:sites]]

    def start(self) -> None:
        for site in self.sites:
            site.start()

    def stop(self) -> None:
        for site in self.sites:
            site.stop()

    def wait(self, **expected) -> None:
        """Wait until every worker reports *expected*."""
        for site in self.sites:
            wait_until(lambda site=site: site.obeys(**expected), f"all say {expected}")

    def outage(self) -> None:
        """End all nodes, and wait until every worker has noticed."""
        for node in self.nodes:
            node.kill()
        for site in self.sites:
            site.ask("/set", {"does": "not matter"})
        self.wait(mode="local")

    def back(self) -> None:
        """Start all nodes again, empty, and wait until every worker uses them."""
        for node in self.nodes:
            node.start()
        self.wait(mode="distributed")
