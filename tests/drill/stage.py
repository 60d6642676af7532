"""What the drill is played on: three memcached, two sites of two workers, a balancer."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from flask import Flask
from support.door import Door, Mode
from support.fleet import SETTINGS, Fleet
from support.memcached import wait_until
from support.tab import Answer, Tab
from support.visitors import Click, Load, Rotation
from support.workers import Browser, Worker

from flask_msm import MemcachedSessionManager
from flask_msm.cli_fleet import Visit


SITES = ("east", "west")
WORKERS = 2
PROBE_INTERVAL = 0.25


class Site:
    """One host: a gunicorn of two workers with local storage of their own.

    Args:
        name: Its name, which is also the route in its cookies.
        config: Configuration of its workers.
        folder: Where it keeps things.
    """

    def __init__(self, name: str, config: dict[str, object], folder: Path) -> None:
        self.name = name
        self.log = folder / f"worker-{name}.log"
        local = folder / f"local-{name}"
        local.mkdir(mode=0o700, exist_ok=True)
        self.config = {**config, "MSM_LOCAL_DIR": str(local), "MSM_ROUTE": name}
        self.worker: Worker = None  # type: ignore[assignment]

    def start(self) -> None:
        """Start it, and have each of its workers begin its upkeep."""
        options = (*SETTINGS, "--workers", str(WORKERS))
        self.worker = Worker(self.config, *options, EVENT_LOG=str(self.log))
        self.worker.wait_ready()
        wait_until(lambda: len(self.pids()) == WORKERS, f"{WORKERS} workers of {self.name}")

    def pids(self) -> set[int]:
        """Return the workers that answer; each of them has a session to look after then."""
        found = set()
        for _ in range(8 * WORKERS):
            # A new connection each: whichever worker is free takes it.
            browser = Browser()
            found.add(int(browser.ask(self.worker, "/pid").text))
            browser.ask(self.worker, "/set", {"first": "visit"})
            browser.close()
        return found

    def kill_worker(self) -> None:
        """Kill one worker; gunicorn starts another one."""
        os.kill(min(self.pids()), signal.SIGKILL)

    def kill(self) -> None:
        """Kill all of it at once."""
        pids = self.pids()
        self.worker.process.kill()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.worker.process.communicate()
        self.worker._listener.close()

    def stop(self) -> None:
        """End it."""
        if self.worker is not None and self.worker.process.poll() is None:
            self.worker.stop()


class Stage(Fleet):
    """Nodes, a door for each site in front of each node, and the sites; a context manager.

    Args:
        folder: Where everything is kept.
        config: More configuration of every worker.
    """

    def __init__(self, folder: Path, **config: object) -> None:
        super().__init__(folder, MSM_PROBE_INTERVAL=PROBE_INTERVAL, **config)
        self._doors_open = ExitStack()
        self.doors: dict[tuple[str, str], Door] = {}
        self.sites: dict[str, Site] = {}

    def __enter__(self) -> Self:
        self.add_nodes("n1", "n2", "n3")
        for name in SITES:
            for node_id, node in self.nodes.items():
                door = self._doors_open.enter_context(Door(node.port))
                self.doors[name, node_id] = door
            ports = {node_id: self.doors[name, node_id].port for node_id in self.nodes}
            self.sites[name] = Site(name, self.config_for(ports=ports), self._folder)
            self.sites[name].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            for site in self.sites.values():
                site.stop()
        finally:
            self._doors_open.close()
            super().__exit__(*exc_info)

    def turn(self, mode: Mode, node_ids: list[str], site: str | None = None) -> None:
        """Treat what goes to some nodes as *mode* says, from one site or from all."""
        for (name, node_id), door in self.doors.items():
            if node_id in node_ids and site in (None, name):
                door.turn(mode)

    def wait_mode(self, mode: str, since: float) -> None:
        """Wait until every worker has said since *since* that it is in *mode*."""
        wanted = WORKERS * len(SITES)

        def said() -> int:
            kind = f"mode_{mode}:"
            entries = [entry for entry in self.entries() if entry.at >= since]
            return sum(kind in entry.text for entry in entries)

        wait_until(lambda: said() >= wanted, f"{wanted} workers are {mode}")

    def wait_distributed(self) -> None:
        """Wait until every worker says in its report that it uses the nodes again."""
        app = Flask("worker")
        app.config.update(self.config_for())
        manager = MemcachedSessionManager(app)
        state = manager.state(app)
        visit = Visit(state, state.parts.cluster)

        def all_of_them() -> bool:
            modes = visit.view().modes()
            others = modes["local"] + modes["stopped"]
            return not others and modes["distributed"] >= WORKERS * len(SITES)

        try:
            wait_until(all_of_them, "all workers are distributed", 30)
        finally:
            manager.close(app)

    def wait_handed_over(self) -> None:
        """Wait until no site keeps a change that the nodes do not know."""
        folders = [Path(str(site.config["MSM_LOCAL_DIR"])) for site in self.sites.values()]

        def kept() -> list[Path]:
            return [mark for folder in folders for mark in folder.glob("*/journal/*")]

        wait_until(lambda: not kept(), "everything was handed over", 30)


class Balancer(Rotation):
    """Sends a browser to a site: by the route in its cookie, in turn, or all to one."""

    def __init__(self, stage: Stage) -> None:
        super().__init__([])
        self.stage = stage
        self.affinity = True
        self.down: set[str] = set()
        self.only: str | None = None
        self._turn = 0
        self._counting = threading.Lock()

    def choose(self, cookie: str | None) -> str:
        """Return the site for a browser with *cookie*."""
        up = [name for name in SITES if name not in self.down and self.only in (None, name)]
        route = (cookie or "").rpartition(".")[2]
        if self.affinity and route in up:
            return route
        with self._counting:
            self._turn += 1
            return up[self._turn % len(up)]


class Crowd(Load):
    """Visitors behind a balancer that tries another site when one does not answer.

    Attributes:
        apart: Sites cannot see each other's changes for now: what is missing counts as unseen.
        unseen: Changes that were acknowledged and not visible yet.
        retried: Requests that were sent to another site because a connection broke.
    """

    def __init__(self, balancer: Balancer, *, visitors: int = 6) -> None:
        super().__init__(balancer, visitors=visitors, two_tabs=0)
        self.retried: list[str] = []
        self._balancer = balancer

    def ask(self, tab: Tab, path: str, cookie: str | None, body: object = None) -> Answer:
        """Send a request as a browser behind the balancer does."""
        during = self.during
        for _ in range(10):
            name = self._balancer.choose(cookie)
            site = self._balancer.stage.sites[name]
            try:
                answer = tab.ask(site.worker, path, cookie, body)
            except OSError:
                pass
            except Exception as error:
                if "http.client" not in type(error).__module__:
                    raise
            else:
                wrote = body is not None
                click = Click(time.time(), wrote, during, answer.spent, answer.took, answer.waited)
                self.clicks.append(click)
                return answer
            # A worker or a site died under the request. Balancers send it again.
            self.retried.append(f"{during}: {name}")
            if self.is_ending():
                break
            time.sleep(0.05)
        raise ConnectionError("no site answers")
