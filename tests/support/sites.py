"""Real workers of several hosts over real nodes, their browsers, and an operator at each host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from click.testing import Result
from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.testing.memcached import PATIENCE, wait_until
from harness.client import Client
from harness.gunicorn import Gunicorn, python_path
from harness.memcached import addresses

from .patience import PATIENT


INTERVAL = 0.4
COOKIE = "session"
APP = "support.worker_app:create_app"
SETTINGS = ("--config", str(Path(__file__).with_name("gunicorn_settings.py")))


class Entry(NamedTuple):
    """One line of a worker's event log."""

    at: float
    logger: str
    text: str


class Browser(Client):
    """A browser that talks to whichever site a test names."""

    def ask(self, site, path, body=None):
        answer = self.send(site.port, path, body)
        assert answer.status < 500, answer.text
        return answer

    def read(self, site) -> dict[str, object]:
        return self.ask(site, "/get").json()

    def cookie(self) -> dict[str, str]:
        return dict(self.cookies)


class Site(Gunicorn):
    """The workers of one host behind one port, and what its operator types.

    Args:
        folder: Its local storage and its log.
        config: Configuration of its workers.
        options: More of gunicorn's command line.
        workers: How many there are.
        environ: More environment variables.
    """

    def __init__(self, folder: Path, config, *options, workers=1, **environ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.events = folder / "events.log"
        self.storage = folder / "storage"
        self.config = {"MSM_LOCAL_DIR": str(self.storage), **config}
        super().__init__(
            f"{APP}()",
            folder / "gunicorn.log",
            *(options or SETTINGS),
            workers=workers,
            environ={"EVENT_LOG": str(self.events), **environ},
        )

    def start(self) -> None:
        self.environ["WORKER_CONFIG"] = json.dumps(self.config)
        super().start()

    def open(self) -> None:
        """Start workers that have not met a session yet."""
        self.start()
        self.wait_ready("/pid")

    def visit(self) -> None:
        """Have every worker read a session: the first one begins its upkeep."""
        self.answers("/shown", self.store({"first": "visit"}))

    def ask(self, path, body=None, *, cookie=None):
        """Ask whichever worker comes first."""
        return Client({COOKIE: cookie} if cookie else {}).send(self.port, path, body)

    def store(self, values, *, cookie=None) -> str:
        """Store *values* in a session; return its cookie."""
        answer = self.ask("/set", values, cookie=cookie)
        assert answer.status == 200, answer.text
        return answer.cookies().get(COOKIE) or cookie

    def answers(self, path="/obeys", cookie=None) -> dict[int, dict[str, object]]:
        """Return the answer of each worker, by process; all are asked until all answered."""
        found: dict[int, dict[str, object]] = {}
        at_once = 2 * self.workers
        with ThreadPoolExecutor(at_once) as pool:

            def all_answered() -> bool:
                slow = f"{path}?slow=0.02" if self.workers > 1 else path
                for answer in pool.map(lambda _: self.ask(slow, cookie=cookie), range(at_once)):
                    found[answer.json()["pid"]] = answer.json()
                return len(found) == self.workers

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
        return flask(self.config, "msm", *arguments, folder=folder)

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

    def entries(self) -> list[Entry]:
        """Return what its workers wrote."""
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        found = [line.split("\t", 2) for line in lines]
        return [Entry(float(at), *rest) for at, *rest in found if len(rest) == 2]

    def logged(self, word) -> list[str]:
        """Return what its workers wrote with *word* in it."""
        return [entry.text for entry in self.entries() if word in entry.text]


class Sites:
    """Nodes and the sites that use them; a context manager.

    Args:
        nodes: Memcached processes.
        folder: Where each site has a folder.
        config: More of the configuration of every worker.
    """

    def __init__(self, nodes, folder: Path, **config: object) -> None:
        self.nodes = nodes
        self.folder = folder
        self.sites: list[Site] = []
        self.config = {
            "SECRET_KEY": "control " * 4,
            "MSM_ADMIN": False,
            "MSM_NODES": addresses(nodes),
            "MSM_PROBE_INTERVAL": INTERVAL,
            "MSM_PROBE_MAX_BACKOFF": INTERVAL,
            "MSM_RECOVERY_THRESHOLD": 1,
            **PATIENT,
            **config,
        }

    def __enter__(self):
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        for site in self.sites:
            site.close()
            sys.stdout.write(site.printed())  # seen when a test fails

    def add(self, *names, workers=1, **config) -> list[Site]:
        """Return sites of these names, which are not started."""
        config = {**self.config, **config}
        added = [Site(self.folder / name, config, workers=workers) for name in names]
        self.sites += added
        return added

    def start(self, *sites) -> None:
        """Start *sites*, all if none is named, and have each worker begin its upkeep."""
        for site in sites or self.sites:
            site.start()
        for site in sites or self.sites:
            site.wait_ready("/pid")
        for site in sites or self.sites:
            site.visit()

    def stop(self) -> None:
        """End all workers, side by side."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Site.stop, self.sites))

    def wait(self, **expected) -> None:
        """Wait until every worker reports *expected*."""
        for site in self.sites:
            wait_until(lambda site=site: site.obeys(**expected), f"all report {expected}")

    def wait_all_up(self) -> None:
        """Wait until no loss of a node would lose anything, as ``check --all-up`` does."""
        app = Flask("worker")
        app.config.update({**self.config, "MSM_LOCAL_CACHE": "simple"})
        manager = MemcachedSessionManager(app)
        try:
            report = manager.check(app, timeout=PATIENCE)
        finally:
            manager.close(app)
        assert report.all_up, report

    def entries(self) -> list[Entry]:
        """Return what all workers wrote, in order of time."""
        return sorted(entry for site in self.sites for entry in site.entries())

    def troubles(self) -> list[str]:
        """Return what workers wrote about faults of their own."""
        words = ("Traceback", "unexpected", "tick failed")
        return [text for site in self.sites for word in words for text in site.logged(word)]

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


def flask(config, *arguments, folder=None, typed=None, **options) -> subprocess.CompletedProcess:
    """Run ``flask ...`` of the application of the workers as a process of its own.

    Args:
        config: The application's.
        arguments: What follows ``flask``.
        folder: Its working directory.
        typed: What is typed into it.
        options: More environment variables.
    """
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", APP, *arguments],
        env={**os.environ, **environment(config), **options},
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def environment(config) -> dict[str, str]:
    """Return what a process needs to find the application of the workers and its configuration."""
    return {
        "WORKER_CONFIG": json.dumps(config),
        "PYTHONPATH": python_path(),
        "PYTHONWARNINGS": "error",
    }
