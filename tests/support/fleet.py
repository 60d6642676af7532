"""Several memcached and several real workers, as an operator sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import wait_until
from harness.memcached import Memcached

from .workers import ROOT, Browser, Worker


SETTINGS = ("--config", str(Path(__file__).with_name("gunicorn_settings.py")))
#: Seconds until every node must be trusted again, on a machine that is busy as well.
GATE_TIMEOUT = 120
APP = "support.worker_app:create_app"


def say(text: str) -> None:
    """Print what was measured, visible with ``-s``."""
    sys.stdout.write(f"\n{text}")


class Entry(NamedTuple):
    """One line of a worker's event log."""

    at: float
    logger: str
    text: str


class Fleet:
    """Memcached nodes and the workers that use them; a context manager.

    Args:
        folder: Where workers write what happens.
        config: Configuration of every worker.
    """

    def __init__(self, folder: Path, **config: object) -> None:
        self.config = {"SECRET_KEY": "acceptance " * 3, "MSM_PROBE_INTERVAL": 0.25, **config}
        self.nodes: dict[str, Memcached] = {}
        self.workers: list[Worker] = []
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            self._stack.close()

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.terminate()
        for worker in self.workers:
            worker.stop()

    def add_nodes(self, *ids: str) -> None:
        """Start memcached processes of these ids."""
        for node_id in ids:
            self.nodes[node_id] = self._stack.enter_context(Memcached("-m", "256"))

    def config_for(self, ids=None, *, ports=None) -> dict[str, object]:
        """Return the configuration of a worker.

        Args:
            ids: Nodes it uses, all if not given.
            ports: Where it finds some of them, by id, if not at their own ports.
        """
        found = {id_: node.port for id_, node in self.nodes.items() if ids is None or id_ in ids}
        spec = " ".join(f"{id_}:127.0.0.1:{port}" for id_, port in (found | (ports or {})).items())
        return {**self.config, "MSM_NODES": spec}

    def start(self, *configs: dict[str, object]) -> list[Worker]:
        """Start one worker for each configuration and have each of them begin its upkeep."""
        started = []
        for config in configs:
            log = self._folder / f"worker-{len(self.workers)}.log"
            worker = Worker(config, *SETTINGS, EVENT_LOG=str(log))
            self.workers.append(worker)
            started.append(worker)
        for worker in started:
            worker.wait_ready()
            Browser().ask(worker, "/set", {"first": "visit"})
        return started

    def entries(self) -> list[Entry]:
        """Return what all workers wrote, in order of time."""
        found = []
        for log in self._folder.glob("worker-*.log"):
            for line in log.read_text().splitlines():
                at, _, rest = line.partition("\t")
                logger, tab, text = rest.partition("\t")
                if tab:  # other lines are parts of traces
                    found.append(Entry(float(at), logger, text))
        return sorted(found)

    def troubles(self) -> list[str]:
        """Return the log lines about faults of the workers themselves."""
        return [
            entry.text
            for entry in self.entries()
            if "Traceback" in entry.text
            or "unexpected" in entry.text
            or "tick failed" in entry.text
        ]

    def command(self, *arguments: str, config: dict[str, object] | None = None) -> str:
        """Run ``flask msm ...`` and return what it printed; its exit code must be 0."""
        paths = [
            str(ROOT),
            str(ROOT / "dashboard"),
            str(ROOT / "tests"),
            os.environ.get("PYTHONPATH", ""),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", APP, "msm", *arguments],
            env={
                **os.environ,
                "WORKER_CONFIG": json.dumps(config or self.config_for()),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            capture_output=True,
            text=True,
            timeout=GATE_TIMEOUT + 30,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_all_up(self, config: dict[str, object] | None = None) -> None:
        """Wait for the gate, as ``flask msm check --all-up`` does, in this process."""
        app = Flask("worker")
        app.config.update(config or self.config_for())
        manager = MemcachedSessionManager(app)
        try:
            report = manager.check(app, timeout=GATE_TIMEOUT)
        finally:
            manager.close(app)
        assert report.all_up, report

    def wait_entry(self, text: str, since: float) -> None:
        """Wait until a worker has written *text*, after the time *since*."""
        wait_until(
            lambda: any(entry.at >= since and text in entry.text for entry in self.entries()),
            f"a worker writes {text!r}",
        )
