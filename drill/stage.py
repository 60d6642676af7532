"""What an act is played on: three nodes, two sites, a balancer, and a look from outside."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from flask import Flask

from flask_msm import MemcachedSessionManager
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.testing.memcached import PATIENCE, wait_until
from harness.filling import fill
from harness.processes import ROOT

from .balancer import Rule, balancer
from .cluster import OPTIONS, Cluster
from .disk import SmallDisk
from .earlier import unpack
from .site import EACH, Site
from .tls import CERTIFICATE, with_context


if TYPE_CHECKING:
    from flask_msm.cluster.workers import WorkerRegistry

    from .balancer import Balancer

EAST, WEST, FRESH = "east", "west", "fresh"
#: Who looks at the nodes as ``flask msm check`` does.
OUTSIDE = "outside"
PROBE_INTERVAL = 0.25
REQUEST_DEADLINE = 1.0
#: What in the log of a worker is a fault of the worker itself.
_TROUBLES = ("Traceback", "unexpected", "tick failed")


class Stage:
    """Everything that is started for one act; a context manager.

    Args:
        folder: Where everything is kept.
        settings: More settings of every worker.
        one_site: Only the first site is used.
        affinity: The balancer sends browsers back to their site.
        small_disk: Give the first site a disk that can be filled, if we may.
        workers: Number of worker processes of each site.
        memcached: Options of each memcached.
        environ: More environment variables of the second site.
        nodes: Nodes that are not used at first.
        earlier: The commit of the project that the sites run at first, if not this one.
        tls: The nodes speak TLS.
        encrypted: Records are encrypted, also if *settings* do not ask for it.

    Attributes:
        cluster: The nodes.
        sites: The sites people are sent to.
        fresh: A site of one worker that no browser was sent to, with nothing in local storage.
        balancer: In front of the sites.
        disk: The disk of the first site; ``None`` if that is one like any other.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        *,
        one_site: bool = False,
        affinity: bool = True,
        small_disk: bool = False,
        workers: int = 2,
        memcached: Sequence[str] = OPTIONS,
        environ: Mapping[str, str] | None = None,
        nodes: Sequence[str] = (),
        earlier: str = "",
        tls: bool = False,
        encrypted: bool = False,
    ) -> None:
        names = (EAST,) if one_site else (EAST, WEST)
        self.cluster = Cluster(folder, (*names, FRESH, OUTSIDE), memcached, more=nodes, tls=tls)
        self._root = unpack(earlier, folder) if earlier else ROOT
        self._folder = folder
        self._affinity = affinity
        self._small_disk = small_disk
        self._workers = workers
        self._environ = {WEST: environ}
        self._patience = PATIENCE + EACH * workers
        self.disk: SmallDisk | None = None
        self._stack = ExitStack()
        self._config = {
            "SECRET_KEY": secrets.token_urlsafe(32),
            "MSM_PROBE_INTERVAL": PROBE_INTERVAL,
            "MSM_REQUEST_DEADLINE": REQUEST_DEADLINE,
            **({"MSM_ENCRYPTION_KEYS": secrets.token_hex(32)} if encrypted else {}),
            **({CERTIFICATE: str(self.cluster.certificate)} if tls else {}),
            **settings,
        }
        self._names = names

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self.cluster)
            made = {name: self._site(name, started) for name in (*self._names, FRESH)}
            self.fresh = made.pop(FRESH)
            self.sites = made
            for site in made.values():
                site.wait_used()
            self.wait_all_up()
            rule = Rule(
                sites={name: site.port for name, site in made.items()}, affinity=self._affinity
            )
            self.balancer: Balancer = balancer(rule, self._folder)
            started.callback(self.balancer.close)
            self._stack = started.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def all_sites(self) -> dict[str, Site]:
        """Return all sites by name, with the one no browser was sent to."""
        return {**self.sites, FRESH: self.fresh}

    def wait_local(self) -> None:
        """Wait until every worker keeps sessions on its host."""
        self._wait_mode("local")

    def wait_all_up(self, patience: float | None = None) -> None:
        """Wait until every worker uses the nodes and losing any one of them would lose nothing.

        Args:
            patience: Seconds that may take; by default it depends on how many workers there are.
        """
        self._wait_mode("distributed")
        with self._outside() as (manager, app):
            wait_until(
                lambda: manager.check(app, timeout=PATIENCE).all_up,
                "all nodes to be up",
                patience or self._patience,
            )

    def wait_all_known(self) -> None:
        """Wait until a look at the nodes shows all workers as living."""
        pids = {pid for site in self.sites.values() for pid in site.pids()}

        def known(workers: WorkerRegistry) -> bool:
            return pids <= {int(name.split(":")[-2]) for name in workers.living()}

        with self._outside() as (manager, app):
            manager.check(app, timeout=PATIENCE)
            cluster = manager.state(app).parts.cluster
            assert cluster is not None  # noqa: S101  (there are nodes)

            def all_known() -> bool:
                cluster.monitor.tick()
                return known(cluster.workers)

            wait_until(all_known, "all workers to be seen", PATIENCE)

    def stop_distribution(self) -> None:
        """Stop distribution as an operator does, and wait until every worker obeys."""
        with self._outside() as (manager, app):
            manager.state(app).console.stop(actor="drill", reason="", based_on=None)
        self._wait_mode("stopped")

    def resume_distribution(self) -> None:
        """Let distribution go on as an operator does; ``wait_all_up`` waits until it does."""
        with self._outside() as (manager, app):
            manager.state(app).console.resume(actor="drill", reason="", based_on=None)

    def drain(self, node: str, patience: float) -> None:
        """Take a node out of use as an operator does, and wait until it may be switched off.

        Args:
            node: Its id.
            patience: Seconds that may take.
        """
        with self._outside() as (manager, app):
            manager.state(app).console.drain(node, actor="drill", reason="", based_on=None)
            wait_until(
                lambda: any(
                    one.node == node and one.drained
                    for one in manager.check(app, timeout=0.0).nodes
                ),
                f"{node} to be drained",
                patience,
            )

    def undrain(self, node: str) -> None:
        """Take a node back into use as an operator does; ``wait_all_up`` waits until it is."""
        with self._outside() as (manager, app):
            manager.state(app).console.undrain(node, actor="drill", reason="", based_on=None)

    def troubles(self) -> list[str]:
        """Return the faults that workers wrote down of themselves."""
        return [
            f"{site.name}: {line}"
            for site in self.all_sites().values()
            for line in site.log.read_text().splitlines()
            if any(word in line for word in _TROUBLES)
        ]

    def reported(self, kind: str) -> list[str]:
        """Return the events of a kind that workers have logged, by which site."""
        return [
            f"{site.name}: {line}"
            for site in self.all_sites().values()
            for line in site.log.read_text().splitlines()
            if f" {kind}: " in line
        ]

    def rebuilder(self) -> int:
        """Return the process that began a rebuild last."""
        lines = [line.partition(": ")[2].split() for line in self.reported("rebuild_began")]
        _, pid = max((float(words[0]), int(words[1])) for words in lines)
        return pid

    def fill(self, sessions: int) -> None:
        """Put so many sessions onto their nodes, of which no browser knows."""
        with self._outside() as (manager, app):
            manager.check(app, timeout=PATIENCE)
            content = {"name": MsgpackCodec().dumps("idle" * 100)}
            fill(manager, app, (f"{number:043}" for number in range(sessions)), content)

    def keep_logs(self, folder: Path) -> None:
        """Copy what sites have logged to *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        for site in self.all_sites().values():
            shutil.copy(site.log, folder)

    @contextmanager
    def _outside(self) -> Iterator[tuple[MemcachedSessionManager, Flask]]:
        """Look at the nodes as the commands of an operator do."""
        app = Flask("drill")
        local = self._folder / "local-outside"
        addresses = self.cluster.addresses(OUTSIDE)
        app.config.update(with_context(self._config), MSM_NODES=addresses, MSM_LOCAL_DIR=str(local))
        manager = MemcachedSessionManager(app)
        try:
            yield manager, app
        finally:
            manager.close(app)

    def _site(self, name: str, started: ExitStack) -> Site:
        config = {**self._config, "MSM_NODES": self.cluster.addresses(name)}
        workers = 1 if name == FRESH else self._workers
        environ = self._environ.get(name)
        site = Site(name, config, self._folder, workers=workers, environ=environ)
        site.root = self._root
        if name == EAST and self._small_disk:
            self.disk = started.enter_context(SmallDisk(site.local))
        started.callback(site.close)
        site.start()
        return site

    def _wait_mode(self, mode: str) -> None:
        for site in self.sites.values():
            are_in = partial(site.is_in, mode)
            wait_until(are_in, f"the workers of {site.name} to be {mode}", self._patience)
